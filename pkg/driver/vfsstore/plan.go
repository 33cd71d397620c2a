package vfsstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// words name the kind in errors about sizes.
const words = "shared file system"

// Offer returns the sizes in which file systems are sold in a region, "" for any region.
func (s *Store) Offer(ctx context.Context, t volume.DiskType, region string) (volume.Offer, error) {
	if t != volume.NVMe {
		return volume.Offer{}, nil
	}
	sold, err := s.base.Sells(ctx, t, region)
	if err != nil || !sold {
		return volume.Offer{}, err
	}
	return bounds.Offer(), nil
}

// Plan judges what is asked for and chooses the size.
func (s *Store) Plan(r volume.Request) (volume.Spec, error) {
	if err := s.CheckAccess(r.Accesses); err != nil {
		return volume.Spec{}, err
	}
	if err := s.CheckOptions(r.Accesses); err != nil {
		return volume.Spec{}, err
	}
	if r.Type != volume.NVMe {
		return volume.Spec{}, volume.Errorf(volume.Invalid, "parameter %q: shared file systems are sold on %s only, not on %s", params.DiskType, volume.NVMe, r.Type)
	}
	if !r.Source.IsZero() {
		return volume.Spec{}, volume.Errorf(volume.Invalid, "a shared file system cannot be made from %s: the platform has no snapshots of them", r.Source)
	}
	size, err := bounds.Choose(words, r.Capacity)
	if err != nil {
		return volume.Spec{}, err
	}
	return volume.Spec{Name: r.Name, Type: r.Type, Capacity: r.Capacity, SizeGiB: size, Regions: r.Regions}, nil
}

// CheckAccess judges whether a file system can be used so: by any number of nodes, but not as a block device, and not by several of
// which one writes: the platform attaches it to all in the same way, so nobody would keep the others from writing. The type of
// file system is the platform's; one that the official driver or a sidecar's default wrote into a PersistentVolume means
// nothing here.
func (s *Store) CheckAccess(all []volume.Access) error {
	return volume.Faults(all, func(a volume.Access) string {
		switch {
		case a.Block:
			return "a shared file system cannot be used as a block device (volumeMode: Block); use a class with storage_type: block, such as vultr-nvme"
		case a.Mode == volume.MultiNodeSingleWriter:
			return fmt.Sprintf("access mode %s is not possible: nothing keeps the nodes of a shared file system but one from writing; ask for %s (ReadWriteMany) "+
				"and mount it read-only where nothing is to be written, or for %s (ReadWriteOnce)", a.Mode, volume.MultiNodeMultiWriter, volume.SingleNodeWriter)
		case a.FSType != "" && a.FSType != mount.VirtioFS && !slices.Contains(params.FileSystems, a.FSType):
			return fmt.Sprintf("file system %q is not supported; a shared file system needs none to be named", a.FSType)
		}
		return ""
	})
}

// CheckOptions judges mount options by the node's own table.
func (s *Store) CheckOptions(all []volume.Access) error {
	return volume.Faults(all, func(a volume.Access) string {
		options, err := mount.SplitAll(a.Options)
		if err == nil {
			err = mount.CheckOptions(mount.VirtioFS, options)
		}
		if err != nil {
			return strings.TrimSpace(err.Error())
		}
		return ""
	})
}
