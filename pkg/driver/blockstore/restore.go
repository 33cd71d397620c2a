package blockstore

import (
	"context"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blocksnap"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// hasContent reports whether what a volume was made from can be what is asked for. The platform tells only the snapshot;
// of which volume that was is for clone to say.
func hasContent(v volume.Volume, asked volume.Source) bool {
	if asked.Volume != "" {
		return v.Source.Snapshot != ""
	}
	return v.Source == asked
}

// withContent returns the spec of the volume that is to be made: where the content comes from a snapshot or a volume, with
// the snapshot that has it, and the size and region that follow from it.
func (s *Store) withContent(ctx context.Context, spec volume.Spec) (volume.Spec, error) {
	switch {
	case spec.Source.IsZero():
		return spec, nil
	case spec.Source.Volume != "":
		return s.withCopy(ctx, spec)
	}
	snap, err := s.snapshots.Restorable(ctx, spec.Source.Snapshot)
	if err != nil {
		return volume.Spec{}, err
	}
	if snap.Failed() {
		return volume.Spec{}, volume.Errorf(volume.InUse, "no volume can be made from snapshot %s: the platform says that it has the state %q, and it will not be ready. "+
			"Make the volume from another one", snap.ID, snap.State)
	}
	if !snap.Complete() {
		return volume.Spec{}, notReady(snap)
	}
	return fit(spec, fromSnapshot(snap).SizeGiB, s.regionOf(ctx, snap.VolumeID))
}

func notReady(snap vultr.Snapshot) error {
	return volume.Errorf(volume.Busy, "no volume can be made from snapshot %s yet, its state is %q%s", snap.ID, snap.State, blocksnap.Age(snap))
}

// regionOf returns the region in which a disk is, or "" when that is not known, as when it is gone. The platform tells
// nothing of the region of a snapshot.
func (s *Store) regionOf(ctx context.Context, id string) string {
	if region := s.places.of(id); region != "" {
		return region
	}
	list, err := s.list(ctx, knownFor)
	if err != nil {
		return "" // the platform judges the region by itself
	}
	for _, v := range list.Items {
		if v.ID == id {
			s.places.learn(id, fromAPI(v).Region)
			return fromAPI(v).Region
		}
	}
	return ""
}

// fit chooses the size of a volume that is to hold a content of the size, and the region, "" for whichever is wished.
func fit(spec volume.Spec, sizeGiB int64, region string) (volume.Spec, error) {
	if region != "" {
		if !slices.Contains(spec.Regions, region) {
			return volume.Spec{}, volume.Errorf(volume.Exhausted, "%s is in region %s, where the volume that is made from it will be; asked for is region %s",
				spec.Source, region, strings.Join(spec.Regions, " or "))
		}
		spec.Regions = []string{region}
	}
	least := sizeGiB * volume.GiB
	if limit := spec.Capacity.Limit; limit != 0 && limit < least {
		return volume.Spec{}, volume.Errorf(volume.OutOfRange, "%s has %d bytes, which is more than the limit of %d bytes", spec.Source, least, limit)
	}
	size, err := roundUp(spec.Type, volume.Capacity{Required: max(spec.Capacity.Required, least), Limit: spec.Capacity.Limit})
	if err != nil {
		return volume.Spec{}, err
	}
	spec.SizeGiB = size
	return spec, nil
}

// contentLost looks at the snapshot after the platform has refused to make a volume from it: it may be gone by now, or
// not be complete after all. nil explains nothing.
func (s *Store) contentLost(ctx context.Context, spec volume.Spec, cause error) error {
	id := spec.Source.Snapshot
	if id == "" || !vultr.IsInvalid(cause) && !vultr.IsNotFound(cause) {
		return nil
	}
	if vultr.IsSnapshotNotReady(cause) {
		return volume.Errorf(volume.Busy, "no volume can be made from snapshot %s yet: %w", id, cause)
	}
	snap, err := s.snapshots.Read(ctx, id)
	switch {
	case volume.ReasonOf(err) == volume.NotFound && s.clones.copyOf(id) != "":
		return volume.Errorf(volume.Busy, "the temporary snapshot %s is gone, another one is made: %w", id, cause)
	case err != nil:
		return err
	case !snap.Complete():
		return notReady(snap)
	}
	return nil
}
