package blockstage

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// growInside brings a growth of an encrypted disk to the device that is open on it, and proves it by measuring. The kernel
// keeps the key to itself, so that takes the passphrase. A disk that is not encrypted is its own device.
func (s *Stager) growInside(ctx context.Context, d device.Device, volumeID, call string, keys luks.Keys) error {
	disk, mapper, err := s.layer.Disk(d)
	if err != nil || mapper == "" {
		return err
	}
	if bytes, err := s.lacksInside(d); err != nil || bytes <= 0 {
		return err
	}
	if keys.Current == "" {
		return volume.Errorf(volume.InUse, "%s has grown, and what is open on it is encrypted: to grow it takes the passphrase, and this call has none. "+
			"The StorageClass names the Secret with it by csi.storage.k8s.io/node-expand-secret-name and -namespace, a PersistentVolume by spec.csi.nodeExpandSecretRef; "+
			"without it grows when the volume is staged again, on the next start of its pod on another node or after it was stopped", describe(d))
	}
	klog.FromContext(ctx).Info("Growing the device that is open on the encrypted disk", "device", mapper)
	//nolint:contextcheck // it outlives the call
	err = s.cfg.Work.Do(ctx, volumeID, call, func(task *longwork.Task) error { return s.resize(task, disk, mapper, keys) })
	if err != nil {
		return err
	}
	bytes, err := s.lacksInside(d)
	if err == nil && bytes > 0 {
		err = fmt.Errorf("device %s on the encrypted %s still lacks %d bytes after it was grown", mapper, describe(disk), bytes)
	}
	return err
}

// lacksInside measures by how many bytes a device that is open on an encrypted disk is smaller than the disk allows.
func (s *Stager) lacksInside(d device.Device) (int64, error) {
	disk, mapper, err := s.layer.Disk(d)
	if err != nil || mapper == "" {
		return 0, err
	}
	header, err := readHeader(disk)
	if err != nil {
		return 0, err
	}
	size, err := device.Measure(disk)
	if err != nil {
		return 0, err
	}
	now, err := device.Measure(d)
	return header.Inside(size) - now, err
}

func (s *Stager) resize(task *longwork.Task, disk device.Device, mapper string, keys luks.Keys) error {
	ctx, err := task.Step("growing what is open on the encrypted "+describe(disk), longwork.AtOnce, unlockLimit, nil)
	if err != nil {
		return err
	}
	if err := step.At(ctx, step.Grow); err != nil {
		return err
	}
	err = s.layer.crypt.Resize(ctx, disk.Path, mapper, keys.Current)
	if errors.Is(err, luks.ErrPassphrase) && keys.Previous != "" {
		err = s.layer.crypt.Resize(ctx, disk.Path, mapper, keys.Previous)
	}
	if errors.Is(err, luks.ErrPassphrase) {
		return volume.Errorf(volume.Denied, "the passphrase of the Secret for expansions does not open the encrypted %s: %w", describe(disk), err)
	}
	return withAdvice(err, disk)
}
