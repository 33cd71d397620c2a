package node

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
)

// NodeStageVolume makes a volume usable on this node.
func (s *Service) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	v, stager, err := s.checkStage(req)
	if err != nil {
		return nil, about(v.ID, err)
	}
	end, err := s.begin(ctx, v.ID, "NodeStageVolume")
	if err != nil {
		return nil, orMounted(err, req.GetStagingTargetPath())
	}
	defer end()
	if err := stager.Stage(ctx, v, req.GetStagingTargetPath()); err != nil {
		return nil, orMounted(about(v.ID, err), req.GetStagingTargetPath())
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// orMounted gives the error of a stage a code that says that it may not be over, if something is mounted at the path.
//
// The kubelet takes all but a few codes for the word that nothing was staged (isFinalError in its csi_client.go). Then it
// does not unstage the volume when the pod is deleted, and the disk is detached under what an earlier attempt mounted, or
// this one before it failed.
//
// So it is with AlreadyExists, though that is CSI's word for a mount that is there and of another kind. The kubelet asks to
// stage what it does not know to be staged: after the word it would never know, and the mount would be in the way of every
// pod to come. It goes when the volume is unstaged, which makes it a conflict that passes.
func orMounted(err error, path string) error {
	s := status.Convert(err)
	switch s.Code() { //nolint:exhaustive // all others are final
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return err
	}
	table, readErr := mount.Read()
	if readErr != nil {
		return status.Errorf(codes.Unavailable, "%s; whether it is mounted at %s is not known: %v", s.Message(), path, readErr)
	}
	if _, mounted := table.At(path); !mounted {
		return err
	}
	return status.Errorf(codes.Unavailable, "%s; something is still mounted at %s, which is left to be unstaged", s.Message(), path)
}

func (s *Service) checkStage(req *csi.NodeStageVolumeRequest) (staging.Volume, Stager, error) {
	v := staging.Volume{ID: req.GetVolumeId(), Context: req.GetVolumeContext(), Published: req.GetPublishContext()}
	switch {
	case v.ID == "":
		return v, nil, missing("volume_id")
	case req.GetVolumeCapability() == nil:
		return v, nil, missing("volume_capability")
	}
	if err := s.checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return v, nil, err
	}
	kind, stager, err := s.stagerFor(v.Published)
	if err != nil {
		return v, nil, err
	}
	if v.Use, err = parseUse(kind, req.GetVolumeCapability()); err != nil {
		return v, nil, err
	}
	v.Use.ReadOnly = v.Use.ReadOnly || v.PublishedReadOnly()
	if err := rpcerr.CheckVolumeID(v.ID); err != nil {
		return v, nil, err
	}
	if err := addEncryption(&v, kind, req.GetSecrets()); err != nil {
		return v, nil, err
	}
	if err := checkPassphrase(v, req.GetSecrets()); err != nil {
		return v, nil, err
	}
	return v, stager, nil
}

// NodeUnstageVolume undoes NodeStageVolume.
func (s *Service) NodeUnstageVolume(ctx context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	err := s.undo(ctx, req.GetVolumeId(), "NodeUnstageVolume", "staging_target_path", req.GetStagingTargetPath(), Stager.Unstage)
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// undo takes a volume away from a path.
func (s *Service) undo(ctx context.Context, id, call, field, path string, do func(Stager, context.Context, string, string) error) error {
	if id == "" {
		return missing("volume_id")
	}
	if err := s.checkPath(field, path); err != nil {
		return about(id, err)
	}
	if err := rpcerr.CheckVolumeID(id); err != nil {
		return err
	}
	end, err := s.begin(ctx, id, call)
	if err != nil {
		return err
	}
	defer end()
	stager, err := s.stagerOf(id, path)
	if err != nil {
		return about(id, err)
	}
	s.measured.forget(id)
	return about(id, do(stager, ctx, id, path))
}
