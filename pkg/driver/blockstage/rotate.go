package blockstage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// openBy opens an encrypted disk with the present passphrase. When that does not open it and the previous one does, the
// present one gets a key slot, and when it is proven to open the disk, the previous one loses its own. At every moment one of
// the two opens the disk, and whoever comes after a process that was killed in between goes on from there. A volume that is
// only read is opened with either, and nothing is changed on its disk.
func (s *Stager) openBy(ctx context.Context, v staging.Volume, disk device.Device) error {
	keys, name := v.Keys, mapperName(v.ID, disk)
	changed := keys.Previous != "" && keys.Previous != keys.Current
	discards := wantsDiscards(v.Use.Options)
	err := s.layer.crypt.Open(ctx, disk.Path, name, keys.Current, discards)
	switch {
	case err == nil && changed && !v.Use.ReadOnly:
		return s.dropPrevious(ctx, disk, keys)
	case !errors.Is(err, luks.ErrPassphrase) || !changed:
		return err
	case v.Use.ReadOnly:
		return s.layer.crypt.Open(ctx, disk.Path, name, keys.Previous, discards)
	}
	if err := step.At(ctx, step.KeyAdd); err != nil {
		return err
	}
	if err := s.layer.crypt.Add(ctx, disk.Path, keys.Previous, keys.Current); err != nil {
		return fmt.Errorf("adding the present passphrase by the previous one: %w", err)
	}
	if err := step.At(ctx, step.KeyProve); err != nil {
		return err
	}
	if err := s.layer.crypt.Open(ctx, disk.Path, name, keys.Current, discards); err != nil {
		return fmt.Errorf("the present passphrase was added, and the previous one is kept, as: %w", err)
	}
	klog.FromContext(ctx).Info("The passphrase of the encrypted disk was changed", "device", disk.Path)
	return s.dropPrevious(ctx, disk, keys)
}

// wantsDiscards reports whether the mount options ask for discards, which btrfs has in two ways.
func wantsDiscards(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool { return o == "discard" || strings.HasPrefix(o, "discard=") })
}

// dropPrevious takes its key slot from the previous passphrase, if it has one. The present one has just opened the disk.
func (s *Stager) dropPrevious(ctx context.Context, disk device.Device, keys luks.Keys) error {
	header, err := readHeader(disk)
	if err != nil || header.Keyslots < 2 {
		return err
	}
	if err := step.At(ctx, step.KeyRemove); err != nil {
		return err
	}
	err = s.layer.crypt.Remove(ctx, disk.Path, keys.Previous)
	switch {
	case errors.Is(err, luks.ErrPassphrase):
		return nil // the other key slots are somebody's own
	case err != nil:
		return fmt.Errorf("removing the previous passphrase: %w", err)
	}
	klog.FromContext(ctx).Info("The previous passphrase no longer opens the encrypted disk", "device", disk.Path)
	return nil
}
