package controller

import (
	"fmt"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

var modes = map[csi.VolumeCapability_AccessMode_Mode]volume.AccessMode{
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:        volume.SingleNodeWriter,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:   volume.SingleNodeReader,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER: volume.SingleNodeSingleWriter,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:  volume.SingleNodeMultiWriter,
	csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:    volume.MultiNodeReader,
	csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER:  volume.MultiNodeSingleWriter,
	csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:   volume.MultiNodeMultiWriter,
}

// accessesOf translates capabilities. The error names everything that is missing in them; whether what they ask for
// can be had is for a backend to judge.
func accessesOf(capabilities []*csi.VolumeCapability) ([]volume.Access, error) {
	if len(capabilities) == 0 {
		return nil, volume.Errorf(volume.Invalid, "volume capabilities are missing")
	}
	var all []volume.Access
	var faults []string
	for i, c := range capabilities {
		a, fault := accessOf(c)
		if fault != "" {
			faults = append(faults, fmt.Sprintf("volume capability %d: %s", i+1, fault))
		}
		all = append(all, a)
	}
	if len(faults) > 0 {
		return nil, volume.Errorf(volume.Invalid, "%s", strings.Join(faults, "; "))
	}
	return all, nil
}

// accessOf translates a capability; fault says in words what it lacks.
func accessOf(c *csi.VolumeCapability) (a volume.Access, fault string) {
	if c == nil {
		return a, "it is missing"
	}
	mode, known := modes[c.GetAccessMode().GetMode()]
	switch {
	case c.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_UNKNOWN:
		return a, "its access mode is missing"
	case !known:
		return a, fmt.Sprintf("access mode %s is unknown", c.GetAccessMode().GetMode())
	case c.GetBlock() == nil && c.GetMount() == nil:
		return a, "it asks neither for a block device nor for a mount"
	}
	return volume.Access{Mode: mode, Block: c.GetBlock() != nil, FSType: c.GetMount().GetFsType(), Options: c.GetMount().GetMountFlags()}, ""
}

// fileSystemOf returns the file system that accesses name, "" if none does.
func fileSystemOf(all []volume.Access) string {
	for _, a := range all {
		if a.FSType != "" {
			return a.FSType
		}
	}
	return ""
}
