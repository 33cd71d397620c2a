package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/pending"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// sidecarPrefix begins the parameters that the snapshotter adds by itself.
const sidecarPrefix = "csi.storage.k8s.io/"

// CreateSnapshot makes a snapshot of the name, or finds the one that has it. It does not wait until that is ready: the
// snapshotter asks again until it is.
func (s *Service) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	name, source := req.GetName(), platformID(req.GetSourceVolumeId())
	switch {
	case name == "":
		return nil, status.Error(codes.InvalidArgument, "name is missing")
	case len(name) > maxName:
		return nil, status.Errorf(codes.InvalidArgument, "the name has %d bytes, %d are possible", len(name), maxName)
	case source == "":
		return nil, status.Error(codes.InvalidArgument, "source_volume_id is missing")
	case !volume.ValidID(source):
		return nil, status.Errorf(codes.NotFound, "volume %q does not exist: IDs of volumes are UUIDs", req.GetSourceVolumeId())
	}
	if unknown := unknownParameters(req.GetParameters()); len(unknown) > 0 {
		return nil, status.Errorf(codes.InvalidArgument, "a VolumeSnapshotClass has no parameters here, but this one has: %s", strings.Join(unknown, ", "))
	}
	end, err := s.beginSnapshot("name "+name, "CreateSnapshot")
	if err != nil {
		return nil, err
	}
	defer end()
	snap, err := s.snapshot(ctx, name, source)
	if err != nil {
		return nil, asStatus(rpcerr.About(rpcerr.About(err, "volume", source), "snapshot", name))
	}
	s.warnOfSlow(ctx, snap, req)
	return &csi.CreateSnapshotResponse{Snapshot: snapshotToCSI(snap)}, nil
}

func (s *Service) snapshot(ctx context.Context, name, source string) (volume.Snapshot, error) {
	backend, err := s.volumes.Of(ctx, source)
	if volume.ReasonOf(err) == volume.NotFound {
		// A snapshot outlives its volume, and who asks for it once more may have been told that it exists.
		if snapshots, none := s.volumes.Snapshotter(); none == nil {
			return snapshots.CreateSnapshot(ctx, name, source)
		}
	}
	if err != nil {
		return volume.Snapshot{}, err
	}
	snapshotter, ok := backend.(volume.Snapshotter)
	if !ok {
		return volume.Snapshot{}, volume.Errorf(volume.Invalid, "volume %s is of storage type %q, of which there are no snapshots", source, backend.Kind())
	}
	return snapshotter.CreateSnapshot(ctx, name, source)
}

// slowSnapshot is when a snapshot that is not complete is told about. How long one takes depends on how much it copies.
const slowSnapshot = 5 * time.Minute

// warnOfSlow tells the owner of a snapshot how far it is, if it takes long: each call that asks for it succeeds. Of one that failed
// the next call tells.
func (s *Service) warnOfSlow(ctx context.Context, snap volume.Snapshot, req *csi.CreateSnapshotRequest) {
	age := time.Since(snap.Created)
	if snap.Ready || snap.Failed || snap.Created.IsZero() || age < slowSnapshot {
		return
	}
	parameters := req.GetParameters()
	uid := strings.TrimPrefix(req.GetName(), "snapshot-")
	if !volume.ValidID(uid) {
		uid = ""
	}
	about := events.Snapshot(parameters[sidecarPrefix+"volumesnapshot/namespace"], parameters[sidecarPrefix+"volumesnapshot/name"], uid)
	s.warner.Warn(ctx, about, events.SnapshotPending, fmt.Sprintf("Snapshot %s of volume %s is not ready, %s after it was made: its state is %q, and the platform "+
		"says no more of how far it is. It goes on by itself; should it stay so, see the snapshot in the Vultr console", snap.ID, snap.Volume, pending.Step(age), snap.State))
}

func unknownParameters(all map[string]string) []string {
	var unknown []string
	for key := range all {
		if !strings.HasPrefix(key, sidecarPrefix) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// DeleteSnapshot removes a snapshot. One that cannot exist or is proven not to exist is success.
func (s *Service) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	id := platformID(req.GetSnapshotId())
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "snapshot_id is missing")
	}
	if !volume.ValidID(id) {
		return &csi.DeleteSnapshotResponse{}, nil
	}
	end, err := s.beginSnapshot(id, "DeleteSnapshot")
	if err != nil {
		return nil, err
	}
	defer end()
	snapshots, err := s.volumes.Snapshotter()
	if err == nil {
		err = snapshots.DeleteSnapshot(ctx, id)
	}
	if err != nil {
		return nil, asStatus(rpcerr.About(err, "snapshot", id))
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// beginSnapshot claims a snapshot for an operation.
func (s *Service) beginSnapshot(key, operation string) (end func(), err error) {
	end, busyWith := s.busy.Begin("snapshot "+key, operation)
	if busyWith != "" {
		return nil, status.Errorf(codes.Aborted, "%s of snapshot %s is still under way", busyWith, key)
	}
	return end, nil
}

// GetSnapshot reads one snapshot.
func (s *Service) GetSnapshot(ctx context.Context, req *csi.GetSnapshotRequest) (*csi.GetSnapshotResponse, error) {
	if req.GetSnapshotId() == "" {
		return nil, status.Error(codes.InvalidArgument, "snapshot_id is missing")
	}
	snap, err := s.readSnapshot(ctx, req.GetSnapshotId())
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.GetSnapshotResponse{Snapshot: snapshotToCSI(snap)}, nil
}

func (s *Service) readSnapshot(ctx context.Context, id string) (volume.Snapshot, error) {
	if !volume.ValidID(id) {
		return volume.Snapshot{}, volume.Errorf(volume.NotFound, "snapshot %q does not exist: IDs of snapshots are UUIDs", id)
	}
	snapshots, err := s.volumes.Snapshotter()
	if err != nil {
		return volume.Snapshot{}, err
	}
	return snapshots.ReadSnapshot(ctx, platformID(id))
}

// ListSnapshots lists snapshots ordered by ID, whoever made them: all, one, or those of a volume. Its tokens are those of
// ListVolumes.
func (s *Service) ListSnapshots(ctx context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	if req.GetMaxEntries() < 0 {
		return nil, status.Errorf(codes.InvalidArgument, "max_entries is %d, it must not be negative", req.GetMaxEntries())
	}
	after, err := parseToken(req.GetStartingToken())
	if err != nil {
		return nil, err
	}
	all, err := s.wantedSnapshots(ctx, req, after)
	if err != nil {
		return nil, asStatus(err)
	}
	page, more := pageAfter(all, func(snap volume.Snapshot) string { return snap.ID }, after, int(req.GetMaxEntries()))
	resp := &csi.ListSnapshotsResponse{}
	for _, snap := range page {
		resp.Entries = append(resp.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: snapshotToCSI(snap)})
	}
	if more {
		resp.NextToken = token(page[len(page)-1].ID)
	}
	return resp, nil
}

// wantedSnapshots returns what a list asks for, ordered by ID. One snapshot is read by itself: the snapshotter asks so for
// each that was not made by it, and the account may have thousands.
func (s *Service) wantedSnapshots(ctx context.Context, req *csi.ListSnapshotsRequest, after string) ([]volume.Snapshot, error) {
	source := platformID(req.GetSourceVolumeId())
	wanted := func(snap volume.Snapshot) bool { return source == "" || snap.Volume == source }
	if id := req.GetSnapshotId(); id != "" {
		snap, err := s.readSnapshot(ctx, id)
		if volume.ReasonOf(err) == volume.NotFound || err == nil && !wanted(snap) {
			return nil, nil
		}
		return []volume.Snapshot{snap}, err
	}
	snapshots, err := s.volumes.Snapshotter()
	if err != nil {
		return nil, err
	}
	maxAge := time.Duration(0)
	if after != "" {
		maxAge = pageAge
	}
	all, err := snapshots.Snapshots(ctx, maxAge)
	if err != nil {
		return nil, err
	}
	var list []volume.Snapshot
	for _, snap := range all {
		if wanted(snap) {
			list = append(list, snap)
		}
	}
	slices.SortFunc(list, func(a, b volume.Snapshot) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// snapshotToCSI shows a snapshot to the caller.
func snapshotToCSI(snap volume.Snapshot) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId: snap.ID, SourceVolumeId: snap.Volume, SizeBytes: snap.SizeGiB * volume.GiB, ReadyToUse: snap.Ready,
		CreationTime: timestamppb.New(snap.Created),
	}
}
