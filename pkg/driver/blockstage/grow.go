package blockstage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// errOnline says that the kernel refuses to grow a mounted file system of this type here.
var errOnline = errors.New("the kernel refuses to grow it while it is mounted")

// Expand brings the growth of a volume to its user: it waits until the kernel sees the new size and grows the file
// system. The size that it returns was measured.
func (s *Stager) Expand(ctx context.Context, volumeID, path string, g staging.Growth) (int64, error) {
	at, err := s.locateInTime(ctx, volumeID, path)
	if err != nil {
		return 0, err
	}
	if g.Block != nil && *g.Block != at.block {
		return 0, volume.Errorf(volume.Invalid, "volume_capability does not fit: at %s is a block device: %t", path, at.block)
	}
	size, err := s.awaitSize(ctx, at.device, g.Required)
	if err == nil && (at.block || at.writable) {
		err = s.growInside(ctx, at.device, volumeID, ExpandCall, g.Keys)
	}
	if err != nil || at.block {
		return size, err
	}
	if err := s.health(ctx, at.device, at.entry, at.writable); err != nil {
		if errors.Is(err, filesystem.ErrFailed) {
			return 0, volume.Errorf(volume.InUse, "%w. It does not grow; when the pods that use it have ended, staging checks it and mounts it again", err)
		}
		return 0, err
	}
	if !at.writable {
		return size, s.checkReadOnly(at)
	}
	table, err := mount.Read()
	if err != nil {
		return 0, err
	}
	sizes, err := s.growMounted(ctx, at.device, volumeID, ExpandCall, writableEntry(table, at.entry))
	if errors.Is(err, errOnline) {
		return 0, volume.Errorf(volume.InUse, "the file system on %s has %d bytes and its device %d: %w; it grows when the pod is restarted",
			at.device.Path, sizes.FileSystem, sizes.Device, err)
	}
	return size, err
}

// writableEntry picks a mount of the same file system through which it can be changed: a pod may have it read-only.
func writableEntry(table mount.Table, e mount.Entry) mount.Entry {
	for _, other := range table.Of(e.Number) {
		if e.ReadOnly() && !other.ReadOnly() {
			return other
		}
	}
	return e
}

// checkReadOnly returns an error for a file system that must not be changed, and would have to grow to have the size of its
// device.
func (s *Stager) checkReadOnly(at place) error {
	t, err := filesystem.Of(at.entry.FSType)
	if err != nil {
		return err
	}
	bytes, err := s.lacksInside(at.device)
	if err != nil {
		return err
	}
	if bytes > 0 {
		return volume.Errorf(volume.InUse, "the volume on %s is staged read-only and does not grow: what is open on the encrypted disk lacks %d bytes of it; "+
			"it grows when it is staged to be written to", describe(at.device), bytes)
	}
	sizes, err := filesystem.Measure(t, at.device, at.entry.Path)
	if err == nil && sizes.CanGrow() {
		err = volume.Errorf(volume.InUse, "the file system on %s is staged read-only and does not grow: it has %d bytes and its device %d; it grows when it is staged to be written to",
			describe(at.device), sizes.FileSystem, sizes.Device)
	}
	return err
}

// awaitSize waits until the kernel sees at least the required size of the device's disk.
func (s *Stager) awaitSize(ctx context.Context, d device.Device, required int64) (int64, error) {
	within, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	pause := 50 * time.Millisecond
	for {
		size, err := s.layer.DiskSize(d)
		if err != nil || size >= required {
			return size, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-within.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return 0, fmt.Errorf("waiting for %s to have %d bytes was cut off, it has %d: %w", describe(d), required, size, ctx.Err())
			}
			return 0, volume.Errorf(volume.InUse, "this machine does not see the new size of the disk yet: %s has %d bytes, "+
				"required are %d. Some instances see it only after the volume was detached and attached again (restart the pod on another node) or after a reboot",
				describe(d), size, required)
		}
		pause = min(2*pause, 250*time.Millisecond) // it is one ioctl
	}
}

// growMounted grows the mounted file system when it leaves room, and proves by measuring that it did.
func (s *Stager) growMounted(ctx context.Context, d device.Device, volumeID, call string, entry mount.Entry) (filesystem.Sizes, error) {
	t, err := filesystem.Of(entry.FSType)
	if err != nil {
		return filesystem.Sizes{}, err
	}
	sizes, err := filesystem.Measure(t, d, entry.Path)
	if err != nil || !sizes.CanGrow() {
		return sizes, err
	}
	klog.FromContext(ctx).Info("Growing the file system", "device", d.Path, "path", entry.Path, "fromBytes", sizes.FileSystem, "deviceBytes", sizes.Device)
	if err := step.At(ctx, step.Grow); err != nil {
		return sizes, err
	}
	tools := []filesystem.Tool{t.GrowMounted(d.Path, entry.Path)}
	var refused error // which is no failure of the work: whoever waits for it next goes on from there
	//nolint:contextcheck // the tools outlive the call
	err = s.cfg.Work.Do(ctx, volumeID, call, func(task *longwork.Task) error {
		err := s.runAll(task, d, tools)
		if err != nil && t.RefusesOnline(err) {
			refused, err = err, nil
		}
		return err
	})
	if err != nil {
		return sizes, err
	}
	if refused != nil {
		return sizes, fmt.Errorf("%w: %w", errOnline, refused)
	}
	sizes, err = filesystem.Measure(t, d, entry.Path)
	if err == nil && sizes.CanGrow() {
		err = fmt.Errorf("the file system on %s still has %d of %d bytes after it was grown", d.Path, sizes.FileSystem, sizes.Device)
	}
	return sizes, err
}

// growStaged grows the file system when its device has become larger: the volume may have been expanded while it
// was nowhere staged. What the kernel does not grow while it is mounted is unmounted for it, as long as no pod has it.
func (s *Stager) growStaged(ctx context.Context, d device.Device, entry mount.Entry, v staging.Volume, path string) error {
	if v.Use.ReadOnly {
		return nil
	}
	if err := s.growInside(ctx, d, v.ID, StageCall, v.Keys); err != nil {
		return err
	}
	_, err := s.growMounted(ctx, d, v.ID, StageCall, entry)
	if !errors.Is(err, errOnline) {
		return err
	}
	t, typeErr := filesystem.Of(entry.FSType)
	if typeErr != nil {
		return typeErr
	}
	tools := t.GrowUnmounted(d.Path)
	if len(tools) == 0 {
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
	if err := s.runLong(ctx, v.ID, StageCall, d, tools); err != nil {
		return err
	}
	return mountAndProve(ctx, d, t, v.Use, path)
}
