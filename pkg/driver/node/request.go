package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// use is how a volume is to be used, as far as the node is concerned.
type use struct {
	block    bool
	fsType   string // "" leaves it open
	readOnly bool
	single   bool // only one pod may have it
	options  []string
}

// parseUse judges a capability.
func parseUse(c *csi.VolumeCapability) (use, error) {
	u := use{}
	switch mode := c.GetAccessMode().GetMode(); mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER:
		u.single = true
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:
		u.readOnly = true
	default:
		return use{}, volume.Errorf(volume.Invalid, "access mode %s is not possible with block storage", mode)
	}
	switch {
	case c.GetBlock() != nil:
		u.block = true
	case c.GetMount() != nil:
		u.fsType = c.GetMount().GetFsType()
		if u.fsType != "" && !slices.Contains(params.FileSystems, u.fsType) {
			return use{}, volume.Errorf(volume.Invalid, "file system %q is not supported, valid are %s", u.fsType, strings.Join(params.FileSystems, ", "))
		}
		var err error
		if u.options, err = parseOptions(u.fsType, c.GetMount().GetMountFlags()); err != nil {
			return use{}, err
		}
	default:
		return use{}, volume.Errorf(volume.Invalid, "volume_capability asks neither for a block device nor for a mount")
	}
	u.readOnly = u.readOnly || slices.Contains(u.options, "ro")
	return u, nil
}

// parseOptions gives the mount options one by one; several in one text, as mount(8) takes them, are common. With
// seLinuxMount the kubelet adds one that has commas of its own.
func parseOptions(fsType string, texts []string) ([]string, error) {
	var options []string
	for _, text := range texts {
		split, err := mount.SplitOptions(text)
		if err != nil {
			return nil, volume.Errorf(volume.Invalid, "%w", err)
		}
		for _, o := range split {
			if !slices.Contains(options, o) {
				options = append(options, o)
			}
		}
	}
	return options, checkOptions(fsType, options)
}

// checkOptions judges mount options for a file system, "" while it is not known.
func checkOptions(fsType string, options []string) error {
	if err := mount.CheckOptions(fsType, options); err != nil {
		return volume.Errorf(volume.Invalid, "%w", err)
	}
	return nil
}

// mountOptions are the options for mounting the file system: those of the user, once, and those that it needs.
func (u use) mountOptions(fsType string) []string {
	options := slices.Clone(u.options)
	if u.readOnly && !slices.Contains(options, "ro") {
		options = append(options, "ro")
	}
	if fsType == "xfs" && !slices.Contains(options, "nouuid") {
		// A restored or copied volume has the UUID of its source, which may be mounted here as well.
		options = append(options, "nouuid")
	}
	return options
}

// serialFrom reads the serial of the device from a publish context.
func serialFrom(publishContext map[string]string) (string, error) {
	if kind := publishContext[volume.ContextStorageType]; kind != "" && kind != string(volume.Block) {
		return "", volume.Errorf(volume.Invalid, "publish context: %s %q is not supported by this version", volume.ContextStorageType, kind)
	}
	serial := publishContext[volume.ContextSerial]
	if serial == "" {
		return "", volume.Errorf(volume.Invalid, "publish context: %s is missing", volume.ContextSerial)
	}
	return serial, nil
}

// checkPath judges a path of a request at which something is mounted or unmounted: it has to lie in the kubelet's
// directory.
func (s *Service) checkPath(field, path string) error {
	if path == "" {
		return volume.Errorf(volume.Invalid, "%s is missing", field)
	}
	if !filepath.IsAbs(path) {
		return volume.Errorf(volume.Invalid, "%s %q is not absolute", field, path)
	}
	if filepath.Clean(path) == "/" || slices.Contains(strings.Split(path, "/"), "..") || strings.ContainsRune(path, 0) {
		return volume.Errorf(volume.Invalid, "%s %q is no place for a volume", field, path)
	}
	if s.cfg.KubeletRoot == "" {
		return nil
	}
	err := mount.Within(s.cfg.KubeletRoot, path)
	if errors.Is(err, mount.ErrOutside) {
		return volume.Errorf(volume.Invalid, "%s: %w (--kubelet-root says which it is)", field, err)
	}
	return err
}

func (u use) String() string {
	if u.block {
		return fmt.Sprintf("block device, read-only %t", u.readOnly)
	}
	return fmt.Sprintf("file system %q, read-only %t", u.fsType, u.readOnly)
}
