package node

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// parseUse judges a capability for a kind of storage.
func parseUse(kind volume.Kind, c *csi.VolumeCapability) (staging.Use, error) {
	u := staging.Use{}
	switch mode := c.GetAccessMode().GetMode(); mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER:
		u.Single = true
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:
		u.ReadOnly = true
	default:
		if kind != volume.VFS {
			return staging.Use{}, volume.Errorf(volume.Invalid, "access mode %s is not possible with block storage", mode)
		}
		switch mode {
		case csi.VolumeCapability_AccessMode_UNKNOWN:
			return staging.Use{}, volume.Errorf(volume.Invalid, "volume_capability: the access mode is missing")
		case csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER:
			return staging.Use{}, volume.Errorf(volume.Invalid, "access mode %s is not possible: nothing keeps the nodes of a shared file system but one from writing", mode)
		default: // several nodes can have it
		}
		u.ReadOnly = mode == csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	}
	switch {
	case c.GetBlock() != nil:
		u.Block = true
	case c.GetMount() != nil:
		var err error
		if u.FSType, u.Options, err = parseMount(kind, c.GetMount()); err != nil {
			return staging.Use{}, err
		}
	default:
		return staging.Use{}, volume.Errorf(volume.Invalid, "volume_capability asks neither for a block device nor for a mount")
	}
	u.ReadOnly = u.ReadOnly || slices.Contains(u.Options, "ro")
	return u, nil
}

// parseMount judges how a volume is to be mounted. A shared file system has one type only, whatever a class or a sidecar's
// default names.
func parseMount(kind volume.Kind, m *csi.VolumeCapability_MountVolume) (fsType string, options []string, err error) {
	fsType = m.GetFsType()
	if fsType != "" && fsType != mount.VirtioFS && !slices.Contains(params.FileSystems, fsType) || fsType == mount.VirtioFS && kind != volume.VFS {
		return "", nil, volume.Errorf(volume.Invalid, "file system %q is not supported, valid are %s", fsType, strings.Join(params.FileSystems, ", "))
	}
	if kind == volume.VFS {
		fsType = mount.VirtioFS
	}
	options, err = parseOptions(fsType, m.GetMountFlags())
	return fsType, options, err
}

// parseOptions gives the mount options one by one; several in one text, as mount(8) takes them, are common. With
// seLinuxMount the kubelet adds one that has commas of its own.
func parseOptions(fsType string, texts []string) ([]string, error) {
	options, err := mount.SplitAll(texts)
	if err == nil {
		err = mount.CheckOptions(fsType, options)
	}
	if err != nil {
		return nil, volume.Errorf(volume.Invalid, "%w", err)
	}
	return options, nil
}

// checkVolumePath judges the volume and the path of a request about a volume that is in use. Where nothing is published,
// no volume is to be found, and nothing is looked at. For a raw block volume the path is that of a device node, which the
// kubelet has in its directory as well.
func (s *Service) checkVolumePath(id, path string) error {
	switch {
	case id == "":
		return missing("volume_id")
	case path == "":
		return missing("volume_path")
	}
	if err := rpcerr.CheckVolumeID(id); err != nil {
		return err
	}
	err := s.checkPath("volume_path", path)
	if volume.ReasonOf(err) == volume.Invalid {
		return volume.Errorf(volume.NotFound, "volume %s is not at %s: %w", id, path, err)
	}
	return err
}

// checkPath judges a path of a request: whatever is mounted, unmounted or looked at has to lie in the kubelet's
// directory.
func (s *Service) checkPath(field, path string) error {
	if path == "" {
		return volume.Errorf(volume.Invalid, "%s is missing", field)
	}
	if !filepath.IsAbs(path) {
		return volume.Errorf(volume.Invalid, "%s %q is not absolute", field, path)
	}
	if filepath.Clean(path) == "/" || slices.Contains(strings.Split(path, "/"), "..") || strings.ContainsRune(path, 0) {
		return volume.Errorf(volume.Invalid, "%s %q cannot be the path of a volume", field, path)
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
