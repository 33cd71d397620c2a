package blockstore

import (
	"context"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// CreateSnapshot makes the snapshot of that name, or finds it. It is made while the disk is in use and holds what was
// written to the disk by then, as after a power failure.
func (s *Store) CreateSnapshot(ctx context.Context, name, volumeID string) (volume.Snapshot, error) {
	description, err := s.describes(ctx, name, volumeID)
	if err != nil {
		return volume.Snapshot{}, err
	}
	told := s.snapshots.Told(description)
	snap, err := s.snapshots.Create(ctx, description, volumeID)
	if err != nil {
		return volume.Snapshot{}, err
	}
	// Kubernetes deletes only what it was told of: it gets the ID first, and the failure with its next call.
	if snap.Failed() && told {
		return volume.Snapshot{}, volume.Errorf(volume.InUse, "the platform says that snapshot %s of volume %s has the state %q: "+
			"it will not be ready. Delete the VolumeSnapshot and make another one", snap.ID, volumeID, snap.State)
	}
	return fromSnapshot(snap), nil
}

// describes returns the description by which the snapshot of a name is made and found: with the cluster's ID, or without it if
// there is one that was made before the cluster had an ID. That is asked until the snapshot is known, which costs a call.
func (s *Store) describes(ctx context.Context, name, volumeID string) (string, error) {
	description := s.opts.Cluster.Label(name)
	switch {
	case description == name || s.snapshots.Told(description):
		return description, nil
	case s.snapshots.Told(name):
		return name, nil
	}
	list, err := s.api.SnapshotsDescribed(ctx, name)
	if err != nil {
		return "", refusal.OfRead(err, "looking for a snapshot %q from before the cluster had an ID", name)
	}
	if !slices.ContainsFunc(list.Items, func(snap vultr.Snapshot) bool { return snap.VolumeID == volumeID }) {
		return description, nil
	}
	// Where several clusters share an account it may be that of another one, which has no ID.
	own, err := s.api.SnapshotsDescribed(ctx, description)
	if err != nil {
		return "", refusal.OfRead(err, "looking for the snapshot %q", description)
	}
	if len(own.Items) > 0 {
		return description, nil
	}
	return name, nil
}

// DeleteSnapshot removes the snapshot, and what was made by mistake beside it.
func (s *Store) DeleteSnapshot(ctx context.Context, id string) error {
	return s.snapshots.DeleteWithTwins(ctx, id)
}

// ReadSnapshot returns one snapshot as it is now.
func (s *Store) ReadSnapshot(ctx context.Context, id string) (volume.Snapshot, error) {
	snap, err := s.snapshots.Read(ctx, id)
	return fromSnapshot(snap), err
}

// Snapshots returns all snapshots of disks, whoever made them.
func (s *Store) Snapshots(ctx context.Context, maxAge time.Duration) ([]volume.Snapshot, error) {
	list, err := s.snapshots.List(ctx, maxAge)
	if err != nil {
		return nil, err
	}
	all := make([]volume.Snapshot, 0, len(list.Items))
	for _, snap := range list.Items {
		if !s.snapshots.IsGone(snap.ID) {
			all = append(all, fromSnapshot(snap))
		}
	}
	return all, nil
}

// unused is the precondition of the delete of a snapshot: no disk is being made from it, by a list that is fresh. Disks
// that were made from it do not need it any more.
func (s *Store) unused(ctx context.Context, id string) error {
	list, err := s.list(ctx, looksFor)
	if err != nil {
		return refusal.OfRead(err, "finding out whether a volume is being made from snapshot %s", id)
	}
	for _, v := range list.Items {
		if d := fromAPI(v); d.Source.Snapshot == id && !d.Ready && !d.isFailed() {
			return volume.Errorf(volume.InUse, "snapshot %s is not deleted while volume %s is being made from it", id, d.ID)
		}
	}
	return nil
}

// fromSnapshot translates a snapshot into the driver's terms.
func fromSnapshot(snap vultr.Snapshot) volume.Snapshot {
	return volume.Snapshot{
		ID: snap.ID, Name: snap.Description, Volume: snap.VolumeID, SizeGiB: volume.WholeGiB(snap.SizeBytes), Created: snap.Created,
		Ready: snap.Complete(), Failed: snap.Failed(), State: snap.State,
	}
}
