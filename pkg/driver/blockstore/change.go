package blockstore

import (
	"context"
	"errors"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Delete removes the volume. An attached one is refused, never detached. NotFound is the platform's own answer to the
// delete about an ID that was never seen as a disk: it may be something else.
// The provisioner asks twice when it has not yet seen its own change to the PersistentVolume, and the platform gives
// an ID to one volume only: what was just deleted costs no call to delete again.
func (s *Store) Delete(ctx context.Context, id string) error {
	if s.ledger.isGone(id) {
		return nil
	}
	if left := s.ledger.attachUnderWay(id, ""); left > 0 {
		return volume.Errorf(volume.Busy, "volume %s is being attached and is not deleted before that is over", id)
	}
	s.ledger.deletes(id)
	wasGone, err := s.remove(ctx, id, s.free(id))
	if e, ok := errors.AsType[*volume.Error](err); ok { // the precondition's
		return e
	}
	if err != nil {
		return refusal.OfChange(err, "deleting volume %s", id)
	}
	if wasGone && s.places.of(id) == "" {
		return volume.Errorf(volume.NotFound, "%s %s does not exist", s.opts.Medium.words(), id)
	}
	s.ledger.gone(id)
	klog.FromContext(ctx).Info("Deleted volume", "volumeID", id, "wasGone", wasGone)
	return nil
}

// Expand grows the volume into the range and waits until the platform shows the new size. When it is large enough
// nothing is changed. The node always has to look as well: the guest may see the new size late, and only the node can
// tell that it does.
func (s *Store) Expand(ctx context.Context, id string, c volume.Capacity) (grown volume.Volume, nodeStep bool, err error) {
	sent := s.changes.expand(id)
	defer sent()
	// By a list, as the wait for the new size is: an older read would show less, and the platform refuses to shrink.
	asked := time.Now()
	d, err := s.whereIs(ctx, id, 0)
	if err != nil {
		return volume.Volume{}, false, s.orDoubt(ctx, id, asked, err)
	}
	size, err := grow(d.Type, d.SizeGiB, c)
	if err != nil {
		return volume.Volume{}, false, err
	}
	if size <= d.SizeGiB {
		return d.Volume, true, nil
	}
	err = s.resize(ctx, id, d.Name, int(size))
	sent()
	if err != nil && !vultr.IsNothingToChange(err) {
		if now, larger := s.isLarger(ctx, id, size, err); larger {
			return now.Volume, true, nil
		}
		return volume.Volume{}, false, ofShown(err, "growing volume %s from %d to %d GiB", id, d.SizeGiB, size)
	}
	now, err := s.wait(ctx, "resize", id, func(d disk) (bool, error) {
		if d.SizeGiB >= size {
			return true, nil
		}
		return false, d.asFailed()
	})
	if err != nil {
		return volume.Volume{}, false, refusal.OfRead(err, "waiting for volume %s to have %d GiB", id, size)
	}
	klog.FromContext(ctx).Info("Grew volume", "volumeID", id, "fromGiB", d.SizeGiB, "toGiB", size)
	return now.Volume, true, nil
}

// isLarger reports whether the volume has the size after all, although a resize was refused: the read before it may have
// been an old one, and the platform refuses to shrink what somebody else has grown meanwhile.
func (s *Store) isLarger(ctx context.Context, id string, size int64, cause error) (disk, bool) {
	if !vultr.IsInvalid(cause) {
		return disk{}, false
	}
	waiting, cancel := context.WithTimeout(ctx, s.api.SettleTime())
	defer cancel()
	d, err := s.wait(waiting, "late resize", id, func(d disk) (bool, error) { return d.SizeGiB >= size, nil })
	return d, err == nil
}
