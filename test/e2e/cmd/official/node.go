package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// node is the node service. It formats, mounts and binds as the official one, by mount(8) and the library k8s.io/mount-utils.
type node struct {
	csi.UnimplementedNodeServer

	self    self
	devices string
	// shared is where shared file systems appear as directories named by their tags: this machine's kernel has no virtiofs.
	shared string
}

// NodeGetInfo reports the region as the metadata service has it, by a key that the kubelet makes a label of the Node.
func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId: n.self.InstanceID, MaxVolumesPerNode: 11,
		AccessibleTopology: &csi.Topology{Segments: map[string]string{"region": n.self.Region.Code}},
	}, nil
}

// NodeGetCapabilities returns what it can.
func (*node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{{
		Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME}},
	}}}, nil
}

// NodeStageVolume formats a disk on which blkid finds nothing, and mounts it; a shared file system it only mounts.
func (n *node) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	target, use := req.GetStagingTargetPath(), req.GetVolumeCapability().GetMount()
	if use == nil {
		return nil, status.Error(codes.InvalidArgument, "only file systems are known here")
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if mounted(ctx, target) {
		return &csi.NodeStageVolumeResponse{}, nil
	}
	if req.GetPublishContext()["storage_type"] == "vfs" {
		// The official driver runs `mount -t virtiofs TAG TARGET`, whatever the mount options of the volume are.
		if err := run(ctx, "mount", "-o", "bind", filepath.Join(n.shared, req.GetPublishContext()["mount_vol_name"]), target); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		return &csi.NodeStageVolumeResponse{}, nil
	}
	source := filepath.Join(n.devices, "disk", "by-id", "virtio-"+req.GetPublishContext()["mount_vol_name"])
	fsType := cmp.Or(use.GetFsType(), "ext4")
	if err := format(ctx, source, fsType); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	options := slices.Concat(use.GetMountFlags(), []string{"defaults"})
	if err := run(ctx, "mount", "-t", fsType, "-o", strings.Join(options, ","), source, target); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// format makes a file system on a disk on which blkid finds nothing.
func format(ctx context.Context, source, fsType string) error {
	found := exec.CommandContext(ctx, "blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", source)
	const nothing = 2
	switch err := found.Run(); {
	case err == nil:
		return nil
	case found.ProcessState == nil || found.ProcessState.ExitCode() != nothing:
		return fmt.Errorf("%s: %w", found, err)
	}
	if fsType == "ext4" {
		return run(ctx, "mkfs.ext4", "-F", "-m0", source)
	}
	return run(ctx, "mkfs."+fsType, source)
}

// NodeUnstageVolume unmounts a disk.
func (*node) NodeUnstageVolume(ctx context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if err := unmount(ctx, req.GetStagingTargetPath()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// NodePublishVolume binds what is staged.
func (*node) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	target := req.GetTargetPath()
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if !mounted(ctx, target) {
		if err := run(ctx, "mount", "-o", "bind", req.GetStagingTargetPath(), target); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume undoes that.
func (*node) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := unmount(ctx, req.GetTargetPath()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// mounted reports whether something is mounted at a path.
func mounted(ctx context.Context, path string) bool {
	return exec.CommandContext(ctx, "mountpoint", "-q", path).Run() == nil
}

// unmount unmounts a path and removes it.
func unmount(ctx context.Context, path string) error {
	if mounted(ctx, path) {
		if err := run(ctx, "umount", path); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // G204: the paths are the kubelet's
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(out))
	}
	return nil
}
