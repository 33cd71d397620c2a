package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// maxName is the length that CSI grants to names.
const maxName = 128

// CreateVolume makes a volume of the name, or finds the one that has it.
func (s *Service) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	spec, err := s.specFor(ctx, req)
	if err != nil {
		return nil, asStatus(err)
	}
	end, err := s.begin("name "+spec.Name, "CreateVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	v, err := s.store.Create(ctx, spec)
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.CreateVolumeResponse{Volume: toCSI(v)}, nil
}

// specFor turns a request into what should exist, or says why it can't.
func (s *Service) specFor(ctx context.Context, req *csi.CreateVolumeRequest) (volume.Spec, error) {
	switch {
	case req.GetName() == "":
		return volume.Spec{}, volume.Errorf(volume.Invalid, "name is missing")
	case len(req.GetName()) > maxName:
		return volume.Spec{}, volume.Errorf(volume.Invalid, "the name has %d bytes, %d are possible", len(req.GetName()), maxName)
	case req.GetVolumeContentSource() != nil:
		return volume.Spec{}, volume.Errorf(volume.Invalid, "a volume from a snapshot or another volume is not supported")
	case len(req.GetMutableParameters()) > 0:
		return volume.Spec{}, volume.Errorf(volume.Invalid, "mutable parameters (VolumeAttributesClass) are not supported")
	}
	if err := checkCapabilities(req.GetVolumeCapabilities()); err != nil {
		return volume.Spec{}, err
	}
	p, err := params.Parse(req.GetParameters())
	if err != nil {
		return volume.Spec{}, err
	}
	capacity := capacityOf(req.GetCapacityRange())
	size, err := params.RoundUp(p.Type, capacity)
	if err != nil {
		return volume.Spec{}, err
	}
	regions, err := s.regionsFor(ctx, req.GetAccessibilityRequirements())
	if err != nil {
		return volume.Spec{}, err
	}
	return volume.Spec{Name: req.GetName(), Type: p.Type, Capacity: capacity, SizeGiB: size, Regions: regions}, nil
}

func (s *Service) regionsFor(ctx context.Context, req *csi.TopologyRequirement) ([]string, error) {
	preferred, requisite := segmentsOf(req.GetPreferred()), segmentsOf(req.GetRequisite())
	fallback := ""
	if len(preferred)+len(requisite) == 0 {
		var err error
		if fallback, err = s.defaultRegion(ctx); err != nil {
			return nil, volume.Errorf(volume.Busy, "the request names no region, and the driver's own is not known: %w (flag --region sets it)", err)
		}
	}
	return topology.Choose(preferred, requisite, fallback)
}

func segmentsOf(terms []*csi.Topology) []map[string]string {
	var all []map[string]string
	for _, t := range terms {
		all = append(all, t.GetSegments())
	}
	return all
}

func capacityOf(r *csi.CapacityRange) volume.Capacity {
	return volume.Capacity{Required: r.GetRequiredBytes(), Limit: r.GetLimitBytes()}
}

// toCSI shows a volume to the caller; every service answer about a volume is made here, so that they agree.
func toCSI(v volume.Volume) *csi.Volume {
	return &csi.Volume{
		VolumeId:           v.ID,
		CapacityBytes:      v.Bytes(),
		AccessibleTopology: []*csi.Topology{{Segments: topology.Segments(v.Region)}},
	}
}

// DeleteVolume removes a volume. One that cannot exist or does not exist is success.
func (s *Service) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	id := platformID(req.GetVolumeId())
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "volume_id is missing")
	}
	if !volume.ValidID(id) {
		return &csi.DeleteVolumeResponse{}, nil
	}
	end, err := s.begin(id, "DeleteVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.store.Delete(ctx, id); err != nil {
		return nil, asStatus(err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}
