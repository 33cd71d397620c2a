package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// singleNode are the access modes that a disk can serve: one instance has it at a time.
var singleNode = []csi.VolumeCapability_AccessMode_Mode{
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
}

// checkCapabilities judges all capabilities; the error is Invalid and names every fault.
func checkCapabilities(capabilities []*csi.VolumeCapability) error {
	if len(capabilities) == 0 {
		return volume.Errorf(volume.Invalid, "volume capabilities are missing")
	}
	var faults []string
	for i, c := range capabilities {
		if fault := capabilityFault(c); fault != "" {
			faults = append(faults, fmt.Sprintf("volume capability %d: %s", i+1, fault))
		}
	}
	if len(faults) > 0 {
		return volume.Errorf(volume.Invalid, "%s", strings.Join(faults, "; "))
	}
	return nil
}

// capabilityFault says in words what is wrong with a capability, "" when nothing is.
func capabilityFault(c *csi.VolumeCapability) string {
	if c == nil {
		return "it is missing"
	}
	mode := c.GetAccessMode().GetMode()
	if mode == csi.VolumeCapability_AccessMode_UNKNOWN {
		return "its access mode is missing"
	}
	if !slices.Contains(singleNode, mode) {
		return fmt.Sprintf("access mode %s is not possible: block storage is attached to one instance at a time "+
			"(ReadWriteOnce, ReadWriteOncePod); access from several needs a shared file system", mode)
	}
	switch {
	case c.GetBlock() != nil:
		return ""
	case c.GetMount() == nil:
		return "it asks neither for a block device nor for a mount"
	}
	if fs := c.GetMount().GetFsType(); fs != "" && !slices.Contains(params.FileSystems, fs) {
		return fmt.Sprintf("file system %q is not supported, valid are %s", fs, strings.Join(params.FileSystems, ", "))
	}
	return ""
}
