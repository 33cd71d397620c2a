package blockstore

import (
	"context"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

var _ volume.Seller = (*Store)(nil)

// Offer returns the sizes in which the platform sells a type in a region, "" for any region.
func (s *Store) Offer(ctx context.Context, t volume.DiskType, region string) (volume.Offer, error) {
	sold, err := s.Sells(ctx, t, region)
	if err != nil || !sold {
		return volume.Offer{}, err
	}
	return boundsOf(t).Offer(), nil
}

// Sells reports whether the platform sells a type in a region, "" for any region. The list of regions is shared by all who
// ask and can be ten minutes old, so that a caller who asks for every class and region costs one list.
func (s *Store) Sells(ctx context.Context, t volume.DiskType, region string) (bool, error) {
	selling, err := s.selling(ctx, t)
	if err != nil {
		return false, refusal.OfRead(err, "listing the regions that sell %s %s", t, s.opts.Medium.words())
	}
	if len(selling) == 0 {
		// Such a list rather is a wrong one, and pods that wait for the answer are better off with the one before.
		return false, volume.Errorf(volume.Busy, "by the platform's list no region at all sells %s %s, which is not believed", t, s.opts.Medium.words())
	}
	return region == "" || slices.Contains(selling, region), nil
}
