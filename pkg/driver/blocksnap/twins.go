package blocksnap

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// twinSpan is how much younger a snapshot of the same name may be to count as made by the same wish.
	twinSpan = time.Minute
	// twinAge is how old a snapshot may be to be removed as a twin: who was told of it is known for rememberMade.
	twinAge = rememberMade - time.Minute
	// checkFor bounds one look or delete that nobody waits for.
	checkFor = time.Minute
	// checkAgain is how often a name is looked at whose snapshot no list shows, or whose twin cannot be deleted.
	checkAgain = 10
)

// twins are snapshots of one name. They cost money.
//
// Which of them Kubernetes was told of decides which may go: to delete that one would lose a backup. What is certain is
// only this. A process answers with a snapshot when a list shows it, and that list shows everything older as well. So
// nobody was told of one beside which there is an older one, older by the platform's clock, which counts seconds. Of two
// that were made in the same second either may have been answered by somebody who did not see the other: both stay and
// are reported, until Kubernetes deletes the one that it knows: the others go with it.
type twins struct {
	found, deleted prometheus.Counter
	known          *lru.Cache
	// givenUp are snapshots that this process made and told nobody of.
	givenUp *lru.Cache
	// beside has, for a snapshot, those that were made by the same wish.
	beside *lru.Cache
}

func newTwins() *twins {
	return &twins{
		known: lru.New(remembered), givenUp: lru.New(remembered), beside: lru.New(remembered),
		found: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "csi_duplicate_snapshots_total",
			Help: "Block storage snapshots found beside an older one of the same name. They cost money and nothing in Kubernetes uses them.",
		}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "csi_duplicate_snapshots_deleted_total",
			Help: "Duplicate snapshots that were deleted because nobody can have been told of them.",
		}),
	}
}

// giveUp notes that this process made the snapshot for a name that another one has. Nobody was told of it.
func (t *twins) giveUp(id string) { t.givenUp.Add(id, nil) }

func (t *twins) isGivenUp(id string) bool {
	_, is := t.givenUp.Get(id)
	return is
}

// report counts and logs a snapshot beside the one that is kept, once.
func (s *Store) report(ctx context.Context, kept, other vultr.Snapshot) {
	if _, known := s.twins.known.Get(other.ID); known {
		return
	}
	s.twins.known.Add(other.ID, nil)
	s.twins.found.Inc()
	if apart := other.Created.Sub(kept.Created).Abs(); other.VolumeID == kept.VolumeID && apart <= twinSpan {
		// Which of them Kubernetes was told of shows when it deletes one.
		if s.goesWith(kept, other) {
			s.twins.note(kept.ID, other)
		}
		if s.goesWith(other, kept) {
			s.twins.note(other.ID, kept)
		}
	}
	klog.FromContext(ctx).Info("Found another snapshot of the same name",
		"name", other.Description, "snapshotID", kept.ID, "duplicateID", other.ID, "duplicateCreated", other.Created)
}

// note remembers that a snapshot was made beside the one with the ID, by the same wish.
func (t *twins) note(id string, other vultr.Snapshot) {
	beside, _ := t.beside.Get(id)
	others, _ := beside.([]vultr.Snapshot)
	t.beside.Add(id, append(slices.Clone(others), other))
}

// takeBeside returns all that were made by the same wish as the snapshot with the ID, and forgets them.
func (t *twins) takeBeside(id string) []vultr.Snapshot {
	beside, _ := t.beside.Get(id)
	t.beside.Remove(id)
	others, _ := beside.([]vultr.Snapshot)
	all := slices.Clone(others)
	for _, other := range others { // what is noted is pairs
		all = append(all, t.takeBeside(other.ID)...)
	}
	return slices.DeleteFunc(all, func(snap vultr.Snapshot) bool { return snap.ID == id })
}

// isSidecars reports whether a description is a name that the snapshotter gives, with the cluster's ID or without one. What else
// has one name twice may be so on purpose, and what has another cluster's ID is that one's.
func (s *Store) isSidecars(description string) bool {
	return ownership.IsSnapshots(s.opts.Cluster.Name(description))
}

// Leftovers reports the twins in a list of all snapshots that were left by a process which is gone. They go with the one
// that Kubernetes deletes.
func (s *Store) Leftovers(ctx context.Context, all []vultr.Snapshot) {
	names := map[string]int{}
	for _, snap := range all {
		if s.isSidecars(snap.Description) {
			names[snap.Description]++
		}
	}
	for name, count := range names {
		if count < 2 {
			continue
		}
		same := s.named(all, name)
		for i := 1; i < len(same); i++ {
			s.report(ctx, same[0], same[i])
		}
	}
}

// errNoTwin says that a snapshot is not to be deleted after all.
var errNoTwin = errors.New("it is not certain that nobody was told of it")

// goesWith reports whether the other snapshot, going by its description, may be deleted for the one that is kept. One without
// the cluster's ID may not for one with it: it can be that of another cluster, which has none.
func (s *Store) goesWith(kept, other vultr.Snapshot) bool {
	return other.Description == kept.Description || other.Description == s.opts.Cluster.Label(kept.Description)
}

// isTwin reports whether nobody can have been told of the snapshot, which was made by the same wish as the one that is
// kept.
func (s *Store) isTwin(kept, other vultr.Snapshot) bool {
	if other.ID == kept.ID || !s.goesWith(kept, other) || s.names.wasAnswered(other.ID) {
		return false
	}
	if s.twins.isGivenUp(other.ID) {
		return true
	}
	younger := other.Created.Sub(kept.Created)
	// Of two descriptions earlier versions of this program looked at one only, so that the younger may have been answered.
	return other.Description == kept.Description && other.VolumeID == kept.VolumeID && !kept.Created.IsZero() && younger > 0 && younger <= twinSpan && time.Since(other.Created) <= twinAge
}

// removeTwin deletes a snapshot that was made beside the one that is kept. It is false if a twin could not be deleted now;
// it is looked at again when the name is.
func (s *Store) removeTwin(ctx context.Context, kept, other vultr.Snapshot) bool {
	if !s.isTwin(kept, other) {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkFor)
	defer cancel()
	still := func(ctx context.Context) error {
		now, err := s.look(ctx, other.ID)
		if volume.ReasonOf(err) == volume.NotFound || volume.ReasonOf(err) == volume.Busy && s.twins.isGivenUp(other.ID) {
			return nil // the answer to the delete itself is the proof
		}
		if err == nil && !s.isTwin(kept, now) {
			err = errNoTwin
		}
		return err
	}
	if err := s.Delete(ctx, other.ID, still); err != nil {
		klog.FromContext(ctx).Info("A duplicate snapshot stays in the account for now", "name", other.Description, "duplicateID", other.ID, "snapshotID", kept.ID, "err", err)
		return errors.Is(err, errNoTwin)
	}
	s.twins.deleted.Inc()
	klog.FromContext(ctx).Info("Deleted a duplicate snapshot that nobody was told of", "name", other.Description, "duplicateID", other.ID, "snapshotID", kept.ID)
	return true
}

// DeleteWithTwins deletes the snapshot that Kubernetes asks for by its ID, and what was made beside it by the same wish:
// of several that is the one which Kubernetes was told of, and the name has no other use. The others go first: once the
// snapshot is gone, a process that takes over has nothing left to find them by.
func (s *Store) DeleteWithTwins(ctx context.Context, id string) error {
	if s.IsGone(id) {
		return nil
	}
	snap, late, err := s.lookBeside(ctx, id)
	if err != nil {
		return err
	}
	s.removeBeside(ctx, id)
	if err := s.Delete(ctx, id); err != nil {
		return err
	}
	if late {
		s.checkLater(ctx, snap.Description, snap)
	}
	return nil
}

// listKept is how old a list may be that shows what was made beside a snapshot: the sweep reads one every hour.
const listKept = 2 * time.Hour

// lookBeside reports what a list shows beside the snapshot. Any list will do that began when reads showed all that was made
// with it. late is true if there is none yet.
func (s *Store) lookBeside(ctx context.Context, id string) (snap vultr.Snapshot, late bool, err error) {
	for _, maxAge := range []time.Duration{listKept, pollAge} {
		list, err := s.List(ctx, maxAge)
		if err != nil {
			return vultr.Snapshot{}, false, err
		}
		shown, ok := among(list.Items, id)
		if !ok {
			continue
		}
		if !s.isSidecars(shown.Description) && !s.names.wasAnswered(id) {
			return shown, false, nil
		}
		snap, late = shown, list.Began.Before(shown.Created.Add(twinSpan+s.opts.Unseen))
		for _, other := range s.meant(list.Items, snap.Description, snap.VolumeID) {
			if other.ID != id {
				s.report(ctx, snap, other)
			}
		}
		if !late {
			break
		}
	}
	if snap.ID == "" { // lists may lack it still
		if snap, err = s.api.Snapshot(ctx, id); err == nil {
			late = s.isSidecars(snap.Description)
		}
	}
	return snap, late, nil
}

// removeBeside deletes the snapshots that were found beside the one with the ID, by which Kubernetes knows it. It goes on
// by itself with those that cannot be deleted now.
func (s *Store) removeBeside(ctx context.Context, id string) {
	s.removeAll(context.WithoutCancel(ctx), s.twins.takeBeside(id), 1)
}

func (s *Store) removeAll(ctx context.Context, others []vultr.Snapshot, try int) {
	var left []vultr.Snapshot
	for _, other := range others {
		if s.IsGone(other.ID) || s.names.wasAnswered(other.ID) {
			continue
		}
		s.twins.giveUp(other.ID)
		if !s.removeTwin(ctx, vultr.Snapshot{Description: other.Description}, other) {
			left = append(left, other)
		}
	}
	if len(left) > 0 && try < checkAgain {
		time.AfterFunc(s.opts.TwinCheck/4, func() { s.removeAll(ctx, left, try+1) })
	}
}

// checkLater has the name of a snapshot that was just answered looked at once more, when no read can lack any more what was
// made by then: a request of this process or another one that was answered by nothing may have made what is younger than the
// snapshot, and so shows later, even after the snapshot was deleted. Those who look at about the same time share a list.
func (s *Store) checkLater(ctx context.Context, name string, kept vultr.Snapshot) {
	since := time.Now().Add(max(s.api.SettleTime(), s.opts.Unseen))
	s.checkAt(context.WithoutCancel(ctx), name, kept, since, s.opts.TwinCheck, 1)
}

// checkAt looks at the name by a list that began at since or later.
func (s *Store) checkAt(ctx context.Context, name string, kept vultr.Snapshot, since time.Time, after time.Duration, try int) {
	time.AfterFunc(time.Until(since)+after, func() {
		if s.checked(ctx, name, kept, since) || try >= checkAgain {
			return
		}
		s.checkAt(ctx, name, kept, time.Now(), s.opts.TwinCheck/4, try+1)
	})
}

// checked deletes or reports the twins of a snapshot. It is false if that has to be done again: a twin could not be
// deleted, or the list does not show the snapshot itself, so that it is too old to show a twin.
func (s *Store) checked(ctx context.Context, name string, kept vultr.Snapshot, since time.Time) bool {
	if m, ok := s.names.get(name); ok && m.id != kept.ID {
		return true // it was deleted, and the name has another one
	}
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	list, err := s.api.Snapshots(ctx, time.Since(since))
	if err != nil {
		return false
	}
	shown, done := s.IsGone(kept.ID), true
	for _, other := range s.meant(list.Items, name, kept.VolumeID) {
		if other.ID == kept.ID {
			shown = true
			continue
		}
		if s.isSuccessor(kept, other) {
			continue
		}
		s.report(ctx, kept, other)
		done = s.removeTwin(ctx, kept, other) && done
	}
	if s.IsGone(kept.ID) {
		s.removeBeside(ctx, kept.ID) // it was deleted by its ID before a list showed them
	}
	return shown && done
}

// isSuccessor reports whether another process may have made the second snapshot of the name of the first when that was free again,
// because this process, which had made the first, had deleted it. The names that the snapshotter gives are never free again.
func (s *Store) isSuccessor(deleted, other vultr.Snapshot) bool {
	made, _ := s.made.Get(deleted.ID)
	deleting, _ := s.deleting.Get(deleted.ID)
	from, ours := made.(time.Time)
	to, ordered := deleting.(time.Time)
	younger := other.Created.Sub(deleted.Created)
	if !s.IsGone(deleted.ID) || !ours || !ordered || younger <= 0 {
		return false
	}
	return younger+time.Second > to.Sub(from) // the platform counts seconds
}
