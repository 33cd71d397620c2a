package vultr

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

var opWaitSnapshot = operation{name: "wait_block_snapshot", words: "wait for block snapshot", method: http.MethodGet}

// The API's description wraps a new snapshot as "block" and a read one as "snapshot"; govultr and its tests know them
// unwrapped. A volume comes as "block" too, but has no block_id.
var snapshots = resource[govultr.BlockStorageSnapshot, Snapshot]{
	path: blocksPath + "/snapshots", one: []string{"snapshot", "block"}, many: "snapshots",
	ops: operationsOn("block_snapshot", "block_snapshots", "block snapshot", "block snapshots"),
	id:  func(s Snapshot) string { return s.ID }, domain: snapshotOf,
}

// opUpdateSnapshot replaces the description: of all kinds this one takes a PUT.
var opUpdateSnapshot = operation{name: "update_block_snapshot", words: "change block snapshot", method: http.MethodPut}

// Snapshot is the content of a block storage volume at one moment. It outlives the volume.
type Snapshot struct {
	ID          string // UUID
	VolumeID    string // the volume it was taken from, which may be gone
	Description string // not unique on the platform
	State       string // "PENDING", "COMPLETE", and what the platform may add
	SizeBytes   int64  // of the volume: the least that a volume made from it must have
	Created     time.Time
	Updated     time.Time
}

// Complete reports whether volumes can be made from the snapshot.
func (s Snapshot) Complete() bool { return strings.EqualFold(s.State, "complete") }

// Failed reports whether the platform says that the snapshot could not be taken. Its words for that are not documented;
// these say by themselves that waiting is of no use.
func (s Snapshot) Failed() bool {
	return strings.EqualFold(s.State, "error") || strings.EqualFold(s.State, "failed")
}

// IsSnapshotNotReady reports whether a volume could not be made because the snapshot is not complete. The text is that for
// snapshots of instances (terraform-provider-vultr); the one for block snapshots is unknown.
func IsSnapshotNotReady(err error) bool { return says(err, "snapshot cannot be used at this time") }

// Snapshot reads one block snapshot. Only its IsNotFound proves that it does not exist.
func (c *Client) Snapshot(ctx context.Context, id string) (Snapshot, error) {
	return snapshots.read(ctx, c, id)
}

// Snapshots lists all block snapshots of the account. The list is shared: its items must not be changed. With maxAge 0
// it began after the call, else it can be up to maxAge old.
func (c *Client) Snapshots(ctx context.Context, maxAge time.Duration) (List[Snapshot], error) {
	return sharedList(ctx, c.snapshots, snapshots.ops.list, maxAge)
}

// SnapshotsDescribed lists the block snapshots with exactly that description, by the API's own filter. It began after
// the call.
func (c *Client) SnapshotsDescribed(ctx context.Context, description string) (List[Snapshot], error) {
	list := List[Snapshot]{Began: time.Now()}
	all, err := snapshots.all(ctx, c, url.Values{"description": {description}})
	if err != nil {
		return List[Snapshot]{}, ended(snapshots.ops.list, err)
	}
	for _, s := range all {
		// Nothing says how exactly the filter compares, nor that every part of the platform knows it.
		if s.Description == description {
			list.Items = append(list.Items, s)
		}
	}
	return list, nil
}

// CreateSnapshot asks for a snapshot of a volume, which is complete some seconds later. The request is sent once, and
// again only after the API refused it for its rate. With IsOutcomeUnknown it may exist: look for its description, and
// mind SettleGuard.
func (c *Client) CreateSnapshot(ctx context.Context, volumeID, description string) (Snapshot, error) {
	if err := checkID(snapshots.ops.create, volumeID); err != nil {
		return Snapshot{}, err
	}
	body := &govultr.BlockStorageSnapshotReq{BlockID: volumeID, Description: description}
	s, err := snapshots.make(ctx, c, description, body)
	if err != nil {
		return Snapshot{}, err
	}
	if s.VolumeID != volumeID {
		// An answer about something else: what was made is unknown.
		return Snapshot{}, missing(snapshots.ops.create, description)
	}
	// By the API's description this answer, alone of all, lacks the description.
	s.Description = orDefault(s.Description, description)
	return s, nil
}

// DescribeSnapshot replaces the description of a block snapshot.
func (c *Client) DescribeSnapshot(ctx context.Context, id, description string) error {
	return snapshots.change(ctx, c, opUpdateSnapshot, id, "", map[string]string{"description": description})
}

// WaitSnapshotListed waits for a block snapshot as WaitListed does for a volume.
func (c *Client) WaitSnapshotListed(ctx context.Context, op, id string, missing time.Duration, done func(Snapshot) (bool, error)) (Snapshot, List[Snapshot], error) {
	return awaitListed(ctx, c, snapshots, c.snapshots, wait[Snapshot]{op: opWaitSnapshot, resource: id, lesson: op, done: done}, missing)
}

// DeleteSnapshot deletes a block snapshot; volumes that were made from it stay. IsNotFound means what it means for DeleteVolume.
func (c *Client) DeleteSnapshot(ctx context.Context, id string, preconditions ...Precondition) error {
	return snapshots.remove(ctx, c, id, preconditions...)
}

func snapshotOf(s govultr.BlockStorageSnapshot) Snapshot {
	return Snapshot{
		ID: s.ID, VolumeID: s.BlockID, Description: s.Description, State: s.State, SizeBytes: int64(s.Size),
		Created: parseTime(s.DateCreated), Updated: parseTime(s.DateUpdated),
	}
}
