package blockstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// looksFor is how long a look at a volume is good for an order: a detach names no instance, it takes the volume from
	// whichever has it by then.
	looksFor = time.Second
	// repeatWithin is how long an attachment that was just seen is taken as it was. The attacher asks for every
	// attachment twice, the second time at once, because it acts before it sees its own record of the first.
	repeatWithin = 2 * time.Second
)

// errUnderWay says that an attach was accepted before, to an instance that the platform does not show yet.
var errUnderWay = errors.New("an attach is under way")

// Attach gives the volume to the instance and waits until the platform shows it there. Attaching what is attached
// to this instance already is success.
func (s *Store) Attach(ctx context.Context, id, instance string) (volume.Attachment, error) {
	for {
		d, err := s.attach(ctx, id, instance)
		stays := false
		if err == nil {
			stays, err = s.stays(ctx, id, instance)
		}
		if stays || err != nil {
			return volume.Attachment{Volume: d.Volume, Serial: d.serial}, err
		}
	}
}

func (s *Store) attach(ctx context.Context, id, instance string) (disk, error) {
	if err := s.awaitDetach(ctx, id, instance); err != nil {
		return disk{}, err
	}
	// Before the queue: when it is long, what was just seen is too old by the time of the turn.
	if d, ok := s.stillThere(id, instance); ok {
		return d, nil
	}
	s.Locate(ctx, id, instance)
	turn, err := s.orders.Enter(ctx, instance)
	if err != nil {
		return disk{}, fmt.Errorf("waiting for other operations on instance %s: %w", instance, err)
	}
	defer turn.Leave()
	if err := s.places.apart(id, instance); err != nil {
		return disk{}, err
	}

	// The order is given without looking first: it nearly always succeeds, and a refusal tells that looking pays.
	err = s.send(ctx, turn, func() error { return s.api.AttachVolume(ctx, id, instance) })
	if err == nil || vultr.IsOutcomeUnknown(err) {
		s.ledger.order(id, attaching, instance)
	}
	if vultr.IsOutcomeUnknown(err) {
		s.ledger.unsure(id)
	}
	if err != nil {
		turn.Pass() // to find out why takes several calls, and others have orders for the instance
		d, why := s.explainAttach(ctx, id, instance, err)
		if !errors.Is(why, errUnderWay) {
			return d, why
		}
		s.ledger.join(id, instance)
	}
	turn.Settle()
	klog.FromContext(ctx).V(2).Info("Attaching volume", "volumeID", id, "instanceID", instance)
	d, err := s.wait(ctx, "attach", id, func(d disk) (bool, error) { return s.arrived(d, instance) })
	if err != nil {
		return disk{}, refusal.OfRead(unseen(err), "waiting for volume %s to be attached to instance %s", id, instance)
	}
	s.account.HasInstance(instance)
	s.proven(ctx, d)
	return d, nil
}

// arrived reports whether a look shows the volume where an attach that is under way is to bring it. The error says why it will not
// come.
func (s *Store) arrived(d disk, instance string) (bool, error) {
	switch {
	case attachedHere(d, instance):
		return true, nil
	case !d.IsAttachedTo(""), d.IsAttachedTo(instance):
		return false, d.asFailed()
	case s.ledger.past(d) > 0:
		return false, nil
	}
	return false, attachedElsewhere(d, instance)
}

// awaitDetach waits until a detach that this process ordered before has taken effect. Until then the platform shows
// the volume where it was, and an attach to the same instance would seem to be done already. A detach that hangs is left
// to the calls to come: it may be carried out at any time.
func (s *Store) awaitDetach(ctx context.Context, id, instance string) error {
	from, ordered := s.ledger.detachUnderWay(id)
	if from == "" {
		return nil
	}
	if left := s.opts.AttachWindow - time.Since(ordered); left > 0 {
		klog.FromContext(ctx).Info("A detach is under way, waiting for it before the attach", "volumeID", id, "atMost", left)
		waiting, cancel := context.WithTimeout(ctx, left)
		defer cancel()
		_, err := s.wait(waiting, "detach", id, func(d disk) (bool, error) { return !d.IsAttachedTo(from) && s.ledger.past(d) == 0, nil })
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || waiting.Err() == nil {
			return refusal.OfRead(err, "waiting for the detach of volume %s that is under way", id)
		}
	}
	if from != instance {
		return nil // the platform itself refuses to attach what another instance has
	}
	if _, err := s.whereIs(ctx, id, 0); err != nil {
		return err
	}
	if from, ordered = s.ledger.detachUnderWay(id); from == "" {
		return nil
	}
	return volume.Errorf(volume.Busy, "volume %s is not published to instance %s before a detach from there is over that was ordered %s ago and "+
		"may still be carried out: the instance may be locked or hold the disk, see it in the Vultr console",
		id, instance, time.Since(ordered).Round(time.Second))
}

// stillThere returns the volume if it was seen at the instance a moment ago. Later than that the order is given anyway:
// a look may be an old one, and what the platform refuses to attach is attached.
func (s *Store) stillThere(id, instance string) (disk, bool) {
	d, ok := s.ledger.lately(id, repeatWithin)
	return d, ok && attachedHere(d, instance)
}

// send sends an order to an instance. When the instance is locked by what this process ordered before, it is
// sent again after that has settled.
func (s *Store) send(ctx context.Context, turn *inflight.Turn, order func() error) error {
	for {
		err := order()
		if !vultr.IsLocked(err) || !turn.AwaitOthers(ctx) {
			return err
		}
	}
}

// wait waits until the platform shows the volume as wished, and notes what it sees. A volume that reads lack because
// it was just created is waited for.
func (s *Store) wait(ctx context.Context, what, id string, done func(disk) (bool, error)) (disk, error) {
	for {
		s.ledger.begins(id)
		v, asOf, err := s.api.WaitVolumeAsOf(ctx, what, id, func(v vultr.Volume) (bool, error) { return done(fromAPI(v)) })
		s.ledger.ends(id)
		if v.ID != "" {
			s.account.Shown(asOf)
			s.ledger.saw(fromAPI(v), asOf)
		}
		if !vultr.IsNotFound(err) {
			return fromAPI(v), err
		}
		if err := s.missing(id); volume.ReasonOf(err) != volume.Busy {
			return disk{}, err
		}
	}
}

// unseen is the error of a wait for what the platform has just accepted: the volume that reads lack exists, or existed a
// moment ago, and the next call learns from the platform's answer to an order which of the two it is.
func unseen(err error) error {
	if volume.ReasonOf(err) != volume.NotFound {
		return err
	}
	return volume.Errorf(volume.Busy, "the platform accepted an order for a volume that its reads lack: %w", err)
}

func attachedHere(d disk, instance string) bool {
	return d.IsAttachedTo(instance) && d.serial != ""
}

func attachedElsewhere(d disk, instance string) error {
	return volume.Errorf(volume.InUse, "volume %s is attached to instance %s and cannot be attached to %s before it is detached there",
		d.ID, d.AttachedTo[0], instance)
}
