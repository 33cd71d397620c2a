package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// maxName is the length that CSI grants to names.
const maxName = 128

// CreateVolume makes a volume of the name, or finds the one that has it.
func (s *Service) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	backend, spec, err := s.plan(ctx, req)
	if err != nil {
		return nil, asStatus(err)
	}
	end, err := s.begin("name "+spec.Name, "CreateVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	v, err := backend.Create(ctx, spec)
	if err != nil {
		return nil, about(spec.Name, "", s.ofOtherKind(ctx, backend.Kind(), spec.Source.Volume, err))
	}
	s.volumes.Made(v)
	if modifier, can := backend.(volume.Modifier); can && len(req.GetMutableParameters()) > 0 {
		if err := modifier.Modify(ctx, v.ID, req.GetMutableParameters()); err != nil {
			// Most codes mean to the provisioner that nothing was made: it would forget the volume.
			return nil, asStatus(volume.Errorf(volume.Busy, "volume %s was made for %q, and does not have its mutable parameters yet: %w", v.ID, spec.Name, err))
		}
	}
	made := toCSI(v)
	made.ContentSource = req.GetVolumeContentSource()
	for key, value := range params.ForNode(req.GetParameters()) {
		if made.VolumeContext == nil {
			made.VolumeContext = map[string]string{}
		}
		made.VolumeContext[key] = value
	}
	return &csi.CreateVolumeResponse{Volume: made}, nil
}

// ofOtherKind returns what it means that a backend does not find the volume of which a copy is asked for: another kind may have
// it. It costs calls only then. Every other error it returns as it is.
func (s *Service) ofOtherKind(ctx context.Context, kind volume.Kind, source string, err error) error {
	if source == "" || volume.ReasonOf(err) != volume.NotFound {
		return err
	}
	has, unknown := s.volumes.Of(ctx, source)
	switch {
	case unknown == nil && has.Kind() != kind:
		return volume.Errorf(volume.Invalid, "volume %s is of storage type %q, and a copy of storage type %q cannot be made of it", source, has.Kind(), kind)
	case unknown != nil && volume.ReasonOf(unknown) != volume.NotFound:
		return unknown
	}
	return err
}

// plan finds the backend for a request and has it decide what should exist, or says why it can't.
func (s *Service) plan(ctx context.Context, req *csi.CreateVolumeRequest) (volume.Backend, volume.Spec, error) {
	r, err := requestOf(req)
	if err != nil {
		return nil, volume.Spec{}, err
	}
	p, err := params.Parse(req.GetParameters(), fileSystemOf(r.Accesses))
	if err != nil {
		return nil, volume.Spec{}, err
	}
	for _, w := range p.Warnings {
		s.warner.Warn(ctx, params.Claim(r.Name, req.GetParameters()), events.DeprecatedParameter, w.Text)
	}
	backend, err := s.volumes.For(p.Kind)
	if err != nil {
		return nil, volume.Spec{}, err
	}
	if err := checkOptional(backend, req); err != nil {
		return nil, volume.Spec{}, err
	}
	r.Type = p.Type
	if r.Regions, err = s.regionsFor(ctx, req.GetAccessibilityRequirements()); err != nil {
		return nil, volume.Spec{}, err
	}
	spec, err := backend.Plan(r)
	return backend, spec, err
}

// requestOf translates what a request says of the volume itself.
func requestOf(req *csi.CreateVolumeRequest) (volume.Request, error) {
	switch {
	case req.GetName() == "":
		return volume.Request{}, volume.Errorf(volume.Invalid, "name is missing")
	case len(req.GetName()) > maxName:
		return volume.Request{}, volume.Errorf(volume.Invalid, "the name has %d bytes, %d are possible", len(req.GetName()), maxName)
	}
	accesses, err := accessesOf(req.GetVolumeCapabilities())
	if err != nil {
		return volume.Request{}, err
	}
	source := volume.Source{
		Snapshot: platformID(req.GetVolumeContentSource().GetSnapshot().GetSnapshotId()),
		Volume:   platformID(req.GetVolumeContentSource().GetVolume().GetVolumeId()),
	}
	if req.GetVolumeContentSource() != nil && source.IsZero() {
		return volume.Request{}, volume.Errorf(volume.Invalid, "volume_content_source names neither a snapshot nor a volume")
	}
	if id := source.Snapshot + source.Volume; id != "" && !volume.ValidID(id) {
		return volume.Request{}, volume.Errorf(volume.NotFound, "volume_content_source: %s does not exist, IDs are UUIDs", source)
	}
	return volume.Request{Name: req.GetName(), Capacity: capacityOf(req.GetCapacityRange()), Accesses: accesses, Source: source}, nil
}

// checkOptional judges what only some kinds of storage can do.
func checkOptional(backend volume.Backend, req *csi.CreateVolumeRequest) error {
	source := req.GetVolumeContentSource()
	if _, ok := backend.(volume.Snapshotter); !ok && source.GetSnapshot() != nil {
		return volume.Errorf(volume.Invalid, "a volume of storage type %q cannot be made from a snapshot by this version", backend.Kind())
	}
	if _, ok := backend.(volume.Cloner); !ok && source.GetVolume() != nil {
		return volume.Errorf(volume.Invalid, "a volume of storage type %q cannot be made from another volume by this version", backend.Kind())
	}
	if len(req.GetMutableParameters()) == 0 {
		return nil
	}
	modifier, ok := backend.(volume.Modifier)
	if !ok {
		return volume.Errorf(volume.Invalid, "mutable parameters (VolumeAttributesClass) are not supported for storage type %q by this version", backend.Kind())
	}
	return modifier.CheckModify(req.GetName(), req.GetMutableParameters())
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
	out := &csi.Volume{
		VolumeId:           v.ID,
		CapacityBytes:      v.Bytes(),
		AccessibleTopology: []*csi.Topology{{Segments: topology.Segments(v.Region)}},
	}
	if !v.Source.IsZero() {
		out.VolumeContext = map[string]string{volume.ContextContentSource: v.Source.String()}
	}
	return out
}

// DeleteVolume removes a volume. One that cannot exist or is proven not to exist is success.
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
	if err := s.volumes.Delete(ctx, id); err != nil {
		return nil, about(id, "", err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}
