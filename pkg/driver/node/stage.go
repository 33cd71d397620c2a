package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// NodeStageVolume finds the disk of a volume and, unless it is to be used as a block device, mounts its file
// system at the staging path, making it first on a disk that is proven blank. For a block device it writes no byte.
func (s *Service) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	u, serial, err := s.checkStage(req)
	if err != nil {
		return nil, asStatus(err)
	}
	end, err := s.begin(req.GetVolumeId(), "NodeStageVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("volumeID", req.GetVolumeId(), "serial", serial))
	d, err := s.find(ctx, serial)
	if err != nil {
		return nil, asStatus(err)
	}
	if err := s.cfg.State.WriteStaged(state.Staged{VolumeID: req.GetVolumeId(), Serial: serial, Block: u.block}); err != nil {
		return nil, asStatus(err)
	}
	if u.block {
		// Whatever was begun here as a file system, it is no longer ours to make.
		if err := s.cfg.State.ClearIntent(req.GetVolumeId()); err != nil {
			return nil, asStatus(err)
		}
		return &csi.NodeStageVolumeResponse{}, nil
	}
	r := blockfs.Request{
		VolumeID: req.GetVolumeId(), FSType: u.fsType, ReadOnly: u.readOnly,
		HasSource: req.GetVolumeContext()[volume.ContextContentSource] != "",
	}
	if err := s.stageMount(ctx, d, r, u, req.GetStagingTargetPath()); err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (s *Service) checkStage(req *csi.NodeStageVolumeRequest) (u use, serial string, err error) {
	switch {
	case req.GetVolumeId() == "":
		return use{}, "", missing("volume_id")
	case req.GetVolumeCapability() == nil:
		return use{}, "", missing("volume_capability")
	}
	if err := s.checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return use{}, "", err
	}
	if u, err = parseUse(req.GetVolumeCapability()); err != nil {
		return use{}, "", err
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return use{}, "", err
	}
	serial, err = serialFrom(req.GetPublishContext())
	return u, serial, err
}

// find waits for the device of a serial.
func (s *Service) find(ctx context.Context, serial string) (device.Device, error) {
	d, err := s.cfg.Finder.Wait(ctx, serial, s.cfg.Patience)
	if errors.Is(err, device.ErrNotFound) {
		return d, volume.Errorf(volume.Busy, "the disk has not appeared on this node: %w; the disks that are there have serials %q", err, s.cfg.Finder.Serials())
	}
	if err != nil {
		return d, volume.Errorf(volume.InUse, "%w", err)
	}
	return d, nil
}

// stageMount brings the device to the staging path, from wherever an earlier attempt left it.
func (s *Service) stageMount(ctx context.Context, d device.Device, r blockfs.Request, u use, path string) error {
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	if mounted && entry.Number != d.Number && mount.Corrupt(path) {
		klog.FromContext(ctx).Info("What is mounted at the staging path is dead, taking it away", "path", path, "device", entry.Number)
		if err := mount.Unmount(ctx, path); err != nil {
			return err
		}
		mounted = false
	}
	if mounted {
		if err := checkStaged(entry, d, u); err != nil {
			return err
		}
		// An earlier attempt was cut off after its mount.
		if err := s.cfg.State.ClearIntent(r.VolumeID); err != nil {
			return err
		}
		return s.growStaged(ctx, d, entry, u, path)
	}
	if err := mount.MakeDir(path); err != nil {
		return err
	}
	if err := s.prepareAndMount(ctx, d, r, u, path); err != nil {
		return err
	}
	return s.afterMount(ctx, d, r, u, path)
}

// checkStaged compares what is mounted at the staging path with what should be.
func checkStaged(e mount.Entry, d device.Device, u use) error {
	differ := func(format string, args ...any) error {
		return volume.Errorf(volume.Exists, "the staging path has another mount: %s", fmt.Sprintf(format, args...))
	}
	switch {
	case e.Number != d.Number:
		return differ("device %s, but serial %s is device %s", e.Number, d.Serial, d.Number)
	case u.fsType != "" && e.FSType != u.fsType:
		return differ("file system %s, asked for is %s", e.FSType, u.fsType)
	case e.ReadOnly() != u.readOnly:
		return differ("read-only is %t, asked for is %t", e.ReadOnly(), u.readOnly)
	}
	for _, o := range []string{"noexec", "nosuid", "nodev", "noatime"} {
		if slices.Contains(u.options, o) && !slices.Contains(e.Options, o) {
			return differ("it lacks the option %s", o)
		}
	}
	return nil
}

// prepareAndMount looks at the device, makes a file system if it must and may, and mounts it.
func (s *Service) prepareAndMount(ctx context.Context, d device.Device, r blockfs.Request, u use, path string) error {
	if err := step.At(ctx, step.Probe); err != nil {
		return err
	}
	findings, err := blockfs.Probe(ctx, d)
	if err != nil {
		return volume.Errorf(volume.InUse, "device %s (serial %s) cannot be judged and is left as it is: %w", d.Path, d.Serial, err)
	}
	intent, err := s.cfg.State.Intent(r.VolumeID)
	if err != nil {
		return err
	}
	plan, err := blockfs.Decide(r, d, findings, intent, s.cfg.BootID)
	if err != nil {
		return err
	}
	if err := checkOptions(plan.FSType, u.options); err != nil {
		return err
	}
	if plan.Action == blockfs.UseExisting {
		err := mountExisting(ctx, d, plan.FSType, u, path)
		if err == nil || !plan.OrFormat || ctx.Err() != nil {
			return err
		}
		klog.FromContext(ctx).Info("The file system is unfinished, making it anew", "device", d.Path, "err", err)
		plan.Overwrite = true
	}
	return s.formatAndMount(ctx, d, r, plan, u, path)
}

// mountExisting mounts the file system that is on the device.
func mountExisting(ctx context.Context, d device.Device, fsType string, u use, path string) error {
	if !u.readOnly {
		if err := step.At(ctx, step.Check); err != nil {
			return err
		}
		if err := blockfs.Check(ctx, d, fsType); err != nil {
			return err
		}
	}
	return mountAndProve(ctx, d, fsType, u, path)
}

// formatAndMount makes a file system and mounts it. The record of the intent stands before the first write and
// goes after the mount.
func (s *Service) formatAndMount(ctx context.Context, d device.Device, r blockfs.Request, plan blockfs.Plan, u use, path string) error {
	if err := step.At(ctx, step.IntentWrite); err != nil {
		return err
	}
	intent := state.Intent{VolumeID: r.VolumeID, Serial: d.Serial, FSType: plan.FSType, BootID: s.cfg.BootID, DiskSeq: d.Seq}
	if err := s.cfg.State.WriteIntent(intent); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Making a file system", "device", d.Path, "fsType", plan.FSType, "overwrite", plan.Overwrite)
	prove := func() error { return s.proveAgain(d) }
	if err := s.formatter.Make(ctx, d, plan.FSType, plan.Overwrite, prove); err != nil {
		return err
	}
	return mountAndProve(ctx, d, plan.FSType, u, path)
}

// proveAgain tells whether the serial still belongs to the device that was judged.
func (s *Service) proveAgain(d device.Device) error {
	now, err := s.cfg.Finder.Find(d.Serial)
	if err != nil {
		return volume.Errorf(volume.InUse, "device %s is not formatted, it is no longer proven to be the disk: %w", d.Path, err)
	}
	if now.Seq != d.Seq {
		return volume.Errorf(volume.InUse, "device %s (serial %s) is not formatted, it was unplugged and plugged in again", d.Path, d.Serial)
	}
	if now.Number != d.Number || now.Path != d.Path {
		return volume.Errorf(volume.InUse, "device %s (%s) is not formatted, serial %s has moved to %s (%s)", d.Path, d.Number, d.Serial, now.Path, now.Number)
	}
	return nil
}

// mountAndProve mounts the device by its path and then asks the kernel which device it mounted.
func mountAndProve(ctx context.Context, d device.Device, fsType string, u use, path string) error {
	if err := step.At(ctx, step.Mount); err != nil {
		return err
	}
	if err := mount.FileSystem(ctx, d.Path, path, fsType, u.mountOptions(fsType)); err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	if mounted && entry.Number == d.Number {
		return nil
	}
	err = volume.Errorf(volume.InUse, "mounting %s gave device %s instead of %s, it was replaced meanwhile", d.Path, entry.Number, d.Number)
	return errors.Join(err, mount.Unmount(ctx, path))
}

// afterMount does what follows the mount, all of which an attempt that finds the mount repeats.
func (s *Service) afterMount(ctx context.Context, d device.Device, r blockfs.Request, u use, path string) error {
	if err := step.At(ctx, step.IntentClear); err != nil {
		return err
	}
	if err := s.cfg.State.ClearIntent(r.VolumeID); err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	if !mounted {
		return volume.Errorf(volume.Busy, "the mount at %s went away", path)
	}
	return s.growStaged(ctx, d, entry, u, path)
}

// growStaged grows the file system when its device has become larger: the volume may have been expanded while it
// was nowhere staged.
func (s *Service) growStaged(ctx context.Context, d device.Device, entry mount.Entry, u use, path string) error {
	if u.readOnly {
		return nil
	}
	_, err := s.growMounted(ctx, d, entry)
	if !errors.Is(err, blockfs.ErrOnline) {
		return err
	}
	table, tableErr := mount.Read()
	if tableErr != nil {
		return tableErr
	}
	if others := table.Others(d.Number, path); len(others) > 0 {
		return nil // pods use it: it grows at the next staging
	}
	klog.FromContext(ctx).Info("Growing the file system while it is not mounted", "device", d.Path, "why", err)
	if err := mount.Unmount(ctx, path); err != nil {
		return err
	}
	if err := blockfs.GrowUnmounted(ctx, d, entry.FSType); err != nil {
		return err
	}
	return mountAndProve(ctx, d, entry.FSType, u, path)
}
