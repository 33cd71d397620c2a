package blockstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Create makes the volume that the spec describes, or finds it, and waits until it can be used. It sends at most
// one create, and only when it is proven that no volume of the name exists.
func (s *Store) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	if err := s.earlierMistake(ctx, spec); err != nil {
		return volume.Volume{}, err
	}
	found, err := s.look(ctx, spec.Name)
	if err != nil {
		return volume.Volume{}, err
	}
	if found != nil {
		return s.adopt(ctx, *found, spec)
	}
	region, err := s.place(ctx, spec)
	if err != nil {
		return volume.Volume{}, err
	}
	made, err := s.api.CreateVolume(ctx, vultr.VolumeRequest{
		Label: spec.Name, Region: region, SizeGB: int(spec.SizeGiB), Type: blockType(spec.Type),
	})
	if vultr.IsOutcomeUnknown(err) {
		return s.afterUnknownCreate(ctx, spec, err)
	}
	if err != nil {
		return volume.Volume{}, s.explainRefusal(ctx, spec, region, err)
	}
	s.guard.Seen(spec.Name)
	if wrong := mistakeIn(made, spec); wrong != nil {
		return volume.Volume{}, s.takeBack(ctx, spec.Name, *wrong)
	}
	s.recent.put(spec.Name, made.ID, time.Now())
	klog.FromContext(ctx).Info("Created volume", "volumeID", made.ID, "name", spec.Name, "region", region, "sizeGiB", spec.SizeGiB, "type", spec.Type)
	return s.adopt(ctx, fromAPI(made), spec)
}

// look finds the volume of a name; nil without an error is the proof that there is none. While a list cannot
// prove it yet, look waits and looks again, until the caller's time is up. Of a name that nobody tried here it is
// likely that there is none, so then it waits first: a look that cannot prove that would be for nothing.
func (s *Store) look(ctx context.Context, name string) (*volume.Volume, error) {
	if id, ok := s.recent.get(name, time.Now()); ok {
		v, err := s.Get(ctx, id)
		if err == nil {
			return &v, nil
		}
		if volume.ReasonOf(err) != volume.NotFound {
			return nil, err
		}
		s.recent.forget(name)
	}
	if unproven := s.absent(ctx, name, time.Now()); unproven != nil && !s.guard.Tried(name) {
		if err := vultr.Settle(ctx, unproven); err != nil {
			klog.FromContext(ctx).V(2).Info("Too little time to prove that there is no such volume, looking for it all the same", "name", name)
		}
	}
	found, err := vultr.Search[vultr.Volume]{
		List:   func(ctx context.Context) (vultr.List[vultr.Volume], error) { return s.api.Volumes(ctx, 0) },
		Match:  func(v vultr.Volume) bool { return v.Label == name },
		Absent: func(listBegan time.Time) error { return s.absent(ctx, name, listBegan) },
	}.Run(ctx)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	s.guard.Seen(name)
	return s.oldest(ctx, found, name), nil
}

// oldest picks the volume that a name means: of several the one that was there first.
func (s *Store) oldest(ctx context.Context, named []vultr.Volume, name string) *volume.Volume {
	matches := make([]volume.Volume, 0, len(named))
	for _, v := range named {
		matches = append(matches, fromAPI(v))
	}
	slices.SortFunc(matches, func(a, b volume.Volume) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	for _, extra := range matches[1:] {
		if !s.duplicates.add(extra.ID) {
			continue
		}
		klog.FromContext(ctx).Info("Found another volume of the same name, the older one is kept",
			"name", name, "volumeID", matches[0].ID, "duplicateID", extra.ID, "duplicateCreated", extra.Created)
	}
	return &matches[0]
}

// adopt checks that the volume is what was asked for and waits until it is usable.
func (s *Store) adopt(ctx context.Context, v volume.Volume, spec volume.Spec) (volume.Volume, error) {
	if differences := compare(v, spec); len(differences) > 0 {
		return volume.Volume{}, volume.Errorf(volume.Exists, "volume %s has the name %q but differs: %s",
			v.ID, spec.Name, strings.Join(differences, "; "))
	}
	s.regions.learn(v.ID, v.Region)
	if v.Ready {
		return v, nil
	}
	ready, err := s.api.WaitVolume(ctx, "create", v.ID, func(v vultr.Volume) (bool, error) { return v.Active(), nil })
	if vultr.IsNotFound(err) {
		s.recent.forget(spec.Name)
		return volume.Volume{}, volume.Errorf(volume.Busy, "volume %s vanished before it became active", v.ID)
	}
	if err != nil {
		return volume.Volume{}, fmt.Errorf("waiting for volume %s to become active: %w", v.ID, err)
	}
	return fromAPI(ready), nil
}

// compare lists in words where the volume is not what the spec asks for.
func compare(v volume.Volume, spec volume.Spec) []string {
	var differences []string
	differ := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	if !spec.Capacity.Holds(v.Bytes()) {
		differ("it has %d bytes, asked for are at least %d and at most %s", v.Bytes(), spec.Capacity.Required, orAny(spec.Capacity.Limit))
	}
	if v.Type != spec.Type {
		differ("it is of type %s, asked for is %s", v.Type, spec.Type)
	}
	if !slices.Contains(spec.Regions, v.Region) {
		differ("it is in region %s, asked for is %s", v.Region, strings.Join(spec.Regions, " or "))
	}
	if v.Source != "" {
		differ("it was made from snapshot %s, asked for is an empty volume", v.Source)
	}
	return differences
}

func orAny(limit int64) string {
	if limit == 0 {
		return "any size"
	}
	return fmt.Sprintf("%d", limit)
}

// place chooses the first of the wished regions that sells the type. Of a single one the platform itself is the judge.
func (s *Store) place(ctx context.Context, spec volume.Spec) (string, error) {
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
	return "", notSold(spec, selling)
}

// selling lists the regions that sell the type.
func (s *Store) selling(ctx context.Context, t volume.DiskType) ([]string, error) {
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

func notSold(spec volume.Spec, selling []string) error {
	return volume.Errorf(volume.Exhausted, "region %s does not sell %s block storage; regions that do: %s",
		strings.Join(spec.Regions, ", "), spec.Type, strings.Join(selling, ", "))
}

// explainRefusal says why the platform refused a create: it names no region in its own words.
func (s *Store) explainRefusal(ctx context.Context, spec volume.Spec, region string, cause error) error {
	if vultr.IsInvalid(cause) {
		if selling, err := s.selling(ctx, spec.Type); err == nil && !slices.Contains(selling, region) {
			return notSold(spec, selling)
		}
	}
	return fmt.Errorf("creating a %s volume of %d GiB in region %s: %w", spec.Type, spec.SizeGiB, region, cause)
}

// afterUnknownCreate looks for the volume of a create that got no answer. Should it prove that nothing was made,
// the next call may create; this one has had its attempt.
func (s *Store) afterUnknownCreate(ctx context.Context, spec volume.Spec, cause error) (volume.Volume, error) {
	s.guard.AttemptEnded(spec.Name)
	klog.FromContext(ctx).Info("The outcome of a create is unknown, looking for the volume", "name", spec.Name, "err", cause)
	found, err := s.look(ctx, spec.Name)
	switch {
	case err != nil:
		return volume.Volume{}, volume.Errorf(volume.Busy, "%w; whether it made the volume is not known yet: %w", cause, err)
	case found == nil:
		return volume.Volume{}, volume.Errorf(volume.Busy, "%w; it made nothing and can be repeated", cause)
	}
	return s.adopt(ctx, *found, spec)
}
