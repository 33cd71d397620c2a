package blocksnap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// errFree says that a name that was known has no snapshot any more.
var errFree = errors.New("the name is free again")

// Create makes the snapshot of a name, or finds it. The first answer does not wait until it is complete. It answers only when a list
// shows the snapshot: by then whatever was made before it under the same name shows as well, by another controller, by a
// predecessor that was killed, or by a network that delivered a request twice. Of several the oldest is the snapshot of
// that name, and what this call made is deleted again. So it is with one that was made just before the cluster got an ID, whose
// description lacks that. The ID of a name never changes once it was answered: Kubernetes keeps the first that it was told.
func (s *Store) Create(ctx context.Context, name, volumeID string) (vultr.Snapshot, error) {
	if m, ok := s.names.get(name); ok {
		snap, err := s.resume(ctx, m, name, volumeID)
		if !errors.Is(err, errFree) {
			return snap, err
		}
	}
	key := s.api.KeySince()
	found, err := s.find(ctx, name)
	if err != nil {
		return vultr.Snapshot{}, err
	}
	if len(found) > 0 {
		return s.join(ctx, found, name, volumeID)
	}
	if !s.api.KeySince().Equal(key) {
		return vultr.Snapshot{}, volume.Errorf(volume.Busy, "the snapshot %q is not made yet: the API key was just replaced, and the name is looked for again", name)
	}
	asked := time.Now()
	created, err := s.api.CreateSnapshot(ctx, volumeID, name)
	if vultr.IsOutcomeUnknown(err) {
		return s.afterUnknownCreate(ctx, name, volumeID, err)
	}
	if err != nil {
		return vultr.Snapshot{}, s.explain(ctx, asked, volumeID, err)
	}
	s.names.guard.Seen(name)
	s.made.Add(created.ID, time.Now())
	m := made{id: created.ID, at: time.Now()}
	s.names.put(name, m)
	klog.FromContext(ctx).Info("Created snapshot", "snapshotID", created.ID, "name", name, "volumeID", volumeID)
	return s.finish(ctx, m, name, volumeID)
}

// Told reports whether this process has told a caller of the snapshot of the name.
func (s *Store) Told(name string) bool {
	m, ok := s.names.get(name)
	return ok && m.answered
}

// resume goes on with a name that this process knows.
func (s *Store) resume(ctx context.Context, m made, name, volumeID string) (vultr.Snapshot, error) {
	if !m.answered {
		return s.finish(ctx, m, name, volumeID)
	}
	// The many who ask at once share a list.
	list, err := s.List(ctx, pollAge)
	if err != nil {
		return vultr.Snapshot{}, err
	}
	snap, shown := among(list.Items, m.id)
	if !shown {
		snap, err = s.look(ctx, m.id)
	}
	if volume.ReasonOf(err) == volume.NotFound {
		s.names.forget(name)
		return snap, errFree
	}
	if err != nil {
		return vultr.Snapshot{}, err
	}
	snap = s.soonComplete(ctx, snap)
	m.at = time.Now()
	s.names.put(name, m)
	return judge(snap, name, volumeID)
}

// soon is how long after it was made a snapshot is waited for when it is asked for again: most are complete by then. The
// sidecar doubles its pauses, so that without this it would see that up to twice as late, by more calls. A snapshot that
// takes longer is left to the sidecar.
const soon = 8 * time.Second

// soonComplete returns the snapshot as it is when it is complete, if that is soon.
func (s *Store) soonComplete(ctx context.Context, snap vultr.Snapshot) vultr.Snapshot {
	made, _ := s.made.Get(snap.ID)
	at, _ := made.(time.Time) // zero if another process made it
	left := soon - time.Since(at)
	if left <= 0 || isFinal(snap) {
		return snap
	}
	waiting, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	now, _, err := s.api.WaitSnapshotListed(waiting, "snapshot again", snap.ID, s.opts.Unseen, func(snap vultr.Snapshot) (bool, error) {
		return isFinal(snap), nil
	})
	if err != nil {
		return snap // as it was read
	}
	return now
}

// isFinal reports whether there is nothing to wait for any more.
func isFinal(snap vultr.Snapshot) bool { return snap.Complete() || snap.Failed() }

// find looks for the snapshots of a name, the oldest first; none without an error is the proof that there are none that
// anybody was told of. After a create without an answer only a new list proves that, and not before the settle time is
// over: find waits.
func (s *Store) find(ctx context.Context, name string) ([]vultr.Snapshot, error) {
	found, err := vultr.Search[vultr.Snapshot]{
		List: func(ctx context.Context) (vultr.List[vultr.Snapshot], error) {
			return s.api.SnapshotsDescribed(ctx, name)
		},
		Match:  func(snap vultr.Snapshot) bool { return snap.Description == name && !s.IsGone(snap.ID) },
		Absent: func(listBegan time.Time) error { return s.names.guard.Absent(name, listBegan) },
	}.Run(ctx)
	if err != nil {
		return nil, refusal.OfRead(err, "looking for the snapshot of the name %q", name)
	}
	if len(found) > 0 {
		s.names.guard.Seen(name)
	}
	return s.named(found, name), nil
}

// join answers with the oldest of the snapshots that a list shows.
func (s *Store) join(ctx context.Context, found []vultr.Snapshot, name, volumeID string) (vultr.Snapshot, error) {
	kept := found[0]
	for _, other := range found[1:] {
		s.report(ctx, kept, other)
		s.removeTwin(ctx, kept, other)
	}
	return s.answer(ctx, made{id: kept.ID}, kept, name, volumeID)
}

// finish waits until a list shows what was created, and settles which snapshot the name means.
func (s *Store) finish(ctx context.Context, m made, name, volumeID string) (vultr.Snapshot, error) {
	// Counted from the create: each call that waits for it may be short.
	missing := max(0, s.opts.Unseen-time.Since(m.at))
	snap, list, err := s.api.WaitSnapshotListed(ctx, "snapshot create", m.id, missing, func(vultr.Snapshot) (bool, error) { return true, nil })
	if vultr.IsNotFound(err) {
		s.names.forget(name)
		return vultr.Snapshot{}, volume.Errorf(volume.Busy, "snapshot %s vanished before a list showed it", m.id)
	}
	if err != nil {
		return vultr.Snapshot{}, refusal.OfRead(err, "waiting for snapshot %s to show", m.id)
	}
	switch {
	case snap.Description != name:
		return vultr.Snapshot{}, s.takeBack(ctx, m, name, volume.Errorf(volume.Invalid,
			"the platform made the description %q of the name %q, by which the snapshot could not be found again", snap.Description, name))
	case snap.Failed():
		// Nobody was told of it, and the next one may well succeed.
		return vultr.Snapshot{}, s.takeBack(ctx, m, name, volume.Errorf(volume.Busy, "the platform says that snapshot %s of volume %s has the state %q", m.id, snap.VolumeID, snap.State))
	}
	kept := snap
	if all := s.meant(list.Items, name, volumeID); len(all) > 0 && all[0].ID != m.id {
		kept = all[0]
		klog.FromContext(ctx).Info("Somebody else made the snapshot of the name a moment before, giving up what was just made",
			"name", name, "snapshotID", kept.ID, "duplicateID", m.id)
		s.twins.giveUp(m.id)
		s.report(ctx, kept, snap)
		s.removeTwin(ctx, kept, snap)
		m = made{id: kept.ID}
	}
	return s.answer(ctx, m, kept, name, volumeID)
}

// answer notes that the caller is told of a snapshot, if it is what was asked for, and has the name looked at again.
func (s *Store) answer(ctx context.Context, m made, snap vultr.Snapshot, name, volumeID string) (vultr.Snapshot, error) {
	told, err := judge(snap, name, volumeID)
	if err != nil {
		s.names.forget(name)
		return told, err
	}
	m.at, m.answered = time.Now(), true
	s.names.put(name, m)
	if time.Since(snap.Created) < twinAge {
		s.checkLater(ctx, name, snap)
	}
	return told, nil
}

// judge compares the snapshot of a name with what is asked for.
func judge(snap vultr.Snapshot, name, volumeID string) (vultr.Snapshot, error) {
	if snap.VolumeID != volumeID {
		return vultr.Snapshot{}, volume.Errorf(volume.Exists, "snapshot %s has the name %q but is of volume %s, asked for is one of volume %s",
			snap.ID, name, snap.VolumeID, volumeID)
	}
	return snap, nil
}

// takeBack deletes what was made wrongly, which nobody was told of. Until that has worked each create of the name begins
// with it, because the name stays with it.
func (s *Store) takeBack(ctx context.Context, m made, name string, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkFor)
	defer cancel()
	if err := s.Delete(ctx, m.id); err != nil {
		return volume.Errorf(volume.Busy, "%s; deleting it again: %w", why.Error(), err)
	}
	klog.FromContext(ctx).Info("Deleted a snapshot that was made wrongly", "snapshotID", m.id, "name", name, "why", why)
	return why
}

// afterUnknownCreate looks for the snapshot of a create that got no answer. Should it prove that nothing was made, the
// next call may create; this one has had its attempt.
func (s *Store) afterUnknownCreate(ctx context.Context, name, volumeID string, cause error) (vultr.Snapshot, error) {
	s.names.guard.AttemptEnded(name)
	klog.FromContext(ctx).Info("The outcome of a create is unknown, looking for the snapshot", "name", name, "err", cause)
	found, err := s.find(ctx, name)
	switch {
	case err != nil:
		return vultr.Snapshot{}, volume.Errorf(volume.Busy, "%w; whether it made the snapshot is not known yet: %w", cause, err)
	case len(found) == 0:
		return vultr.Snapshot{}, volume.Errorf(volume.Busy, "%w; it made nothing and can be repeated", cause)
	}
	return s.join(ctx, found, name, volumeID)
}

// explain says what a refused create means.
func (s *Store) explain(ctx context.Context, asked time.Time, volumeID string, cause error) error {
	if vultr.IsLimit(cause) {
		return volume.Errorf(volume.Exhausted, "the account can have no more snapshots, none is made of volume %s: %w", volumeID, cause)
	}
	if !vultr.IsNotFound(cause) {
		// The present state of the volume refuses it: what is asked names nothing else.
		return refusal.OfChange(cause, "making a snapshot of volume %s", volumeID)
	}
	if doubt := s.opts.Account.Check(ctx, asked); doubt != nil {
		return volume.Errorf(volume.Busy, "volume %s is not found, which proves nothing: %w", volumeID, doubt)
	}
	return volume.Errorf(volume.NotFound, "volume %s does not exist: %w", volumeID, cause)
}

// AwaitComplete waits until volumes can be made from the snapshot, or until the platform says that it has failed.
func (s *Store) AwaitComplete(ctx context.Context, id string) (vultr.Snapshot, error) {
	var last vultr.Snapshot
	snap, _, err := s.api.WaitSnapshotListed(ctx, "snapshot", id, s.opts.Unseen, func(snap vultr.Snapshot) (bool, error) {
		last = snap
		return isFinal(snap), nil
	})
	if err != nil && last.ID != "" {
		return snap, refusal.OfRead(err, "waiting for snapshot %s to be complete, its state is %q%s", id, last.State, Age(last))
	}
	return snap, refusal.OfRead(err, "waiting for snapshot %s to be complete", id)
}

// Age says in an error how long ago a snapshot was made, in minutes: nothing else tells how far it is.
func Age(snap vultr.Snapshot) string {
	if snap.Created.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (made %d minutes ago)", int(time.Since(snap.Created).Minutes()))
}
