package simulator

import (
	"net/http"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// block is one block storage volume.
type block struct {
	head
	Label    string `json:"label"`
	Region   string `json:"region"`
	SizeGB   int    `json:"size_gb"`
	Type     string `json:"type"`
	OSID     int    `json:"os_id"`
	Bootable bool   `json:"bootable"`
	Active   bool   `json:"active"`
	// SnapshotID is the block snapshot that the volume was made from, "" for none.
	SnapshotID string `json:"snapshot_id,omitempty"`
	// Failure says why the volume could not be made and never will be.
	Failure string `json:"failure,omitempty"`
	// AttachedTo is the instance that the API shows, also for a while after that instance is gone.
	AttachedTo string `json:"attached_to,omitempty"`
	// Op is an attach or detach that was accepted and is not visible yet.
	Op *blockOp `json:"op,omitempty"`
	// Holder names what kept the disk from being unplugged at the last try.
	Holder string `json:"holder,omitempty"`
}

// blockOp is an attach or a detach under way.
type blockOp struct {
	Kind     string `json:"kind"` // opAttach, opDetach, opLinger
	Instance string `json:"instance"`
	Live     bool   `json:"live"`
}

const (
	opAttach = "attach"
	opDetach = "detach"
	// opLinger is the detach that the destruction of the instance began.
	opLinger = "linger"
)

const (
	highPerf   = "high_perf"
	storageOpt = "storage_opt"
)

var blockRoutes = []route{
	{method: "GET", path: "/v2/blocks", operation: "list_blocks", handle: (*Simulator).listBlocks},
	{method: "POST", path: "/v2/blocks", operation: "create_block", handle: (*Simulator).createBlock},
	{method: "GET", path: "/v2/blocks/{id}", operation: "get_block", handle: (*Simulator).getBlock},
	{method: "PATCH", path: "/v2/blocks/{id}", operation: "update_block", handle: (*Simulator).updateBlock},
	{method: "DELETE", path: "/v2/blocks/{id}", operation: "delete_block", handle: (*Simulator).deleteBlock},
	{method: "POST", path: "/v2/blocks/{id}/attach", operation: "attach_block", handle: (*Simulator).attachBlock},
	{method: "POST", path: "/v2/blocks/{id}/detach", operation: "detach_block", handle: (*Simulator).detachBlock},
}

var errNoBlock = wire.NotFound("Invalid block storage ID.")

// mountID is the serial of the volume's device: the region and the first 14 hex digits of the UUID.
func (b block) mountID() string {
	return b.Region + "-" + strings.ReplaceAll(b.ID, "-", "")[:14]
}

func (b block) sizeBytes() int64 { return int64(b.SizeGB) << 30 }

// monthlyCost is in dollars: one per 10 GB of NVMe, a quarter of that for HDD.
func (b block) monthlyCost() float64 {
	if b.Type == storageOpt {
		return float64(b.SizeGB) * 0.025
	}
	return float64(b.SizeGB) * 0.1
}

// blockBody is a volume as the API shows it.
type blockBody struct {
	ID                      string  `json:"id"`
	DateCreated             string  `json:"date_created"`
	Cost                    float64 `json:"cost"`
	PendingCharges          float64 `json:"pending_charges"`
	Status                  string  `json:"status"`
	SizeGB                  int     `json:"size_gb"`
	Region                  string  `json:"region"`
	AttachedToInstance      string  `json:"attached_to_instance"`
	AttachedToInstanceIP    string  `json:"attached_to_instance_ip"`
	AttachedToInstanceLabel string  `json:"attached_to_instance_label"`
	Label                   string  `json:"label"`
	MountID                 string  `json:"mount_id"`
	BlockType               string  `json:"block_type"`
	OSID                    int     `json:"os_id"`
	SnapshotID              string  `json:"snapshot_id"`
	Bootable                bool    `json:"bootable"`
}

func (s *Simulator) showBlock(b block) any {
	out := blockBody{
		ID: b.ID, DateCreated: wire.Time(b.Created), Cost: b.monthlyCost(), PendingCharges: 0.01, Status: "pending",
		SizeGB: b.SizeGB, Region: b.Region, AttachedToInstance: b.AttachedTo, Label: b.Label, MountID: b.mountID(),
		BlockType: b.Type, OSID: b.OSID, SnapshotID: "0", Bootable: b.Bootable,
	}
	switch {
	case b.Failure != "":
		out.Status = "error" // the platform's word is unknown
	case b.Active:
		out.Status = "active"
	}
	if i, ok := s.instances.Get(b.AttachedTo); ok {
		out.AttachedToInstanceIP, out.AttachedToInstanceLabel = i.MainIP, i.Label
	}
	if !s.keeps(quirkMountID) {
		out.MountID = b.ID
	}
	switch {
	case b.SnapshotID != "":
		out.SnapshotID = b.SnapshotID
	case !s.keeps(quirkSnapshotZero):
		out.SnapshotID = ""
	}
	return out
}

func (s *Simulator) listBlocks(c *call) (int, any, error) {
	return list(s, c, "blocks", s.blocks.All(), everything, s.showBlock)
}

func (s *Simulator) getBlock(c *call) (int, any, error) {
	b, ok := s.blocks.Get(c.id())
	if !ok {
		return 0, nil, errNoBlock
	}
	return http.StatusOK, map[string]any{"block": s.showBlock(b)}, nil
}

func (s *Simulator) createBlock(c *call) (int, any, error) {
	var req createBlockRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	b, bad := s.newBlock(req)
	if bad != nil {
		return 0, nil, bad
	}
	err := s.update(func(tx *store.Tx) error {
		if !s.keeps(quirkSameLabels) {
			for _, other := range s.blocks.AllIn(tx) {
				if other.Label == b.Label {
					return ours("Label is already in use.")
				}
			}
		}
		if b.SnapshotID != "" {
			if bad := s.mayRestore(tx, b); bad != nil {
				return bad
			}
		}
		b.Active = !s.keeps(quirkAsynchronous)
		s.blocks.Put(tx, b.ID, b)
		s.schedule(tx, jobBlockActivate, b.ID, b.SnapshotID, s.cfg.Delays.BlockCreate)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"block": s.showBlock(b)}, nil
}

func (s *Simulator) updateBlock(c *call) (int, any, error) {
	var req updateBlockRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	return s.writeBlock(c, func(tx *store.Tx, old block) error {
		b, bad := s.changedBlock(old, req)
		if bad != nil {
			return bad
		}
		s.blocks.Put(tx, b.ID, b)
		if b.SizeGB != old.SizeGB {
			s.schedule(tx, jobBlockGrow, b.ID, "", 0)
		}
		return nil
	})
}

func (s *Simulator) deleteBlock(c *call) (int, any, error) {
	return s.writeBlock(c, func(tx *store.Tx, b block) error {
		if (b.AttachedTo != "" || b.Op != nil) && s.keeps(quirkDeleteInUse) {
			return ours("Block storage must be detached from its server before it can be deleted.")
		}
		s.blocks.Delete(tx, b.ID)
		s.scheduleSettle(tx, jobDiskSettle, b.ID)
		return nil
	})
}

// writeBlock changes the volume that the request names and answers nothing but that it was done.
func (s *Simulator) writeBlock(c *call, change func(tx *store.Tx, b block) error) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		b, ok := s.blocks.GetIn(tx, c.id())
		if !ok {
			return errNoBlock
		}
		return change(tx, b)
	})
	return s.noContent(), nil, err
}

// accepted is the status of creates that take time, created of others, noContent of other writes.
func (s *Simulator) accepted() int {
	if !s.keeps(quirkStatusCodes) {
		return http.StatusOK
	}
	return http.StatusAccepted
}

func (s *Simulator) created() int {
	if !s.keeps(quirkStatusCodes) {
		return http.StatusOK
	}
	return http.StatusCreated
}

func (s *Simulator) noContent() int {
	if !s.keeps(quirkStatusCodes) {
		return http.StatusOK
	}
	return http.StatusNoContent
}
