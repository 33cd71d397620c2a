package blockstore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// singleNode are the access modes that a disk can serve: one instance has it at a time.
var singleNode = []volume.AccessMode{
	volume.SingleNodeWriter, volume.SingleNodeReader, volume.SingleNodeSingleWriter, volume.SingleNodeMultiWriter,
}

// Plan judges what is asked for and chooses the size. Which of the wished regions sells the type is known only later.
func (s *Store) Plan(r volume.Request) (volume.Spec, error) {
	if err := s.CheckAccess(r.Accesses); err != nil {
		return volume.Spec{}, err
	}
	if err := s.CheckOptions(asMade(r.Accesses)); err != nil {
		return volume.Spec{}, err
	}
	if !r.Source.IsZero() && r.Type != volume.NVMe {
		return volume.Spec{}, volume.Errorf(volume.Invalid, "a volume of type %s cannot be made from %s: the platform makes only %s volumes from "+
			"snapshots and other volumes", r.Type, r.Source, volume.NVMe)
	}
	size, err := roundUp(r.Type, r.Capacity)
	if err != nil {
		return volume.Spec{}, err
	}
	return volume.Spec{Name: r.Name, Type: r.Type, Capacity: r.Capacity, SizeGiB: size, Regions: r.Regions, Source: r.Source}, nil
}

// CheckAccess judges whether a disk can be used so.
func (s *Store) CheckAccess(all []volume.Access) error { return volume.Faults(all, accessFault) }

// CheckOptions judges mount options by the node's own table.
func (s *Store) CheckOptions(all []volume.Access) error { return volume.Faults(all, optionsFault) }

// accessFault says in words what is wrong with an access, "" when nothing is.
func accessFault(a volume.Access) string {
	if !slices.Contains(singleNode, a.Mode) {
		return fmt.Sprintf("access mode %s is not possible: block storage is attached to one instance at a time "+
			"(ReadWriteOnce, ReadWriteOncePod); access from several needs a shared file system: a class with storage_type: vfs, such as vultr-vfs", a.Mode)
	}
	if !a.Block && a.FSType != "" && !slices.Contains(params.FileSystems, a.FSType) {
		return fmt.Sprintf("file system %q is not supported, valid are %s", a.FSType, strings.Join(params.FileSystems, ", "))
	}
	return ""
}

// asMade are the accesses to a volume that is made empty: one for which nobody names a file system gets the default one.
func asMade(all []volume.Access) []volume.Access {
	all = slices.Clone(all)
	for i, a := range all {
		if !a.Block && a.FSType == "" {
			all[i].FSType = params.FileSystems[0]
		}
	}
	return all
}

// optionsFault says in words what is wrong with mount options, "" when nothing is.
func optionsFault(a volume.Access) string {
	options, err := mount.SplitAll(a.Options)
	if err == nil {
		err = mount.CheckOptions(a.FSType, options)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
