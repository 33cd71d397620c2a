package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// ControllerModifyVolume gives a volume the properties of its VolumeAttributesClass. It is judged as a whole before anything
// is changed. It may run beside any other call for the volume: what it changes nobody else decides by, and an expansion that
// comes with it is sent together with it.
func (s *Service) ControllerModifyVolume(ctx context.Context, req *csi.ControllerModifyVolumeRequest) (*csi.ControllerModifyVolumeResponse, error) {
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	id := platformID(req.GetVolumeId())
	end, err := s.begin("attributes of "+id, "ControllerModifyVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.modify(ctx, id, req.GetMutableParameters()); err != nil {
		return nil, about(id, "", err)
	}
	return &csi.ControllerModifyVolumeResponse{}, nil
}

func (s *Service) modify(ctx context.Context, id string, parameters map[string]string) error {
	backend, err := s.volumes.Of(ctx, id)
	if err != nil {
		return err
	}
	modifier, can := backend.(volume.Modifier)
	if !can {
		return volume.Errorf(volume.Invalid, "nothing of storage type %q can be changed by a VolumeAttributesClass in this version", backend.Kind())
	}
	if err := modifier.CheckModify("", parameters); err != nil {
		return err
	}
	return modifier.Modify(ctx, id, parameters)
}
