package blockstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// manyDisks is how many disks an instance has when a refusal without another explanation is taken for its limit.
// The documentation says 16; the official driver was lowered to 11 after a support ticket.
const manyDisks = 11

// looksFor is how long a look at a volume is good for an order: a detach names no instance, it takes the volume from
// whichever has it by then.
const looksFor = time.Second

// errUnderWay says that an attach was accepted before, to an instance that the platform does not show yet.
var errUnderWay = errors.New("an attach is under way")

// Attach gives the volume to the instance and waits until the platform shows it there. Attaching what is attached
// to this instance already is success.
func (s *Store) Attach(ctx context.Context, id, instance string) (volume.Volume, error) {
	turn, err := s.orders.Enter(ctx, instance)
	if err != nil {
		return volume.Volume{}, fmt.Errorf("waiting for other operations on instance %s: %w", instance, err)
	}
	defer turn.Leave()
	s.predecessors(ctx)
	if v, ok := s.stillThere(ctx, id, instance); ok {
		return v, nil
	}
	if err := s.knownApart(id, instance); err != nil {
		return volume.Volume{}, err
	}

	// The order is given without looking first: it nearly always succeeds, and a refusal tells that looking pays.
	s.placed.forget(id)
	err = s.order(ctx, turn, func() error { return s.api.AttachVolume(ctx, id, instance) })
	if err == nil || vultr.IsOutcomeUnknown(err) {
		s.placed.ordered(id, instance)
	}
	if err != nil {
		v, why := s.explainAttach(ctx, id, instance, err)
		if !errors.Is(why, errUnderWay) {
			return v, why
		}
		s.placed.ordered(id, instance)
	}
	turn.Settle()
	klog.FromContext(ctx).V(2).Info("Attaching volume", "volumeID", id, "instanceID", instance)
	v, err := s.api.WaitVolume(ctx, "attach", id, func(v vultr.Volume) (bool, error) {
		if v.AttachedTo != "" && v.AttachedTo != instance {
			return false, attachedElsewhere(fromAPI(v), instance)
		}
		return attachedHere(v, instance), nil
	})
	if vultr.IsNotFound(err) {
		return volume.Volume{}, volume.Errorf(volume.NotFound, "volume %s does not exist", id)
	}
	if err != nil {
		return volume.Volume{}, fmt.Errorf("waiting for volume %s to be attached to instance %s: %w", id, instance, err)
	}
	s.placed.saw(fromAPI(v))
	return fromAPI(v), nil
}

// stillThere gives the volume if it was seen at the instance lately: a moment ago is as good as now, and after that it
// is worth a look whether it is still there.
func (s *Store) stillThere(ctx context.Context, id, instance string) (volume.Volume, bool) {
	v, ago, ok := s.placed.seenAt(id, instance)
	if !ok || ago <= repeatWithin {
		return v, ok
	}
	v, err := s.Get(ctx, id)
	if err != nil || v.AttachedTo != instance || v.Serial == "" {
		return volume.Volume{}, false
	}
	s.placed.saw(v)
	return v, true
}

// Detach takes the volume from the instance, "" for whichever has it, and waits until the platform shows that.
// It is success when the volume is proven not to be attached there; it never takes it from another instance.
func (s *Store) Detach(ctx context.Context, id, instance string) error {
	v, err := s.whereAttached(ctx, id, instance)
	if err != nil || !attachedTo(v, instance) {
		return s.nothingToDetach(ctx, v, id, err)
	}
	looked := time.Now()
	turn, err := s.orders.Enter(ctx, v.AttachedTo)
	if err != nil {
		return fmt.Errorf("waiting for other operations on instance %s: %w", v.AttachedTo, err)
	}
	defer turn.Leave()
	if time.Since(looked) > looksFor {
		if v, err = s.Get(ctx, id); err != nil || !attachedTo(v, instance) {
			return s.nothingToDetach(ctx, v, id, err)
		}
	}
	s.placed.forget(id)
	err = s.order(ctx, turn, func() error { return s.api.DetachVolume(ctx, id) })
	switch {
	case err == nil, vultr.IsNotAttached(err), vultr.IsNotFound(err):
		// What the platform shows next decides, whatever the order's answer was.
	default:
		return refused(err, "detaching volume %s from instance %s", id, v.AttachedTo)
	}
	turn.Settle()
	now, err := s.api.WaitVolume(ctx, "detach", id, func(now vultr.Volume) (bool, error) { return now.AttachedTo != v.AttachedTo, nil })
	if vultr.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("waiting for volume %s to be detached from instance %s: %w", id, v.AttachedTo, err)
	}
	s.placed.saw(fromAPI(now))
	return nil
}

// attachedTo tells whether the volume is attached to the instance, "" for any.
func attachedTo(v volume.Volume, instance string) bool {
	return v.AttachedTo != "" && (instance == "" || v.AttachedTo == instance)
}

// nothingToDetach is the end of a detach by a look that failed or did not find the volume at the instance.
func (s *Store) nothingToDetach(ctx context.Context, v volume.Volume, id string, err error) error {
	if err != nil && volume.ReasonOf(err) != volume.NotFound {
		return err
	}
	klog.FromContext(ctx).V(2).Info("There is nothing to detach", "volumeID", id, "attachedTo", v.AttachedTo, "found", err == nil)
	return nil
}

// whereAttached reads the volume. An attach that is not visible yet is waited for: it would take effect after a detach
// that believed the volume to be free, and nobody would ever undo it. Such are those that this process ordered, and for
// a while those of the process that was called before it, which may have been killed with its order on the way.
func (s *Store) whereAttached(ctx context.Context, id, instance string) (volume.Volume, error) {
	before := s.predecessors(ctx)
	v, err := s.Get(ctx, id)
	left := max(before, s.placed.underWay(id, instance))
	if err != nil || v.AttachedTo != "" || left == 0 {
		return v, err
	}
	if instance != "" {
		if _, err := s.api.Instance(ctx, instance); vultr.IsNotFound(err) {
			return v, nil // nothing can be attached to what is gone
		}
	}
	klog.FromContext(ctx).Info("An attach may still take effect, waiting for it before the detach", "volumeID", id, "instanceID", instance, "atMost", left)
	waiting, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	now, err := s.api.WaitVolume(waiting, "late attach", id, func(v vultr.Volume) (bool, error) { return v.AttachedTo != "", nil })
	switch {
	case err == nil:
		return fromAPI(now), nil
	case vultr.IsNotFound(err):
		return volume.Volume{}, volume.Errorf(volume.NotFound, "volume %s does not exist", id)
	case ctx.Err() == nil && waiting.Err() != nil:
		return s.Get(ctx, id) // it had its time
	}
	return volume.Volume{}, fmt.Errorf("waiting for an attach of volume %s that may still take effect: %w", id, err)
}

// order sends an order to an instance. When the instance is locked by what this process ordered before, it is
// sent again after that has settled.
func (s *Store) order(ctx context.Context, turn *inflight.Turn, send func() error) error {
	for {
		err := send()
		if !vultr.IsLocked(err) || !turn.AwaitOthers(ctx) {
			return err
		}
	}
}

// explainAttach finds out what a refused attach means. Without an error the volume is where it should be; with
// errUnderWay it is worth waiting for where it will be.
func (s *Store) explainAttach(ctx context.Context, id, instance string, cause error) (volume.Volume, error) {
	if vultr.IsRateLimited(cause) || vultr.IsUnauthorized(cause) || ctx.Err() != nil {
		return volume.Volume{}, cause
	}
	if err := s.foundApart(ctx, id, instance, cause); err != nil {
		return volume.Volume{}, err
	}
	v, err := s.Get(ctx, id)
	if err != nil {
		return volume.Volume{}, err
	}
	switch {
	case v.AttachedTo == instance && v.Serial != "":
		return v, nil
	case v.AttachedTo != "" && v.AttachedTo != instance:
		return volume.Volume{}, attachedElsewhere(v, instance)
	case v.AttachedTo == "" && vultr.IsAlreadyAttached(cause):
		return volume.Volume{}, errUnderWay
	case !v.Ready:
		return volume.Volume{}, volume.Errorf(volume.Busy, "volume %s is not active yet: %w", id, cause)
	case vultr.IsLocked(cause), vultr.IsOutcomeUnknown(cause), vultr.IsNothingToChange(cause):
		return volume.Volume{}, volume.Errorf(volume.Busy, "attaching volume %s to instance %s: %w", id, instance, cause)
	}
	return volume.Volume{}, s.explainByInstance(ctx, v, instance, cause)
}

// explainByInstance finds what about the instance makes it refuse the volume.
func (s *Store) explainByInstance(ctx context.Context, v volume.Volume, instance string, cause error) error {
	i, err := s.api.Instance(ctx, instance)
	switch {
	case vultr.IsNotFound(err):
		return volume.Errorf(volume.NotFound, "instance %s does not exist", instance)
	case err != nil:
		return err
	case i.Kind == vultr.KindBareMetal:
		return volume.Errorf(volume.Invalid, "instance %s is a bare metal server, which cannot have block storage", instance)
	}
	s.regions.learn(instance, i.Region)
	if err := s.knownApart(v.ID, instance); err != nil {
		return err
	}
	if i.ServerStatus == "locked" || i.Status != "active" {
		return volume.Errorf(volume.Busy, "instance %s is %s and %s: %w", instance, i.Status, i.ServerStatus, cause)
	}
	list, err := s.api.Volumes(ctx, 0)
	if err != nil {
		return err
	}
	disks := 0
	for _, other := range list.Items {
		if other.AttachedTo == instance {
			disks++
		}
	}
	if disks >= manyDisks {
		return volume.Errorf(volume.Exhausted, "instance %s has %d volumes, which seems to be its limit: %w", instance, disks, cause)
	}
	return refused(cause, "attaching volume %s to instance %s", v.ID, instance)
}

// refused gives an API refusal that nothing explains a reason.
func refused(cause error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if vultr.IsInvalid(cause) && !vultr.IsConflict(cause) {
		return volume.Errorf(volume.InUse, "%s: %w", what, cause)
	}
	return fmt.Errorf("%s: %w", what, cause)
}

func attachedHere(v vultr.Volume, instance string) bool {
	return v.AttachedTo == instance && v.MountID != ""
}

func attachedElsewhere(v volume.Volume, instance string) error {
	return volume.Errorf(volume.InUse, "volume %s is attached to instance %s and cannot be attached to %s before it is detached there",
		v.ID, v.AttachedTo, instance)
}
