package blockstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// absentFor is how old a list may be that shows that nobody had a name. What this process created since is known by
// its name, and what another one created since shows beside the new volume, before that is answered.
const absentFor = 30 * time.Second

// Create makes the volume that the spec describes, or finds it, and waits until it can be used. It answers only when a
// list shows the volume: by then whatever was made before it under the same name shows as well, by another controller,
// by a predecessor that was killed, or by a network that delivered a request twice. Of several the oldest is the
// volume of that name, and what this call made is deleted again.
//
// A volume that is made from another one comes by way of a snapshot, see clone.
func (s *Store) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	if spec.Source.Volume != "" {
		return s.clone(ctx, spec)
	}
	return s.create(ctx, spec)
}

func (s *Store) create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	if m, ok := s.names.get(spec.Name); ok {
		v, done, err := s.resume(ctx, m, spec)
		if done || err != nil {
			return v, err
		}
	}
	key := s.api.KeySince()
	found, err := s.find(ctx, spec.Name)
	if err != nil {
		return volume.Volume{}, err
	}
	if found != nil {
		return s.join(ctx, *found, spec)
	}
	if err := s.elsewhere(ctx, spec.Name, s.kinds.leads()); err != nil {
		return volume.Volume{}, err
	}
	exact, err := s.withContent(ctx, spec)
	if err != nil {
		return volume.Volume{}, err
	}
	asked := time.Now() // a copy of the content can take its time
	if err := s.mayCreate(ctx, spec.Name, key); err != nil {
		return volume.Volume{}, err
	}
	region, err := s.region(ctx, exact)
	if err != nil {
		return volume.Volume{}, err
	}
	s.sent.Add(spec.Name, nil)
	created, err := s.api.CreateVolume(ctx, vultr.VolumeRequest{
		Label: s.opts.Cluster.Label(exact.Name), Region: region, SizeGB: int(exact.SizeGiB), Type: blockType(exact.Type), SnapshotID: exact.Source.Snapshot,
	})
	if vultr.IsOutcomeUnknown(err) {
		return s.afterUnknownCreate(ctx, spec, err)
	}
	if err != nil {
		return volume.Volume{}, s.explainCreate(ctx, exact, region, err)
	}
	s.names.guard.Seen(spec.Name)
	s.ledger.made(created.ID)
	m := made{id: created.ID, at: time.Now(), spec: &exact, late: time.Since(asked) > leadFor}
	s.names.put(spec.Name, m)
	klog.FromContext(ctx).Info("Created volume", "volumeID", created.ID, "name", spec.Name, "region", region, "sizeGiB", exact.SizeGiB, "type", spec.Type, "source", exact.Source)
	return s.finish(ctx, m, spec)
}

// resume goes on with a name that this process created. done is false when the name is free again.
func (s *Store) resume(ctx context.Context, m made, spec volume.Spec) (v volume.Volume, done bool, err error) {
	switch {
	case m.wrong != nil && m.deleted.IsZero():
		return v, true, s.takeBack(ctx, spec.Name, m)
	case m.wrong != nil && time.Since(m.deleted) < m.pause():
		return v, true, fmt.Errorf("%w; it was deleted again, and the next try is in %s", m.wrong, (m.pause() - time.Since(m.deleted)).Round(time.Second))
	case m.wrong != nil, s.ledger.isGone(m.id):
		return v, false, nil //nolint:nilerr // what was wrong is gone
	case !m.answered:
		v, err = s.finish(ctx, m, spec)
		return v, true, err
	}
	d, err := s.look(ctx, m.id)
	if volume.ReasonOf(err) == volume.NotFound {
		d, err = s.lookAgain(ctx, m.id, time.Now())
	}
	if volume.ReasonOf(err) == volume.NotFound {
		s.names.forget(spec.Name)
		return v, false, nil //nolint:nilerr // the name is free again
	}
	if err != nil {
		return v, true, err
	}
	v, err = s.adopt(ctx, d, spec)
	return v, true, err
}

// finish waits until a list shows what was created, and settles which volume the name means.
func (s *Store) finish(ctx context.Context, m made, spec volume.Spec) (volume.Volume, error) {
	// Counted from the create: each call that waits for it may be short.
	missing := max(0, s.opts.Unseen-time.Since(m.at))
	v, list, err := s.api.WaitListed(ctx, "create", m.id, missing, usable)
	if vultr.IsNotFound(err) {
		s.names.forget(spec.Name)
		return volume.Volume{}, volume.Errorf(volume.Busy, "volume %s vanished before it became active", m.id)
	}
	d := fromAPI(v)
	if m.spec != nil && d.isFailed() {
		// Nobody was told of it, and it costs money.
		m.wrong = volume.Errorf(volume.Busy, "the platform made volume %s with the status %q", m.id, d.status)
		return volume.Volume{}, s.takeBack(ctx, spec.Name, m)
	}
	if err != nil {
		return volume.Volume{}, refusal.OfRead(err, "waiting for volume %s to become active", m.id)
	}
	s.account.Shown(list.Began)
	s.ledger.saw(d, list.Began)
	s.places.learn(m.id, d.Region)
	if m.spec != nil {
		if m.wrong, err = s.mistake(ctx, d, m, spec.Name); err != nil {
			return volume.Volume{}, err
		}
		if m.wrong != nil {
			return volume.Volume{}, s.takeBack(ctx, spec.Name, m)
		}
	}
	d = s.settle(ctx, d, list.Items, spec.Name)
	s.names.put(spec.Name, made{id: d.ID, at: time.Now(), answered: true})
	s.checkLater(ctx, d)
	return s.adopt(ctx, d, spec)
}

// settle returns the volume that the name means by a list that shows d, which nobody was told of yet: the oldest. It
// gives up d if that is another one.
func (s *Store) settle(ctx context.Context, d disk, list []vultr.Volume, name string) disk {
	all := s.named(list, name)
	if len(all) == 0 || all[0].ID == d.ID {
		return d
	}
	oldest := all[0]
	klog.FromContext(ctx).Info("Somebody else created the name a moment before, giving up what was just created",
		"name", name, "volumeID", oldest.ID, "duplicateID", d.ID)
	s.report(ctx, oldest, d)
	s.twins.giveUp(d.ID)
	s.removeTwin(ctx, oldest, d)
	return oldest
}

// join answers with a volume that was there before. While it is new others of its name may still show: an older one, and
// those of predecessors that were killed before they found it.
func (s *Store) join(ctx context.Context, d disk, spec volume.Spec) (volume.Volume, error) {
	m := made{id: d.ID, at: time.Now()}
	if !d.Ready {
		return s.finish(ctx, m, spec)
	}
	v, err := s.adopt(ctx, d, spec)
	if err == nil {
		m.answered = true
		s.names.put(spec.Name, m)
		if time.Since(d.Created) < twinAge {
			s.checkLater(ctx, d)
		}
	}
	return v, err
}

// find looks for the volume of a name; nil without an error is the proof that there is none that anybody was told of.
// After a create without an answer only a new list proves that, and not before the settle time is over: find waits.
func (s *Store) find(ctx context.Context, name string) (*disk, error) {
	named := func(v vultr.Volume) bool { return s.opts.Cluster.Has(v.Label, name) && !s.ledger.isGone(v.ID) }
	if !s.names.guard.Tried(name) {
		// A list that was read with an earlier key may be another account's.
		age := min(absentFor, time.Since(s.api.KeySince()))
		if list, err := s.list(ctx, age); err == nil && !slices.ContainsFunc(list.Items, named) {
			return nil, nil //nolint:nilnil // nil is documented
		}
	}
	found, err := vultr.Search[vultr.Volume]{
		List:   func(ctx context.Context) (vultr.List[vultr.Volume], error) { return s.list(ctx, 0) },
		Match:  named,
		Absent: func(listBegan time.Time) error { return s.names.guard.Absent(name, listBegan) },
	}.Run(ctx)
	if err != nil {
		return nil, refusal.OfRead(err, "looking for the volume of the name %q", name)
	}
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // nil is documented
	}
	s.names.guard.Seen(name)
	all := s.named(found, name)
	for _, younger := range all[1:] {
		s.report(ctx, all[0], younger)
		s.removeTwin(ctx, all[0], younger)
	}
	return &all[0], nil
}

// adopt checks that the volume is what was asked for and waits until it is usable.
func (s *Store) adopt(ctx context.Context, d disk, spec volume.Spec) (volume.Volume, error) {
	if differences := compare(d.Volume, spec); len(differences) > 0 {
		return volume.Volume{}, volume.Errorf(volume.Exists, "volume %s has the name %q but differs: %s",
			d.ID, spec.Name, strings.Join(differences, "; "))
	}
	s.places.learn(d.ID, d.Region)
	if d.Ready {
		return d.Volume, nil
	}
	v, _, err := s.api.WaitListed(ctx, "create", d.ID, s.opts.Unseen, usable)
	if vultr.IsNotFound(err) {
		return volume.Volume{}, volume.Errorf(volume.Busy, "volume %s vanished before it became active", d.ID)
	}
	if err != nil {
		return volume.Volume{}, refusal.OfRead(err, "waiting for volume %s to become active", d.ID)
	}
	return fromAPI(v).Volume, nil
}

// compare lists in words where the volume is not what the spec asks for.
func compare(v volume.Volume, spec volume.Spec) []string {
	var differences []string
	differ := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	if !spec.Capacity.Holds(v.Bytes()) {
		differ("it has %d bytes, asked for are at least %d and at most %s", v.Bytes(), spec.Capacity.Required, orAny(spec.Capacity.Limit))
	}
	if v.Type != spec.Type {
		differ("it is of type %s, asked for is %s", v.Type, spec.Type)
	}
	if !slices.Contains(spec.Regions, v.Region) {
		differ("it is in region %s, asked for is %s", v.Region, strings.Join(spec.Regions, " or "))
	}
	if !hasContent(v, spec.Source) {
		differ("its content is from %s, asked for is %s", orEmpty(v.Source), orEmpty(spec.Source))
	}
	return differences
}

func orAny(limit int64) string {
	if limit == 0 {
		return "any size"
	}
	return fmt.Sprintf("%d", limit)
}

func orEmpty(source volume.Source) string {
	if source.IsZero() {
		return "nowhere (an empty volume)"
	}
	return source.String()
}

// afterUnknownCreate looks for the volume of a create that got no answer. Should it prove that nothing was made,
// the next call may create; this one has had its attempt.
func (s *Store) afterUnknownCreate(ctx context.Context, spec volume.Spec, cause error) (volume.Volume, error) {
	s.names.guard.AttemptEnded(spec.Name)
	klog.FromContext(ctx).Info("The outcome of a create is unknown, looking for the volume", "name", spec.Name, "err", cause)
	found, err := s.find(ctx, spec.Name)
	switch {
	case err != nil:
		return volume.Volume{}, volume.Errorf(volume.Busy, "%w; whether it made the volume is not known yet: %w", cause, err)
	case found == nil:
		return volume.Volume{}, volume.Errorf(volume.Busy, "%w; it made nothing and can be repeated", cause)
	}
	m := made{id: found.ID, at: time.Now()}
	s.names.put(spec.Name, m)
	return s.finish(ctx, m, spec)
}
