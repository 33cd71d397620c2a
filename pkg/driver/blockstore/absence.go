package blockstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/absence"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// thing is a volume as something that may be absent. seen gets it should a look show it after all.
func (s *Store) thing(id string, seen *disk) absence.Thing {
	return absence.Thing{
		Name: "volume " + id, Pause: s.opts.LookAgain, Account: s.account,
		Look: func(ctx context.Context) (err error) {
			*seen, err = s.lookOr(ctx, id, func() (disk, error) { return s.listed(ctx, id) })
			return err
		},
	}
}

// remove deletes the volume while the precondition holds. wasGone reports that it was proven not to exist before.
func (s *Store) remove(ctx context.Context, id string, holds vultr.Precondition) (wasGone bool, err error) {
	return s.thing(id, &disk{}).Remove(ctx, func(ctx context.Context) error { return s.api.DeleteVolume(ctx, id, holds) })
}

// detachUnseen is the detach of a volume that reads lack. The proof is the platform's own answer to a detach. That names no
// instance, so it is sent only if this process knows the volume to be at this one, or none is named: it would take it from
// any other. Else another write shows whether there is a volume.
func (s *Store) detachUnseen(ctx context.Context, id, instance string, asked time.Time) error {
	at := s.ledger.whereLast(id)
	if at != "" && instance != "" && at != instance {
		return volume.Errorf(volume.Busy, "volume %s is not shown by the platform, and was last seen at instance %s, not at %s; it is looked for again", id, at, instance)
	}
	switch _, err := s.lookAgain(ctx, id, asked, instance); {
	case err == nil:
		return volume.Errorf(volume.Busy, "volume %s was not shown by the platform and is again; where it is attached is looked at again", id)
	case volume.ReasonOf(err) != volume.NotFound:
		return err
	}
	if instance != "" && at != instance {
		return s.unknownPlace(ctx, id, instance)
	}
	err := s.api.DetachVolume(ctx, id)
	switch {
	case vultr.IsNotFound(err):
		klog.FromContext(ctx).Info("There is nothing to detach, the volume does not exist", "volumeID", id, "instanceID", instance)
		return nil
	case err == nil, vultr.IsOutcomeUnknown(err):
		if instance != "" {
			s.ledger.order(id, detaching, instance)
		}
		return volume.Errorf(volume.Busy, "a detach of volume %s was sent, which reads do not show; whether it is detached is looked at again", id)
	case vultr.IsNotAttached(err):
		return volume.Errorf(volume.Busy, "volume %s exists by the platform's answer to a detach, and no read shows it; it is looked for again: %w", id, err)
	}
	return refusal.OfChange(err, "detaching volume %s, which no read shows", id)
}

// unknownPlace is success if the volume does not exist by the platform's answer to a write, one that has no effect: where
// the volume is this process does not know, so nothing else may be sent.
func (s *Store) unknownPlace(ctx context.Context, id, instance string) error {
	switch exists, err := s.api.VolumeExists(ctx, id); {
	case err != nil:
		return refusal.OfRead(err, "finding out whether volume %s exists, which no read shows", id)
	case exists:
		return volume.Errorf(volume.Busy, "volume %s exists by the platform's answer to a write, and no read shows it or where it is; it is looked for again", id)
	}
	klog.FromContext(ctx).Info("There is nothing to detach, the volume does not exist", "volumeID", id, "instanceID", instance)
	return nil
}

// lookAgain looks for a volume that was not found at the time asked or later: see absence.Thing.
func (s *Store) lookAgain(ctx context.Context, id string, asked time.Time, instances ...string) (disk, error) {
	var d disk
	err := s.thing(id, &d).LookAgain(ctx, asked, instances...)
	if err != nil {
		return disk{}, err
	}
	return d, nil
}

// listed reads the volume by a list alone.
func (s *Store) listed(ctx context.Context, id string) (disk, error) {
	list, err := s.list(ctx, 0)
	if err != nil {
		return disk{}, refusal.OfRead(err, "looking for volume %s", id)
	}
	i := slices.IndexFunc(list.Items, func(v vultr.Volume) bool { return v.ID == id })
	if i < 0 {
		return disk{}, volume.Errorf(volume.NotFound, "volume %s does not exist", id)
	}
	s.account.Shown(list.Began)
	return fromAPI(list.Items[i]), nil
}

// mayCreate returns nil if the account, in which nothing has the name, is proven to be the cluster's. keySince is since when
// the key was in use by which that was found.
func (s *Store) mayCreate(ctx context.Context, name string, keySince time.Time) error {
	if err := s.account.CheckKey(ctx); err != nil {
		return volume.Errorf(volume.Busy, "the volume %q is not created: %w", name, err)
	}
	if !s.api.KeySince().Equal(keySince) {
		return volume.Errorf(volume.Busy, "the volume %q is not created yet: the API key was just replaced, and the name is looked for again", name)
	}
	return nil
}

// Proven returns nil if the account that is read is proven to be the cluster's, at the time given or later.
func (s *Store) Proven(ctx context.Context, since time.Time) error {
	return s.account.Check(ctx, since)
}

// orDoubt makes a NotFound, which reads answered that began when asked or later, a Busy if they may have read another account
// than the cluster's: callers conclude from it that nothing can come of what they asked for.
func (s *Store) orDoubt(ctx context.Context, id string, asked time.Time, err error) error {
	if volume.ReasonOf(err) != volume.NotFound || s.ledger.isGone(id) {
		return err
	}
	if doubt := s.Proven(ctx, asked); doubt != nil {
		return volume.Errorf(volume.Busy, "volume %s is not found, which proves nothing: %w", id, doubt)
	}
	return err
}

// instanceGone reports whether neither a single read nor a list shows an instance, in an account that shows another one.
func (s *Store) instanceGone(ctx context.Context, id string) (bool, error) {
	asked := time.Now()
	_, err := s.api.Instance(ctx, id)
	if err == nil || !vultr.IsNotFound(err) {
		return false, err
	}
	if doubt := s.account.Check(ctx, asked); doubt != nil {
		return false, volume.Errorf(volume.Busy, "instance %s is not found, which proves nothing: %w", id, doubt)
	}
	list, err := s.api.Instances(ctx, time.Since(asked))
	return err == nil && !slices.ContainsFunc(list.Items, func(i vultr.Instance) bool { return strings.EqualFold(i.ID, id) }), err
}

// whereLast returns the instance that the volume was lately known to be at, "" if that is none or not known. What was
// seen longer ago says nothing, however often it is asked about.
func (l *ledger) whereLast(id string) (instance string) {
	l.With(id, func(e *entry, now time.Time) {
		if now.Sub(e.hereLast) < forgetAfter {
			instance = e.here
		}
		if e.ordered == attaching && now.Sub(e.orderedAt) < forgetAfter {
			instance = e.instance
		}
	})
	return instance
}
