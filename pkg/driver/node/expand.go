package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// NodeExpandVolume brings the growth of a volume to its user: it waits until the kernel sees the new size and
// grows the file system. What it answers was measured.
func (s *Service) NodeExpandVolume(ctx context.Context, req *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	switch {
	case req.GetVolumeId() == "":
		return nil, missing("volume_id")
	case req.GetVolumePath() == "":
		return nil, missing("volume_path")
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	end, err := s.begin(req.GetVolumeId(), "NodeExpandVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	size, err := s.expand(ctx, req)
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}

func (s *Service) expand(ctx context.Context, req *csi.NodeExpandVolumeRequest) (int64, error) {
	at, err := s.locate(req.GetVolumeId(), req.GetVolumePath())
	if err != nil {
		return 0, err
	}
	if c := req.GetVolumeCapability(); c != nil && (c.GetBlock() != nil) != at.block && (c.GetBlock() != nil || c.GetMount() != nil) {
		return 0, volume.Errorf(volume.Invalid, "volume_capability does not fit: at %s is a block device: %t", req.GetVolumePath(), at.block)
	}
	wish := req.GetCapacityRange().GetRequiredBytes()
	size, err := s.awaitSize(ctx, at.device, wish)
	if err != nil {
		return 0, err
	}
	if at.block || at.entry.ReadOnly() {
		return size, nil
	}
	sizes, err := s.growMounted(ctx, at.device, at.entry)
	if errors.Is(err, blockfs.ErrOnline) {
		return 0, volume.Errorf(volume.InUse, "the file system on %s has %d bytes and its device %d: %w; it grows when the pod starts anew",
			at.device.Path, sizes.FileSystem, sizes.Device, err)
	}
	return sizes.Device, err
}

// awaitSize waits until the kernel sees at least the wished size of the device.
func (s *Service) awaitSize(ctx context.Context, d device.Device, wish int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	pause := 50 * time.Millisecond
	for {
		size, err := device.Measure(d)
		if err != nil || size >= wish {
			return size, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, volume.Errorf(volume.InUse, "this machine does not see the new size of the disk yet: device %s (serial %s) has %d bytes, "+
				"wished are %d. Some instances see it only after the volume was detached and attached again (start the pod anew on another node) or after a reboot",
				d.Path, d.Serial, size, wish)
		}
		pause = min(2*pause, 250*time.Millisecond) // it is one ioctl
	}
}

// growMounted grows the mounted file system when it leaves room, and proves by measuring that it did.
func (s *Service) growMounted(ctx context.Context, d device.Device, entry mount.Entry) (blockfs.Sizes, error) {
	sizes, err := blockfs.MeasureMounted(d, entry.Path, entry.FSType)
	if err != nil || !sizes.CanGrow() {
		return sizes, err
	}
	klog.FromContext(ctx).Info("Growing the file system", "device", d.Path, "path", entry.Path, "fromBytes", sizes.FileSystem, "deviceBytes", sizes.Device)
	if err := blockfs.GrowMounted(ctx, d, entry.Path, entry.FSType); err != nil {
		return sizes, err
	}
	sizes, err = blockfs.MeasureMounted(d, entry.Path, entry.FSType)
	if err == nil && sizes.CanGrow() {
		err = fmt.Errorf("the file system on %s still has %d of %d bytes after it was grown", d.Path, sizes.FileSystem, sizes.Device)
	}
	return sizes, err
}

// place is where a volume is seen: a mounted file system, or a device node.
type place struct {
	device device.Device
	block  bool
	entry  mount.Entry // of the mount, unless block
}

// locate finds the device behind a path of a volume. What is there is asked of the kernel; a record of staging
// must not contradict it.
func (s *Service) locate(volumeID, path string) (place, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return place{}, status.Errorf(codes.NotFound, "volume %s is not at %s: there is nothing", volumeID, path)
		}
		return place{}, fmt.Errorf("looking at %s: %w", path, err)
	}
	p := place{block: st.Mode&unix.S_IFMT == unix.S_IFBLK}
	number := device.NumberOf(st.Rdev)
	if !p.block {
		table, err := mount.Read()
		if err != nil {
			return place{}, err
		}
		entry, mounted := table.At(path)
		if !mounted {
			// The kubelet asks for raw block volumes by the path of a directory in which the device is.
			return s.locateStaged(volumeID, path)
		}
		p.entry, number = entry, entry.Number
	}
	d, err := s.cfg.Finder.ByNumber(number)
	if errors.Is(err, device.ErrNotFound) {
		return place{}, status.Errorf(codes.NotFound, "volume %s is not at %s: %v", volumeID, path, err)
	}
	if err != nil {
		return place{}, err
	}
	p.device = d
	staged, err := s.cfg.State.Staged(volumeID)
	if err == nil && staged != nil && staged.Serial != d.Serial {
		err = status.Errorf(codes.NotFound, "volume %s is not at %s: it was staged from serial %s, there is serial %s", volumeID, path, staged.Serial, d.Serial)
	}
	return p, err
}

// locateStaged finds a volume that is staged as a block device, for which nothing is mounted at the staging path.
func (s *Service) locateStaged(volumeID, path string) (place, error) {
	staged, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return place{}, err
	}
	if staged == nil || !staged.Block {
		return place{}, status.Errorf(codes.NotFound, "volume %s is not at %s: nothing is mounted there", volumeID, path)
	}
	d, err := s.cfg.Finder.Find(staged.Serial)
	if errors.Is(err, device.ErrNotFound) {
		return place{}, status.Errorf(codes.NotFound, "volume %s is not on this node: %v", volumeID, err)
	}
	return place{device: d, block: true}, err
}
