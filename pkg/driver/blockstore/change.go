package blockstore

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Delete removes the volume. One that does not exist is success; an attached one is refused, never detached.
// The provisioner asks twice when it has not yet seen its own change to the PersistentVolume, and the platform gives
// an ID to one volume only: what was just deleted costs no call to delete again.
func (s *Store) Delete(ctx context.Context, id string) error {
	if _, gone := s.deleted.get(id, time.Now()); gone {
		return nil
	}
	v, ago, free := s.placed.seenAt(id, "")
	if !free || ago > freeWithin {
		var err error
		v, err = s.Get(ctx, id)
		if volume.ReasonOf(err) == volume.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if v.AttachedTo != "" {
		return volume.Errorf(volume.InUse, "volume %s is attached to instance %s and is not deleted before it is detached", id, v.AttachedTo)
	}
	err := s.api.DeleteVolume(ctx, id)
	if err == nil || vultr.IsNotFound(err) {
		s.recent.forget(v.Name)
		s.deleted.put(id, v.Name, time.Now())
		klog.FromContext(ctx).Info("Deleted volume", "volumeID", id, "name", v.Name)
		return nil
	}
	return refused(err, "deleting volume %s", id)
}

// Expand grows the volume into the range and waits until the platform shows the new size. When it is large
// enough nothing is changed.
func (s *Store) Expand(ctx context.Context, id string, c volume.Capacity) (volume.Volume, error) {
	v, err := s.Get(ctx, id)
	if err != nil {
		return volume.Volume{}, err
	}
	size, err := params.Grow(v.Type, v.SizeGiB, c)
	if err != nil {
		return volume.Volume{}, err
	}
	if size <= v.SizeGiB {
		return v, nil
	}
	err = s.api.ResizeVolume(ctx, id, int(size))
	if err != nil && !vultr.IsNothingToChange(err) {
		if vultr.IsNotFound(err) {
			return volume.Volume{}, volume.Errorf(volume.NotFound, "volume %s does not exist", id)
		}
		return volume.Volume{}, refused(err, "growing volume %s from %d to %d GiB", id, v.SizeGiB, size)
	}
	grown, err := s.api.WaitVolume(ctx, "resize", id, func(v vultr.Volume) (bool, error) { return int64(v.SizeGB) >= size, nil })
	if vultr.IsNotFound(err) {
		return volume.Volume{}, volume.Errorf(volume.NotFound, "volume %s does not exist", id)
	}
	if err != nil {
		return volume.Volume{}, fmt.Errorf("waiting for volume %s to have %d GiB: %w", id, size, err)
	}
	klog.FromContext(ctx).Info("Grew volume", "volumeID", id, "fromGiB", v.SizeGiB, "toGiB", size)
	return fromAPI(grown), nil
}
