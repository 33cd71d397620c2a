package simulator

import (
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// createBlockRequest is the body of a create. Fields that clients send as null are read as missing.
type createBlockRequest struct {
	Region     string `json:"region"`
	SizeGB     int    `json:"size_gb"`
	Label      string `json:"label"`
	BlockType  string `json:"block_type"`
	SnapshotID string `json:"snapshot_id"`
	OSID       int    `json:"os_id"`
	Bootable   bool   `json:"bootable"`
}

type updateBlockRequest struct {
	Label  *string `json:"label"`
	SizeGB *int    `json:"size_gb"`
}

const (
	minHighPerf = 10
	maxHighPerf = 10000
)

// blockSizes are the smallest and the largest size in GB of each type.
var blockSizes = map[string][2]int{highPerf: {minHighPerf, maxHighPerf}, storageOpt: {40, 40000}}

// sizesOf are those of one type in this cloud; false for an unknown type.
func (s *Simulator) sizesOf(blockType string) ([2]int, bool) {
	bounds, ok := blockSizes[blockType]
	if blockType == highPerf {
		bounds[0] = s.cfg.MinHighPerfGB
	}
	return bounds, ok
}

// blockOptions are the region options that sell each type.
var blockOptions = map[string]string{highPerf: optionHighPerf, storageOpt: optionStorageOpt}

func (s *Simulator) newBlock(req createBlockRequest) (block, *wire.Error) {
	if req.BlockType == "" {
		req.BlockType = highPerf
	}
	bounds, ok := s.sizesOf(req.BlockType)
	if !ok {
		return block{}, ours("Invalid block_type.")
	}
	r, ok := findRegion(req.Region)
	if !ok {
		return block{}, ours("Invalid region.")
	}
	if !r.sells(blockOptions[req.BlockType]) && s.keeps(quirkRegionOptions) {
		return block{}, ours("Block storage of type %s is not available in this region.", req.BlockType)
	}
	if (req.SizeGB < bounds[0] || req.SizeGB > bounds[1]) && s.keeps(quirkSizeBounds) {
		return block{}, ours("Invalid size_gb: must be between %d and %d.", bounds[0], bounds[1])
	}
	b := block{
		head: s.newHead(), Label: req.Label, Region: req.Region, SizeGB: req.SizeGB, Type: req.BlockType,
		OSID: req.OSID, Bootable: req.Bootable,
	}
	if req.SnapshotID != "" && req.SnapshotID != noSnapshot {
		b.SnapshotID, b.OSID = req.SnapshotID, osSnapshot
	}
	return b, nil
}

// changedBlock is the volume after an update, or why it is refused.
func (s *Simulator) changedBlock(b block, req updateBlockRequest) (block, *wire.Error) {
	old := b
	if req.Label != nil {
		b.Label = *req.Label
	}
	if req.SizeGB != nil {
		b.SizeGB = *req.SizeGB
	}
	if b.Label == old.Label && b.SizeGB == old.SizeGB && s.keeps(quirkNothing) {
		return b, wire.BadRequest("Nothing to change")
	}
	if b.SizeGB < old.SizeGB && s.keeps(quirkGrowOnly) {
		return b, ours("Block storage can not be made smaller.")
	}
	if b.SizeGB > blockSizes[b.Type][1] && s.keeps(quirkSizeBounds) {
		return b, ours("Invalid size_gb: must be between %d and %d.", blockSizes[b.Type][0], blockSizes[b.Type][1])
	}
	return b, nil
}

// maxVolumes is how many block storage volumes one instance takes.
const maxVolumes = 16

// attachTarget is what an attach has to know of the server that it names.
type attachTarget struct {
	server  instance
	exists  bool
	isMetal bool
	volumes int // attached or being attached
}

// mayAttach judges an attach.
func (s *Simulator) mayAttach(b block, t attachTarget) *wire.Error {
	switch {
	case b.Op != nil && b.Op.Kind == opLinger:
		// Seen on re-attach after the old instance was destroyed.
		return wire.BadRequest("Nothing to change")
	case (b.AttachedTo != "" || b.Op != nil) && s.keeps(quirkSingleAttach):
		return wire.BadRequest("Block storage volume is already attached to a server")
	case !b.Active:
		return ours("Block storage volume is currently locked")
	}
	return s.takesVolume(b, t)
}

// takesVolume judges the server's side of an attach.
func (s *Simulator) takesVolume(b block, t attachTarget) *wire.Error {
	switch {
	case t.isMetal && s.keeps(quirkNoBareMetal):
		return ours("Block storage can not be attached to a bare metal server.")
	case !t.exists && !t.isMetal:
		return wire.NotFound("Invalid instance-id.")
	case t.server.Deleting:
		return wire.BadRequest("Server is pending destruction")
	case t.exists && t.server.Region != b.Region && s.keeps(quirkSameRegion):
		return ours("Block storage and server must be in the same region.")
	case t.server.locked() && s.keeps(quirkLockedWindow):
		return wire.BadRequest("Server is currently locked")
	case t.volumes >= maxVolumes && s.keeps(quirkSixteen):
		return ours("Server has the maximum number of block storage volumes attached.")
	}
	return nil
}

// mayDetach judges a detach.
func (s *Simulator) mayDetach(b block, server instance) *wire.Error {
	switch {
	case b.Op != nil && b.Op.Kind == opAttach:
		return wire.BadRequest("Unable to detach block storage")
	case (b.AttachedTo == "" || b.Op != nil) && s.keeps(quirkSingleAttach):
		return wire.BadRequest("Block storage volume is not currently attached to a server")
	case server.Deleting:
		return wire.BadRequest("Server is pending destruction")
	case server.locked() && s.keeps(quirkLockedWindow):
		return wire.BadRequest("Server is currently locked")
	}
	return nil
}
