package controller

import (
	"context"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// unlimited is the offer of a kind that does not say what the platform sells.
var unlimited = volume.Offer{MaxGiB: volume.Unbounded}

// GetCapacity says how large a new volume can be at a place: 0 where what is asked for is not sold. The platform has no
// pool that fills up, so the capacity is the size of the largest volume, and the account's own quota, which no API tells,
// is found out by a create.
func (s *Service) GetCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	offer, err := s.offer(ctx, req)
	if err != nil {
		return nil, asStatus(err)
	}
	resp := &csi.GetCapacityResponse{AvailableCapacity: offer.MaxGiB * volume.GiB}
	if 0 < offer.MaxGiB && offer.MaxGiB < volume.Unbounded {
		resp.MaximumVolumeSize = wrapperspb.Int64(offer.MaxGiB * volume.GiB)
	}
	if offer.MinGiB > 0 {
		resp.MinimumVolumeSize = wrapperspb.Int64(offer.MinGiB * volume.GiB)
	}
	return resp, nil
}

func (s *Service) offer(ctx context.Context, req *csi.GetCapacityRequest) (volume.Offer, error) {
	p, err := params.Parse(withoutProvisioners(req.GetParameters()), "")
	if err != nil {
		return volume.Offer{}, err
	}
	region, err := regionOf(req.GetAccessibleTopology())
	if err != nil {
		return volume.Offer{}, err
	}
	backend, err := s.volumes.For(p.Kind)
	if err != nil {
		return volume.Offer{}, err
	}
	if len(req.GetVolumeCapabilities()) > 0 {
		accesses, err := accessesOf(req.GetVolumeCapabilities())
		if err != nil {
			return volume.Offer{}, err
		}
		if backend.CheckAccess(accesses) != nil {
			return volume.Offer{}, nil //nolint:nilerr // no volume of the kind can be used so, which is an answer here
		}
	}
	seller, ok := backend.(volume.Seller)
	if !ok {
		return unlimited, nil
	}
	return seller.Offer(ctx, p.Type, region)
}

// regionOf returns the region that a topology names, "" for none.
func regionOf(t *csi.Topology) (string, error) {
	if len(t.GetSegments()) == 0 {
		return "", nil
	}
	region, err := topology.Region(t.GetSegments())
	if err == nil && region == "" {
		err = volume.Errorf(volume.Invalid, "accessible_topology does not carry the key %q", topology.Key)
	}
	return region, err
}

// provisionersOwn is the prefix of the keys of a StorageClass that are for the provisioner. It leaves them out of every
// request but GetCapacity's, which has the class's parameters as they are.
const provisionersOwn = "csi.storage.k8s.io/"

func withoutProvisioners(parameters map[string]string) map[string]string {
	own := make(map[string]string, len(parameters))
	for key, text := range parameters {
		if !strings.HasPrefix(key, provisionersOwn) || key == params.FSType {
			own[key] = text
		}
	}
	return own
}
