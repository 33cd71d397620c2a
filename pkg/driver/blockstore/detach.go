package blockstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// errMoved says that the volume is not shown any more where it was when a detach was decided. It was taken from there by somebody else,
// or by an attempt of the call itself whose answer was lost; or the look is an old one.
var errMoved = errors.New("the volume is not shown there any more")

// Detach takes the volume from the instance, "" for whichever has it, and waits until the platform shows that.
// It is success when the volume is proven not to be attached there; it never takes it from another instance.
func (s *Store) Detach(ctx context.Context, id, instance string) error {
	for {
		if err := s.detach(ctx, id, instance); !errors.Is(err, errMoved) {
			return err
		}
	}
}

func (s *Store) detach(ctx context.Context, id, instance string) error {
	if s.ledger.isGone(id) {
		return nil
	}
	asked := time.Now()
	d, err := s.whereAttached(ctx, id, instance)
	if volume.ReasonOf(err) == volume.NotFound {
		return s.detachUnseen(ctx, id, instance, asked)
	}
	if err == nil {
		err = s.asPast(d)
	}
	if err != nil {
		return err
	}
	if !d.IsAttachedTo(instance) {
		klog.FromContext(ctx).V(2).Info("There is nothing to detach", "volumeID", id, "attachedTo", d.AttachedTo)
		return nil
	}
	return s.detachFrom(ctx, id, d.AttachedTo[0], asked)
}

// detachFrom orders the detach from the instance that has the volume, by what was just seen, and waits for its effect.
func (s *Store) detachFrom(ctx context.Context, id, from string, asked time.Time) error {
	turn, err := s.orders.Enter(ctx, from)
	if err != nil {
		return fmt.Errorf("waiting for other operations on instance %s: %w", from, err)
	}
	defer turn.Leave()
	err = s.send(ctx, turn, func() error { return s.api.DetachVolume(ctx, id, s.at(id, from)) })
	switch {
	case volume.ReasonOf(err) == volume.NotFound: // the precondition's
		turn.Pass()
		return s.detachUnseen(ctx, id, from, asked)
	case errors.Is(err, errMoved):
		return err
	case vultr.IsNotAttached(err) && s.ledger.refused(id, attaching, from):
		return s.comesNot(ctx, id, from)
	case err == nil, vultr.IsNotAttached(err):
		// What reads show attached and the platform does not detach is being detached: by an attempt whose answer was lost, by
		// the same request that was delivered twice, or by somebody else.
		s.ledger.order(id, detaching, from)
	case vultr.IsNotFound(err):
		s.ledger.doubt(id) // what the platform shows next decides
	default:
		if vultr.IsOutcomeUnknown(err) {
			s.ledger.order(id, detaching, from)
		}
		// Whatever refuses it passes: an attach that a read showed too early, an instance that is locked or being destroyed.
		return refusal.OfRead(err, "detaching volume %s from instance %s", id, from)
	}
	turn.Settle()
	_, err = s.wait(ctx, "detach", id, func(d disk) (bool, error) { return !d.IsAttachedTo(from) && s.ledger.past(d) == 0, nil })
	if volume.ReasonOf(err) == volume.NotFound {
		return s.detachUnseen(ctx, id, from, asked)
	}
	return refusal.OfRead(err, "waiting for volume %s to be detached from instance %s", id, from)
}

// at is the precondition of a detach, which names no instance: the volume is at the instance, by a look that is fresh.
func (s *Store) at(id, instance string) vultr.Precondition {
	return func(ctx context.Context) error {
		d, err := s.lookedAt(ctx, id)
		if err == nil {
			err = s.asPast(d)
		}
		if err == nil && !d.IsAttachedTo("") && s.ledger.late(d) > 0 {
			return volume.Errorf(volume.Busy, "volume %s was attached to instance %s a moment ago and a read does not show it, which may be an old one", id, instance)
		}
		if err == nil && !d.IsAttachedTo(instance) {
			return errMoved
		}
		return err
	}
}

// asPast is the error for a look that shows the volume elsewhere than where this process has just moved it, nil for any other. It
// proves neither that the volume is there nor that it is at no other instance.
func (s *Store) asPast(d disk) error {
	left := s.ledger.past(d)
	if left == 0 {
		return nil
	}
	return volume.Errorf(volume.Busy, "volume %s was ordered elsewhere a moment ago, and a read shows it at instance %s, which may be an old one; "+
		"it is looked at again, and believed in %s", d.ID, d.AttachedTo[0], left.Round(time.Second))
}

// free is the precondition of a delete: no instance has the volume, by a list that is fresh. What the list lacks is left
// to the delete itself, whose 404 is proof: it may be new, but nobody was told that it is attached before a list showed that.
func (s *Store) free(id string) vultr.Precondition {
	if s.opts.Medium.Free != nil {
		return s.opts.Medium.Free(id)
	}
	return func(ctx context.Context) error {
		d, known := s.ledger.lately(id, looksFor)
		if !known {
			list, err := s.list(ctx, looksFor)
			if err == nil && !slices.ContainsFunc(list.Items, func(v vultr.Volume) bool { return v.ID == id }) {
				return nil
			}
			if d, err = s.whereIs(ctx, id, looksFor); volume.ReasonOf(err) == volume.NotFound {
				return nil
			}
			if err != nil {
				return err
			}
		}
		if d.IsAttachedTo("") {
			return volume.Errorf(volume.InUse, "volume %s is attached to instance %s and is not deleted before it is detached", id, d.AttachedTo[0])
		}
		if left := s.ledger.late(d); left > 0 {
			return volume.Errorf(volume.Busy, "volume %s was attached a moment ago and a read does not show it, which may be an old one; it is not deleted for another %s",
				id, left.Round(time.Second))
		}
		return nil
	}
}

// whereAttached reads the volume. An attach to the instance, "" for to any, that is not visible yet is waited for: it would take effect
// after a detach that believed the volume to be free or elsewhere, and nobody would ever undo it. This covers attaches ordered by this process, also
// those that it saw take effect, if this look is older, and those that another one may have ordered before it was killed
// or lost its lease.
func (s *Store) whereAttached(ctx context.Context, id, instance string) (disk, error) {
	d, err := s.lookedAt(ctx, id)
	if err != nil || d.IsAttachedTo(instance) || s.ledger.past(d) > 0 {
		return d, err
	}
	left := s.ledger.doubtful(d)
	if left == 0 {
		return d, s.comesNot(ctx, id, instance)
	}
	if instance != "" {
		if gone, err := s.instanceGone(ctx, instance); err == nil && gone {
			return d, nil // nothing can be attached to what is gone
		}
	}
	klog.FromContext(ctx).Info("An attach may still take effect, waiting for it before the detach", "volumeID", id, "instanceID", instance, "atMost", left)
	waiting, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	now, err := s.wait(waiting, "late attach", id, func(d disk) (bool, error) { return d.IsAttachedTo(instance), nil })
	switch {
	case err == nil, volume.ReasonOf(err) == volume.NotFound:
		return now, err
	case ctx.Err() == nil && waiting.Err() != nil:
		now, err = s.whereIs(ctx, id, 0) // it had its time
		if err == nil && !now.IsAttachedTo(instance) {
			err = s.comesNot(ctx, id, instance)
		}
		return now, err
	}
	return disk{}, refusal.OfRead(err, "waiting for an attach of volume %s that may still take effect", id)
}

// comesNot is nil if no attach to the instance is to come that this process ordered and the platform accepted. One that
// hangs is left to the calls to come: to believe now that the volume is free would leave it attached for ever. To an
// instance that is gone none can come.
func (s *Store) comesNot(ctx context.Context, id, instance string) error {
	if s.ledger.attachUnderWay(id, instance) == 0 {
		return nil
	}
	if instance == "" {
		instance = s.ledger.whereLast(id)
	}
	if gone, err := s.instanceGone(ctx, instance); err == nil && gone {
		return nil
	}
	return volume.Errorf(volume.Busy, "volume %s does not count as free of instance %s yet: the platform accepted an attach that does not show and may still be "+
		"carried out: the instance may be locked, see it in the Vultr console", id, instance)
}
