package node

import (
	"context"
	"errors"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// NodePublishVolume shows a staged volume to a pod: its file system by a bind of the staging path, its device by a
// bind of the device node.
func (s *Service) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	u, serial, err := s.checkPublish(req)
	if err != nil {
		return nil, asStatus(err)
	}
	end, err := s.begin(req.GetVolumeId(), "NodePublishVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	d, err := s.cfg.Finder.Find(serial)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the device of the volume: %v", err)
	}
	if u.block {
		err = publishBlock(ctx, d, u, req.GetTargetPath())
	} else {
		err = publishMount(ctx, d, u, req.GetStagingTargetPath(), req.GetTargetPath())
	}
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (s *Service) checkPublish(req *csi.NodePublishVolumeRequest) (u use, serial string, err error) {
	switch {
	case req.GetVolumeId() == "":
		return use{}, "", missing("volume_id")
	case req.GetVolumeCapability() == nil:
		return use{}, "", missing("volume_capability")
	}
	if err := s.checkPath("target_path", req.GetTargetPath()); err != nil {
		return use{}, "", err
	}
	if u, err = parseUse(req.GetVolumeCapability()); err != nil {
		return use{}, "", err
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return use{}, "", err
	}
	if req.GetStagingTargetPath() == "" {
		return use{}, "", volume.Errorf(volume.InUse, "staging_target_path is missing: a volume is staged before it is published")
	}
	if err := s.checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return use{}, "", err
	}
	u.readOnly = u.readOnly || req.GetReadonly()
	serial, err = serialFrom(req.GetPublishContext())
	return u, serial, err
}

// publishMount binds the staged file system to the target.
func publishMount(ctx context.Context, d device.Device, u use, staging, target string) error {
	table, err := mount.Read()
	if err != nil {
		return err
	}
	staged, err := stagedAt(table, d, u, staging)
	if err != nil {
		return err
	}
	if e, mounted := table.At(target); mounted {
		if e.Number == d.Number && e.Root == staged.Root && e.ReadOnly() == u.readOnly {
			return nil
		}
		return volume.Errorf(volume.Exists, "%s has another mount: device %s, read-only %t; asked for are device %s, read-only %t",
			target, e.Number, e.ReadOnly(), d.Number, u.readOnly)
	}
	if others := published(table.Others(d.Number, staging, target), staged.Root); u.single && len(others) > 0 {
		return publishedElsewhere(others)
	}
	if err := step.At(ctx, step.Bind); err != nil {
		return err
	}
	if err := mount.MakeDir(target); err != nil {
		return err
	}
	if err := mount.Bind(staging, target, u.readOnly); err != nil {
		return errors.Join(err, mount.RemoveTarget(target))
	}
	return nil
}

// stagedAt finds the volume's mount at the staging path and judges whether it can be used as wished.
func stagedAt(table mount.Table, d device.Device, u use, staging string) (mount.Entry, error) {
	staged, ok := table.At(staging)
	switch {
	case !ok:
		return staged, volume.Errorf(volume.InUse, "nothing is staged at %s", staging)
	case staged.Number != d.Number:
		return staged, volume.Errorf(volume.InUse, "at %s device %s is staged, but serial %s is device %s", staging, staged.Number, d.Serial, d.Number)
	case u.fsType != "" && u.fsType != staged.FSType:
		return staged, volume.Errorf(volume.InUse, "at %s a file system %s is staged, asked for is %s", staging, staged.FSType, u.fsType)
	case staged.ReadOnly() && !u.readOnly:
		return staged, volume.Errorf(volume.InUse, "at %s the volume is staged read-only", staging)
	}
	return staged, nil
}

// published picks the mounts by which pods have the volume. The kubelet binds parts of it for subPath; those
// have another root and belong to a pod that has the whole as well.
func published(mounts mount.Table, root string) mount.Table {
	var whole mount.Table
	for _, e := range mounts {
		if e.Root == root {
			whole = append(whole, e)
		}
	}
	return whole
}

func publishedElsewhere(others mount.Table) error {
	return volume.Errorf(volume.InUse, "the volume may be used by one pod only and is published at %s already", strings.Join(others.Paths(), ", "))
}

// NodeUnpublishVolume takes a volume from a pod's path and removes the path.
func (s *Service) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	if err := s.checkPath("target_path", req.GetTargetPath()); err != nil {
		return nil, asStatus(err)
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	end, err := s.begin(req.GetVolumeId(), "NodeUnpublishVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.unpublish(ctx, req.GetTargetPath()); err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (s *Service) unpublish(ctx context.Context, target string) error {
	if err := step.At(ctx, step.Unbind); err != nil {
		return err
	}
	number, isBlock := deviceAt(target)
	if err := mount.Unmount(ctx, target); err != nil {
		return err
	}
	if err := mount.RemoveTarget(target); err != nil {
		return err
	}
	if !isBlock {
		return nil
	}
	return s.afterLastBlock(number)
}
