package blockstore

import (
	"context"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// region chooses the first of the wished regions that sells the type. Of a single one the platform itself is the judge.
func (s *Store) region(ctx context.Context, spec volume.Spec) (string, error) {
	if len(spec.Regions) == 1 {
		return spec.Regions[0], nil
	}
	selling, err := s.selling(ctx, spec.Type)
	if err != nil {
		// The list only serves to choose and to explain; the create itself is judged by the platform.
		klog.FromContext(ctx).Info("Could not read the list of regions, taking the first one wished", "region", spec.Regions[0], "err", err)
		return spec.Regions[0], nil
	}
	for _, wished := range spec.Regions {
		if slices.Contains(selling, wished) {
			return wished, nil
		}
	}
	return "", s.notSold(spec, selling)
}

// selling lists the regions that sell the type.
func (s *Store) selling(ctx context.Context, t volume.DiskType) ([]string, error) {
	if s.opts.Medium.Sold != nil {
		return s.opts.Medium.Sold(ctx)
	}
	regions, err := s.api.Regions(ctx)
	if err != nil {
		return nil, err
	}
	var selling []string
	for _, r := range regions {
		if r.Sells("block_storage_" + string(blockType(t))) {
			selling = append(selling, strings.ToLower(r.ID))
		}
	}
	slices.Sort(selling)
	return selling, nil
}

func (s *Store) notSold(spec volume.Spec, selling []string) error {
	return volume.Errorf(volume.Exhausted, "region %s does not sell %s %s; regions that do: %s",
		strings.Join(spec.Regions, ", "), spec.Type, s.opts.Medium.words(), strings.Join(selling, ", "))
}

// explainCreate says why the platform refused a create: it names no region in its own words.
func (s *Store) explainCreate(ctx context.Context, spec volume.Spec, region string, cause error) error {
	if err := s.contentLost(ctx, spec, cause); err != nil {
		return err
	}
	if vultr.IsInvalid(cause) {
		if selling, err := s.selling(ctx, spec.Type); err == nil && !slices.Contains(selling, region) {
			return s.notSold(spec, selling)
		}
	}
	return refusal.OfCreate(cause, "creating a %s volume of %d GiB in region %s", spec.Type, spec.SizeGiB, region)
}
