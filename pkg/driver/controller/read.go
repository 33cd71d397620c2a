package controller

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// pageCap keeps an answer far below the 4 MB that gRPC grants: an entry has about 200 bytes.
	pageCap = 5000
	// pageAge is how old the list may be from which the pages after the first are answered, so that reading a
	// long list in small pages does not read the whole account for each of them.
	pageAge = 15 * time.Second
	// tokenPrefix marks the form of tokens, should it ever change.
	tokenPrefix = "after:"
)

// ListVolumes lists the volumes with the nodes that have them, ordered by ID. A token says after which ID to go
// on: it needs no memory in this process and stays valid when that volume is deleted.
func (s *Service) ListVolumes(ctx context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	if req.GetMaxEntries() < 0 {
		return nil, status.Errorf(codes.InvalidArgument, "max_entries is %d, it must not be negative", req.GetMaxEntries())
	}
	after, err := parseToken(req.GetStartingToken())
	if err != nil {
		return nil, err
	}
	maxAge := time.Duration(0)
	if after != "" {
		maxAge = pageAge
	}
	all, err := s.volumes.List(ctx, maxAge)
	if err != nil {
		return nil, asStatus(err)
	}
	page, more := pageAfter(all, func(v volume.Volume) string { return v.ID }, after, int(req.GetMaxEntries()))
	resp := &csi.ListVolumesResponse{}
	for _, v := range page {
		resp.Entries = append(resp.Entries, &csi.ListVolumesResponse_Entry{
			Volume: toCSI(v),
			Status: &csi.ListVolumesResponse_VolumeStatus{PublishedNodeIds: v.AttachedTo},
		})
	}
	if more {
		resp.NextToken = token(page[len(page)-1].ID)
	}
	return resp, nil
}

// pageAfter cuts the page that begins behind an ID out of what is ordered by ID, and reports whether more follow.
func pageAfter[T any](all []T, idOf func(T) string, after string, maxEntries int) (page []T, more bool) {
	if maxEntries == 0 || maxEntries > pageCap {
		maxEntries = pageCap
	}
	begin, found := slices.BinarySearchFunc(all, after, func(v T, id string) int { return strings.Compare(idOf(v), id) })
	if found {
		begin++
	}
	end := min(begin+maxEntries, len(all))
	return all[begin:end], end < len(all)
}

func token(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + id)) }

func parseToken(t string) (after string, err error) {
	if t == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(t)
	id, ours := strings.CutPrefix(string(raw), tokenPrefix)
	if err != nil || !ours || !volume.ValidID(id) {
		return "", status.Errorf(codes.Aborted, "starting_token %q is not one of ours: start again without a token", t)
	}
	return id, nil
}

// ControllerGetVolume reads one volume.
func (s *Service) ControllerGetVolume(ctx context.Context, req *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	_, v, err := s.read(ctx, platformID(req.GetVolumeId()))
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.ControllerGetVolumeResponse{
		Volume: toCSI(v),
		Status: &csi.ControllerGetVolumeResponse_VolumeStatus{PublishedNodeIds: v.AttachedTo},
	}, nil
}

// read returns a volume as it is now, and the backend that has it.
func (s *Service) read(ctx context.Context, id string) (volume.Backend, volume.Volume, error) {
	backend, err := s.volumes.Of(ctx, id)
	if err != nil {
		return nil, volume.Volume{}, err
	}
	v, err := backend.Read(ctx, id)
	return backend, v, err
}

// ValidateVolumeCapabilities confirms what the volume as it is can serve.
func (s *Service) ValidateVolumeCapabilities(ctx context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" || len(req.GetVolumeCapabilities()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "volume_id or volume_capabilities are missing")
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	backend, v, err := s.read(ctx, platformID(req.GetVolumeId()))
	if err != nil {
		return nil, asStatus(err)
	}
	if why := mismatch(backend, v, req); why != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: why.Error()}, nil //nolint:nilerr // "no" is an answer here
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      req.GetVolumeContext(),
		VolumeCapabilities: req.GetVolumeCapabilities(),
		Parameters:         req.GetParameters(),
	}}, nil
}

// mismatch says why a volume does not serve what the request asks for.
func mismatch(backend volume.Backend, v volume.Volume, req *csi.ValidateVolumeCapabilitiesRequest) error {
	accesses, err := accessesOf(req.GetVolumeCapabilities())
	if err == nil {
		err = errors.Join(backend.CheckAccess(accesses), backend.CheckOptions(accesses))
	}
	if err != nil {
		return err
	}
	if len(req.GetParameters()) > 0 {
		p, err := params.Parse(req.GetParameters(), fileSystemOf(accesses))
		if err != nil {
			return err
		}
		if p.Kind != v.Kind || p.Type != v.Type {
			return volume.Errorf(volume.Invalid, "the volume is %s storage of type %s, the parameters ask for %s of type %s", v.Kind, v.Type, p.Kind, p.Type)
		}
		if err := differs(params.ForNode(req.GetParameters()), params.ForNode(req.GetVolumeContext())); err != nil {
			return err
		}
	}
	for _, a := range accesses {
		if err := params.CheckContext(v.Kind, a, req.GetVolumeContext()); err != nil {
			return err
		}
	}
	return contradicts(v, req.GetVolumeContext())
}

// contradicts says what a volume context has that is not so by what the platform shows of the volume.
func contradicts(v volume.Volume, volumeContext map[string]string) error {
	if said := volumeContext[volume.ContextContentSource]; !canBeFrom(v.Source, said) {
		from := "empty"
		if !v.Source.IsZero() {
			from = "from " + v.Source.String()
		}
		return volume.Errorf(volume.Invalid, "the volume was made %s, the volume context says %s %q", from, volume.ContextContentSource, said)
	}
	if region, err := topology.Region(volumeContext); err != nil || (region != "" && region != v.Region) {
		return volume.Errorf(volume.Invalid, "the volume is in region %s, the volume context says %s", v.Region, region)
	}
	if kind := volumeContext[volume.ContextStorageType]; kind != "" && kind != string(v.Kind) {
		return volume.Errorf(volume.Invalid, "the volume is of storage type %s, the volume context says %s", v.Kind, kind)
	}
	return nil
}

// differs says what a volume context does not have as the parameters of the class would have put it there for the node.
func differs(asked, has map[string]string) error {
	keys := slices.Concat(slices.Collect(maps.Keys(asked)), slices.Collect(maps.Keys(has)))
	slices.Sort(keys)
	for _, key := range keys {
		if asked[key] != has[key] {
			return volume.Errorf(volume.Invalid, "the volume context has %s %q, the parameters ask for %q", key, has[key], asked[key])
		}
	}
	return nil
}

// canBeFrom reports whether a volume can be made from what its context says. Of a clone the platform shows only the temporary
// snapshot by which its content came. A context that says nothing may be of a PersistentVolume that was written by hand.
func canBeFrom(source volume.Source, said string) bool {
	id, isClone := strings.CutPrefix(said, "volume/")
	return said == "" || strings.EqualFold(said, source.String()) || (isClone && volume.ValidID(id) && source.Snapshot != "")
}
