package blockstore

import (
	"context"
	"fmt"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// mostDisks is how many disks an instance can have by the platform's documentation. The official driver was lowered to
// 11 after a support ticket, so a refusal below 16 may be the limit as well, but nothing proves it.
const mostDisks = 16

// explainAttach finds out what a refused attach means. Without an error the volume is where it should be; with
// errUnderWay it is worth waiting for where it will be.
func (s *Store) explainAttach(ctx context.Context, id, instance string, cause error) (disk, error) {
	if vultr.IsRateLimited(cause) || vultr.IsUnauthorized(cause) || ctx.Err() != nil {
		return disk{}, refusal.OfChange(cause, "attaching volume %s to instance %s", id, instance)
	}
	if err := s.foundApart(ctx, id, instance, cause); err != nil {
		return disk{}, err
	}
	if vultr.IsAlreadyAttached(cause) && s.ledger.refused(id, detaching, instance) {
		_, ordered := s.ledger.detachUnderWay(id)
		return disk{}, volume.Errorf(volume.Busy, "volume %s is not published to instance %s before it is detached from there, which was ordered %s ago: "+
			"a read showed it free, and the platform says that it is not: %w", id, instance, time.Since(ordered).Round(time.Second), cause)
	}
	return s.explainByVolume(ctx, id, instance, cause)
}

// explainByVolume finds what about the volume has an attach be refused.
func (s *Store) explainByVolume(ctx context.Context, id, instance string, cause error) (disk, error) {
	d, err := s.whereIs(ctx, id, 0)
	if err != nil {
		return disk{}, err
	}
	switch {
	case attachedHere(d, instance) && s.isLeaving(d, instance):
		return disk{}, volume.Errorf(volume.Busy, "volume %s was detached from instance %s a moment ago, or is being detached, and a read shows it "+
			"there still, which may be an old one: %w", id, instance, cause)
	case attachedHere(d, instance):
		return d, nil
	case d.IsAttachedTo("") && !d.IsAttachedTo(instance):
		return disk{}, attachedElsewhere(d, instance)
	case !d.IsAttachedTo("") && vultr.IsAlreadyAttached(cause):
		return disk{}, errUnderWay
	case !d.Ready:
		return disk{}, volume.Errorf(volume.Busy, "volume %s is not active yet, its status is %q: %w", id, d.status, cause)
	case vultr.IsLocked(cause), vultr.IsOutcomeUnknown(cause), vultr.IsNothingToChange(cause):
		return disk{}, volume.Errorf(volume.Busy, "attaching volume %s to instance %s: %w", id, instance, cause)
	}
	return disk{}, s.explainByInstance(ctx, d, instance, cause)
}

// isLeaving reports whether this process detached the volume from the instance so lately that a look at it there may be an old one, or
// the detach is under way.
func (s *Store) isLeaving(d disk, instance string) bool {
	from, _ := s.ledger.detachUnderWay(d.ID)
	return from == instance || s.ledger.late(d) > 0
}

// foundApart is places.apart after a refusal that says nothing and a look at the instance, if the volume's region is
// known. nil explains nothing.
func (s *Store) foundApart(ctx context.Context, id, instance string, cause error) error {
	if !vultr.IsInvalid(cause) || vultr.IsAlreadyAttached(cause) || vultr.IsLocked(cause) || vultr.IsNothingToChange(cause) {
		return nil
	}
	if s.places.of(id) == "" || s.places.of(instance) != "" {
		return nil
	}
	i, err := s.api.Instance(ctx, instance)
	if err != nil {
		return nil //nolint:nilerr // whoever explains the refusal asks again, and says what is wrong
	}
	s.places.learn(instance, i.Region)
	return s.places.apart(id, instance)
}

// explainByInstance finds what about the instance makes it refuse the volume.
func (s *Store) explainByInstance(ctx context.Context, d disk, instance string, cause error) error {
	i, err := s.api.Instance(ctx, instance)
	switch {
	case vultr.IsNotFound(err):
		return volume.Errorf(volume.NotFound, "instance %s does not exist", instance)
	case err != nil:
		return refusal.OfRead(err, "reading instance %s, which refused volume %s", instance, d.ID)
	case i.Kind == vultr.KindBareMetal:
		return volume.Errorf(volume.Invalid, "instance %s is a bare metal server, which cannot have block storage", instance)
	}
	s.places.learn(instance, i.Region)
	if err := s.places.apart(d.ID, instance); err != nil {
		return err
	}
	if i.ServerStatus == "locked" || i.Status != "active" {
		return volume.Errorf(volume.Busy, "instance %s is %s and %s: %w", instance, i.Status, i.ServerStatus, cause)
	}
	if vultr.IsNotFound(cause) {
		return volume.Errorf(volume.Busy, "volume %s and instance %s are shown, and an attach is answered as if one did not exist; it is repeated: %w", d.ID, instance, cause)
	}
	disks, err := s.disksOf(ctx, instance)
	if err != nil {
		return err
	}
	if disks >= mostDisks || vultr.IsLimit(cause) {
		if s.opts.LimitReached != nil {
			s.opts.LimitReached(ctx, instance, disks)
		}
		return volume.Errorf(volume.Exhausted, "instance %s has %d volumes, which is its limit: %w", instance, disks, cause)
	}
	has := fmt.Sprintf("attaching volume %s to instance %s, which has %d volumes", d.ID, instance, disks)
	return refusal.OfChange(cause, "%s", has)
}

// ofShown is the failure of a change to a volume that a read has just shown. That it is answered as if the volume did not exist is
// no proof: should the volume be gone, the next call finds that out.
func ofShown(err error, format string, args ...any) error {
	if vultr.IsNotFound(err) {
		return volume.Errorf(volume.Busy, "%s: the volume is shown, and a change to it is answered as if it did not exist; it is looked at again: %w",
			fmt.Sprintf(format, args...), err)
	}
	return refusal.OfChange(err, format, args...)
}

func (s *Store) disksOf(ctx context.Context, instance string) (int, error) {
	list, err := s.list(ctx, 0)
	if err != nil {
		return 0, refusal.OfRead(err, "counting the volumes of instance %s", instance)
	}
	disks := 0
	for _, other := range list.Items {
		if other.AttachedTo == instance {
			disks++
		}
	}
	return disks, nil
}
