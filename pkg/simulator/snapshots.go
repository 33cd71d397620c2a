package simulator

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// blockSnapshot is a snapshot of one block storage volume. It outlives the volume and is outlived by what is made from
// it.
type blockSnapshot struct {
	head
	BlockID     string    `json:"block_id"`
	Description string    `json:"description"`
	SizeGB      int       `json:"size_gb"`
	State       string    `json:"state"`
	Updated     time.Time `json:"updated"`
	// Failure says why the snapshot could not be taken and never will be.
	Failure string `json:"failure,omitempty"`
}

// The states of block snapshots. Only snapshotComplete was seen of the platform; its words for the others are unknown.
const (
	snapshotPending  = "PENDING"
	snapshotComplete = "COMPLETE"
	snapshotError    = "ERROR"
)

// noSnapshot is the snapshot_id of a volume that was not made from one.
const noSnapshot = "0"

var snapshotRoutes = []route{
	{method: "GET", path: "/v2/blocks/snapshots", operation: "list_block_snapshots", handle: (*Simulator).listSnapshots},
	{method: "POST", path: "/v2/blocks/snapshots", operation: "create_block_snapshot", handle: (*Simulator).createSnapshot},
	{method: "GET", path: "/v2/blocks/snapshots/{id}", operation: "get_block_snapshot", handle: (*Simulator).getSnapshot},
	{method: "PUT", path: "/v2/blocks/snapshots/{id}", operation: "update_block_snapshot", handle: (*Simulator).updateSnapshot},
	{method: "DELETE", path: "/v2/blocks/snapshots/{id}", operation: "delete_block_snapshot", handle: (*Simulator).deleteSnapshot},
}

// The status was seen; the text is unknown.
var errNoSnapshot = wire.NotFound("Invalid block storage snapshot ID.")

func (s blockSnapshot) sizeBytes() int64 { return int64(s.SizeGB) << 30 }

// snapshotBody is a block snapshot as the API shows it.
type snapshotBody struct {
	ID               string `json:"id"`
	BlockID          string `json:"block_id"`
	Description      string `json:"description"`
	State            string `json:"state"`
	AddedAt          string `json:"added_at"`
	UpdatedAt        string `json:"updated_at"`
	Size             int64  `json:"size"` // bytes
	NextInvoiceDate  string `json:"next_invoice_date"`
	NextInvoicePrice string `json:"next_invoice_price"`
}

func (s *Simulator) showSnapshot(snap blockSnapshot) any {
	out := snapshotBody{
		ID: snap.ID, BlockID: snap.BlockID, Description: snap.Description, State: snap.State,
		AddedAt: s.snapshotTime(snap.Created), UpdatedAt: s.snapshotTime(snap.Updated), Size: snap.sizeBytes(),
	}
	if !s.keeps(quirkSnapBytes) {
		out.Size = int64(snap.SizeGB)
	}
	return out
}

// snapshotTime is the form of dates that this one resource has.
func (s *Simulator) snapshotTime(t time.Time) string {
	if !s.keeps(quirkSnapDates) {
		return wire.Time(t)
	}
	return t.UTC().Format(time.DateTime)
}

// bare answers a single snapshot without an object around it, or in one of that name where this cloud is to follow the
// official specification.
func (s *Simulator) bare(name string, snap blockSnapshot) any {
	if s.cfg.WrapSnapshots || !s.keeps(quirkSnapBare) {
		return map[string]any{name: s.showSnapshot(snap)}
	}
	return s.showSnapshot(snap)
}

func (s *Simulator) listSnapshots(c *call) (int, any, error) {
	// That the filter is exact, as those of instances are, is an assumption.
	wanted := c.req.URL.Query().Get("description")
	match := func(snap blockSnapshot) bool {
		return wanted == "" || snap.Description == wanted || !s.keeps(quirkSnapFilter)
	}
	return list(s, c, "snapshots", s.snapshots.All(), match, s.showSnapshot)
}

func (s *Simulator) getSnapshot(c *call) (int, any, error) {
	snap, ok := s.snapshots.Get(c.id())
	if !ok {
		return 0, nil, errNoSnapshot
	}
	return http.StatusOK, s.bare("snapshot", snap), nil
}

type snapshotRequest struct {
	BlockID     string `json:"block_id"`
	Description string `json:"description"`
}

func (s *Simulator) createSnapshot(c *call) (int, any, error) {
	var req snapshotRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	snap := blockSnapshot{head: s.newHead(), BlockID: req.BlockID, Description: req.Description, State: snapshotPending}
	snap.Updated = snap.Created
	if !s.keeps(quirkSnapPending) {
		snap.State = snapshotComplete
	}
	err := s.update(func(tx *store.Tx) error {
		b, bad := s.maySnapshot(tx, req)
		if bad != nil {
			return bad
		}
		snap.SizeGB = b.SizeGB
		s.snapshots.Put(tx, snap.ID, snap)
		// The data is copied at once, and in the order of what else is asked of the volume; only the word that it is
		// there takes its time.
		s.schedule(tx, jobSnapshotCut, snap.ID, "", 0, b.ID)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	// The name is the specification's own.
	return s.created(), s.bare("block", snap), nil
}

// maySnapshot judges the request for a snapshot. Its texts are unknown.
func (s *Simulator) maySnapshot(tx *store.Tx, req snapshotRequest) (block, *wire.Error) {
	if err := uuid.Validate(req.BlockID); err != nil {
		return block{}, ours("Invalid block_id.")
	}
	if req.Description == "" {
		return block{}, ours("Invalid description: it must not be empty.")
	}
	b, ok := s.blocks.GetIn(tx, req.BlockID)
	switch {
	case !ok:
		return block{}, errNoBlock
	case !b.Active:
		return block{}, ours("Block storage volume is currently locked")
	}
	return b, nil
}

func (s *Simulator) updateSnapshot(c *call) (int, any, error) {
	var req snapshotRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.update(func(tx *store.Tx) error {
		snap, ok := s.snapshots.GetIn(tx, c.id())
		switch {
		case !ok:
			return errNoSnapshot
		case req.Description == "":
			return ours("Invalid description: it must not be empty.")
		}
		snap.Description, snap.Updated = req.Description, time.Now()
		s.snapshots.Put(tx, snap.ID, snap)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteSnapshot(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		snap, ok := s.snapshots.GetIn(tx, c.id())
		if !ok {
			return errNoSnapshot
		}
		s.snapshots.Delete(tx, snap.ID)
		if !s.keeps(quirkSnapOutlives) {
			for id, b := range s.blocks.AllIn(tx) {
				if b.SnapshotID == snap.ID {
					s.blocks.Delete(tx, id)
					s.scheduleSettle(tx, jobDiskSettle, id)
				}
			}
		}
		s.scheduleSettle(tx, jobSnapshotSettle, snap.ID)
		return nil
	})
	return s.noContent(), nil, err
}

// mayRestore judges a volume that is to be made from a snapshot. That only a snapshot of the same account and of any
// region will do is an assumption: the platform's documents say nothing of regions.
func (s *Simulator) mayRestore(tx *store.Tx, b block) *wire.Error {
	snap, ok := s.snapshots.GetIn(tx, b.SnapshotID)
	switch {
	case !ok:
		return ours("Invalid snapshot ID.")
	case !s.keeps(quirkSnapRestore):
		return nil
	case snap.State != snapshotComplete:
		// What the platform says of an instance's snapshot.
		return ours("Snapshot cannot be used at this time")
	case b.Type != highPerf:
		return ours("Block storage of type %s can not be made from a snapshot.", b.Type)
	case b.SizeGB < snap.SizeGB:
		return ours("Invalid size_gb: must be at least %d, the size of the snapshot.", snap.SizeGB)
	}
	return nil
}
