package blockstage

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// health asks the file system that is mounted whether it works, one question per device at a time.
func (s *Stager) health(ctx context.Context, d device.Device, e mount.Entry, writable bool) error {
	what := fmt.Sprintf("the file system %s on %s, mounted at %s,", e.FSType, describe(d), e.Path)
	err := s.looks.Do(ctx, d.Number.String(), what, healthPatience, func() error { return judge(filesystem.Health, d, e, writable) })
	if hanging, ok := errors.AsType[*looks.HangingError](err); ok {
		return volume.Errorf(volume.Busy, "%w", hanging)
	}
	return err
}

// judge looks at a file system, for a caller that may hang.
func judge(look func(filesystem.Type, device.Device, mount.Entry, bool) error, d device.Device, e mount.Entry, writable bool) error {
	t, err := filesystem.Of(e.FSType)
	if err != nil {
		return err
	}
	if err := look(t, d, e, writable); err != nil {
		return fmt.Errorf("%s on %s, mounted at %s: %w", e.FSType, describe(d), e.Path, err)
	}
	return nil
}

// counter is a kind of file system that counts the errors of its device, and goes on with them.
type counter interface {
	Counted(d device.Device) string
}

// logCounted says which errors the device of a file system had that works all the same.
func logCounted(ctx context.Context, d device.Device, e mount.Entry) {
	t, err := filesystem.Of(e.FSType)
	if err != nil {
		return
	}
	if c, ok := t.(counter); ok {
		if counts := c.Counted(d); counts != "" {
			klog.FromContext(ctx).Info("The device of the file system had errors", "device", d.Path, "fsType", e.FSType, "counts", counts)
		}
	}
}

// detach takes away every mount at a path whose disk is gone. It can be in use still, by what will only get errors
// from it, so what refuses to go is detached lazily.
func detach(ctx context.Context, path string) error {
	if err := mount.Unmount(ctx, path); err == nil {
		return nil
	}
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("detaching the mount at %s of a disk that is gone: %w", path, err)
	}
	return nil
}
