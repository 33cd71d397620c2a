package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// controller is the controller service. It leaves the same labels, context and attributes as the official one.
type controller struct {
	csi.UnimplementedControllerServer

	cloud  *cloud
	region string // in capitals, as the metadata service has it
}

const gibibyte = 1 << 30

// ControllerGetCapabilities returns what it can.
func (*controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}},
		})
	}
	return response, nil
}

// CreateVolume makes a block storage or a shared file system, or finds it by its label. The volume's context stays empty.
func (c *controller) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	size := max(req.GetCapacityRange().GetRequiredBytes()/gibibyte, 10)
	if req.GetParameters()["storage_type"] == "vfs" {
		f, err := c.cloud.createShared(ctx, strings.ToLower(c.region), req.GetName(), size)
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		return c.volume(f.ID, f.Size.GB), nil
	}
	types := map[string]string{"nvme": "high_perf", "hdd": "storage_opt"}
	blockType := types[req.GetParameters()["disk_type"]]
	if former := req.GetParameters()["block_type"]; former != "" {
		blockType = former
	}
	if blockType == "" {
		return nil, status.Errorf(codes.InvalidArgument, "parameters %v: disk_type is missing", req.GetParameters())
	}
	all, err := c.cloud.blocks(ctx)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	for _, b := range all {
		if b.Label == req.GetName() {
			return c.created(ctx, b)
		}
	}
	b, err := c.cloud.create(ctx, strings.ToLower(c.region), req.GetName(), blockType, size)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return c.created(ctx, b)
}

// created waits until a block storage can be used.
func (c *controller) created(ctx context.Context, b block) (*csi.CreateVolumeResponse, error) {
	b, err := c.cloud.await(ctx, b.ID, func(b block) bool { return b.Status == "active" })
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return c.volume(b.ID, b.SizeGB), nil
}

// volume is what CreateVolume returns.
func (c *controller) volume(id string, sizeGB int64) *csi.CreateVolumeResponse {
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: id, CapacityBytes: sizeGB * gibibyte,
		AccessibleTopology: []*csi.Topology{{Segments: map[string]string{"region": c.region}}},
	}}
}

// DeleteVolume deletes a block storage or a file system, whichever has the ID.
func (c *controller) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	err := c.cloud.do(ctx, http.MethodDelete, "/v2/blocks/"+req.GetVolumeId(), nil, nil)
	if errors.Is(err, errNotFound) {
		err = c.cloud.do(ctx, http.MethodDelete, "/v2/vfs/"+req.GetVolumeId(), nil, nil)
	}
	if err != nil && !errors.Is(err, errNotFound) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// ControllerPublishVolume attaches a block storage or a file system. What it returns, the attacher keeps in the VolumeAttachment.
func (c *controller) ControllerPublishVolume(ctx context.Context, req *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	b, err := c.cloud.get(ctx, req.GetVolumeId())
	if errors.Is(err, errNotFound) {
		tag, err := c.cloud.attachShared(ctx, req.GetVolumeId(), req.GetNodeId())
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		return published(tag, "vfs"), nil
	}
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	if b.AttachedTo != "" && b.AttachedTo != req.GetNodeId() {
		return nil, status.Errorf(codes.FailedPrecondition, "the volume is attached to %s", b.AttachedTo)
	}
	if b.AttachedTo == "" {
		order := map[string]any{"instance_id": req.GetNodeId(), "live": true}
		if err := c.cloud.do(ctx, http.MethodPost, "/v2/blocks/"+b.ID+"/attach", order, nil); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		if b, err = c.cloud.await(ctx, b.ID, func(b block) bool { return b.AttachedTo == req.GetNodeId() }); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return published(b.Serial, "block"), nil
}

// published is what ControllerPublishVolume returns.
func published(name, storageType string) *csi.ControllerPublishVolumeResponse {
	return &csi.ControllerPublishVolumeResponse{PublishContext: map[string]string{"mount_vol_name": name, "storage_type": storageType}}
}

// ControllerUnpublishVolume detaches a block storage or a file system.
func (c *controller) ControllerUnpublishVolume(ctx context.Context, req *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	b, err := c.cloud.get(ctx, req.GetVolumeId())
	if errors.Is(err, errNotFound) {
		err = c.cloud.do(ctx, http.MethodDelete, attachmentPath(req.GetVolumeId(), req.GetNodeId()), nil, nil)
		if err != nil && !errors.Is(err, errNotFound) {
			return nil, status.Error(codes.Internal, err.Error())
		}
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	if err == nil && b.AttachedTo != req.GetNodeId() {
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	if err == nil {
		err = c.cloud.do(ctx, http.MethodPost, "/v2/blocks/"+b.ID+"/detach", map[string]any{"live": true}, nil)
	}
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

// ControllerExpandVolume makes a block storage or a file system larger.
func (c *controller) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	size, onNode := req.GetCapacityRange().GetRequiredBytes(), true
	err := c.cloud.do(ctx, http.MethodPatch, "/v2/blocks/"+req.GetVolumeId(), map[string]any{"size_gb": size / gibibyte}, nil)
	if errors.Is(err, errNotFound) {
		onNode = false
		err = c.cloud.do(ctx, http.MethodPut, "/v2/vfs/"+req.GetVolumeId(), map[string]any{"storage_size": storageSize{size / gibibyte}}, nil)
	}
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: size, NodeExpansionRequired: onNode}, nil
}
