package node

import (
	"context"
	"errors"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// NodeUnstageVolume takes a volume from its staging path and lets go of its device: afterwards nothing on this
// machine has it mounted and everything that was written is on the disk, so that it can be detached.
func (s *Service) NodeUnstageVolume(ctx context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	if err := s.checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return nil, asStatus(err)
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	end, err := s.begin(req.GetVolumeId(), "NodeUnstageVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.unstage(ctx, req.GetVolumeId(), req.GetStagingTargetPath()); err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (s *Service) unstage(ctx context.Context, volumeID, path string) error {
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	d, err := s.stagedDevice(ctx, volumeID, entry, mounted)
	if err != nil {
		return err
	}
	if mounted {
		if others := table.Others(entry.Number, path); len(others) > 0 {
			return volume.Errorf(volume.InUse, "volume %s is still published at %s", volumeID, strings.Join(others.Paths(), ", "))
		}
		if err := step.At(ctx, step.Unmount); err != nil {
			return err
		}
		if err := mount.Unmount(ctx, path); err != nil {
			return err
		}
	}
	if d != nil {
		if err := s.release(ctx, *d); err != nil {
			return err
		}
	}
	return errors.Join(s.cfg.State.ClearIntent(volumeID), s.cfg.State.ClearStaged(volumeID))
}

// stagedDevice gives the device of a staged volume: the one that is mounted, else the one that was recorded, so
// that an attempt which was cut off after its unmount still lets go of the device. It is nil when the device is gone.
func (s *Service) stagedDevice(ctx context.Context, volumeID string, entry mount.Entry, mounted bool) (*device.Device, error) {
	staged, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return nil, err
	}
	var d device.Device
	switch {
	case mounted:
		d, err = s.cfg.Finder.ByNumber(entry.Number)
	case staged != nil:
		d, err = s.cfg.Finder.Find(staged.Serial)
	default:
		return nil, nil //nolint:nilnil // nil is documented: there is no device to let go of
	}
	if err != nil {
		// A device that is gone or that is not known for sure cannot be flushed; the unmount must not fail for it.
		klog.FromContext(ctx).Info("The device of the volume is not flushed", "volumeID", volumeID, "err", err)
		return nil, nil //nolint:nilnil // as above
	}
	if mounted && staged != nil && staged.Serial != d.Serial {
		return nil, volume.Errorf(volume.InUse, "volume %s was staged from serial %s, but at the staging path is serial %s", volumeID, staged.Serial, d.Serial)
	}
	return &d, nil
}

// release waits until nobody has the device, flushes it, and takes back a read-only flag.
func (s *Service) release(ctx context.Context, d device.Device) error {
	if err := step.At(ctx, step.Flush); err != nil {
		return err
	}
	if err := device.Release(ctx, d, s.cfg.Patience); err != nil {
		return volume.Errorf(volume.InUse, "%w", err)
	}
	return clearReadOnly(d)
}

func clearReadOnly(d device.Device) error {
	readOnly, err := device.ReadOnly(d)
	if err != nil || !readOnly {
		return err
	}
	return device.SetReadOnly(d, false)
}
