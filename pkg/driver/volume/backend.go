package volume

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// AccessMode says how many nodes and pods may use a volume at once, and how. It has CSI's meanings.
type AccessMode string

// The access modes.
const (
	SingleNodeWriter       AccessMode = "SINGLE_NODE_WRITER"
	SingleNodeReader       AccessMode = "SINGLE_NODE_READER_ONLY"
	SingleNodeSingleWriter AccessMode = "SINGLE_NODE_SINGLE_WRITER"
	SingleNodeMultiWriter  AccessMode = "SINGLE_NODE_MULTI_WRITER"
	MultiNodeReader        AccessMode = "MULTI_NODE_READER_ONLY"
	MultiNodeSingleWriter  AccessMode = "MULTI_NODE_SINGLE_WRITER"
	MultiNodeMultiWriter   AccessMode = "MULTI_NODE_MULTI_WRITER"
)

// SingleNode reports whether one node at a time may use the volume so.
func (m AccessMode) SingleNode() bool {
	switch m {
	case SingleNodeWriter, SingleNodeReader, SingleNodeSingleWriter, SingleNodeMultiWriter:
		return true
	case MultiNodeReader, MultiNodeSingleWriter, MultiNodeMultiWriter:
	}
	return false
}

// Access is one way in which a volume is to be used.
type Access struct {
	Mode AccessMode
	// Block asks for the raw device, else for a mounted file system.
	Block bool
	// FSType is the file system to mount, "" for the default. Unset with Block.
	FSType string
	// Options are the mount options. Unset with Block.
	Options []string
}

// Faults says what is wrong with each access, by a function that returns "" when nothing is. The error is Invalid and
// names every fault.
func Faults(all []Access, fault func(Access) string) error {
	var faults []string
	for i, a := range all {
		if fault := fault(a); fault != "" {
			faults = append(faults, fmt.Sprintf("volume capability %d: %s", i+1, fault))
		}
	}
	if len(faults) > 0 {
		return Errorf(Invalid, "%s", strings.Join(faults, "; "))
	}
	return nil
}

// Request is what is asked of a new volume, before anybody judged whether it can be had.
type Request struct {
	Name     string
	Type     DiskType
	Capacity Capacity
	Accesses []Access
	// Regions are where the volume may be, the best first; never empty.
	Regions []string
	Source  Source
}

// Spec describes a volume that should exist. Only a backend's Plan makes it.
type Spec struct {
	Name string
	Type DiskType
	// Capacity is what was asked for: an existing volume of this name must lie in it.
	Capacity Capacity
	// SizeGiB is what a new volume gets.
	SizeGiB int64
	// Regions are where the volume may be, the best first; never empty.
	Regions []string
	// Source is what the content is copied from.
	Source Source
}

// Finder recognises the IDs of one kind of storage.
type Finder interface {
	Kind() Kind
	// Has reports whether the ID is a volume of this kind. false is proof that it is none: without proof there is an error.
	Has(ctx context.Context, id string) (bool, error)
}

// Backend is one kind of storage. Its operations may be cut off and repeated at any point, also by another process;
// what a cut-off one did is found out by looking. Every error has a Reason, or is that of the ended context.
type Backend interface {
	Finder
	// Plan judges what is asked for, sizes, access modes and placement, and decides what a new volume will be. It makes
	// no call to the platform. Its error names every fault.
	Plan(r Request) (Spec, error)
	// CheckAccess judges whether volumes of this kind can be used so. The error is Invalid and names every fault. Mount
	// options are left to CheckOptions: a volume that exists may have some that were possible when it was made, or that only
	// its node can judge.
	CheckAccess(all []Access) error
	// CheckOptions judges mount options, before they are written down for good. The error is as CheckAccess's.
	CheckOptions(all []Access) error
	// Create makes the volume that a spec describes, or finds it, and waits until it can be used.
	Create(ctx context.Context, s Spec) (Volume, error)
	// Delete removes the volume. An attached one is InUse and stays. One that does not exist is success, and NotFound if it
	// was never seen as a volume of this kind: both are proven by the platform's answer to the delete itself.
	Delete(ctx context.Context, id string) error
	// Attach gives the volume to the instance and waits until the platform shows it there.
	Attach(ctx context.Context, id, instance string) (Attachment, error)
	// Detach takes the volume from the instance, "" for every one that has it, and waits until the platform shows that.
	// It is success when it is proven that the instance does not have it.
	Detach(ctx context.Context, id, instance string) error
	// Expand grows the volume into the range, if it is smaller. nodeStep reports whether the node has work left to do.
	Expand(ctx context.Context, id string, c Capacity) (v Volume, nodeStep bool, err error)
	// Read returns one volume as it is now.
	Read(ctx context.Context, id string) (Volume, error)
	// List returns all volumes of the kind in any order. maxAge says how old the answer may be.
	List(ctx context.Context, maxAge time.Duration) ([]Volume, error)
}

// BareLister is a Backend for which it costs a call for each volume to tell which instances have it.
type BareLister interface {
	// ListBare is List without the instances.
	ListBare(ctx context.Context, maxAge time.Duration) ([]Volume, error)
}

// Sharer is a Backend whose volumes several instances can have at once.
type Sharer interface {
	// AttachAlone is Attach for an instance that is to have the volume for itself. The error is InUse when another one has it,
	// also one that gets it while the order waits for its turn.
	AttachAlone(ctx context.Context, id, instance string) (Attachment, error)
}

// Snapshot is the content of a volume at one moment.
type Snapshot struct {
	ID      string
	Name    string
	Volume  string // the ID of the volume, which may be gone
	SizeGiB int64  // of the volume
	Created time.Time
	Ready   bool   // whether volumes can be made from it
	Failed  bool   // whether it will never be ready
	State   string // in the platform's words
}

// Snapshotter is a Backend that has snapshots. Its Create accepts a Source with a Snapshot.
type Snapshotter interface {
	// CreateSnapshot makes the snapshot of that name, or finds it. It does not wait until that is ready. Its ID is the same
	// whenever it is asked for.
	CreateSnapshot(ctx context.Context, name, volumeID string) (Snapshot, error)
	// DeleteSnapshot removes the snapshot. One from which a volume is being made is InUse. One that is proven not to exist is
	// success.
	DeleteSnapshot(ctx context.Context, id string) error
	// ReadSnapshot returns one snapshot as it is now. NotFound is proof that it does not exist.
	ReadSnapshot(ctx context.Context, id string) (Snapshot, error)
	// Snapshots returns all snapshots in any order. maxAge says how old the answer may be.
	Snapshots(ctx context.Context, maxAge time.Duration) ([]Snapshot, error)
}

// Cloner is a Backend whose Create accepts a Source with a Volume.
type Cloner interface {
	// CheckClone judges whether the volume can be a source. Create does so before it makes anything.
	CheckClone(ctx context.Context, id string) error
}

// Modifier is a Backend whose volumes have properties that can change while they are in use.
type Modifier interface {
	// CheckModify judges mutable parameters, of a volume that is to be made for the name, or of one that is there if that is
	// "". The error is Invalid and names every fault.
	CheckModify(name string, parameters map[string]string) error
	// Modify gives the volume the properties. It is success when the volume has them already.
	Modify(ctx context.Context, id string, parameters map[string]string) error
}

// Offer is what a new volume can be in a place. The zero value says that nothing is sold there.
type Offer struct {
	MinGiB, MaxGiB int64 // of one volume
}

// Unbounded is the MaxGiB of an Offer whose largest size is not known.
const Unbounded = math.MaxInt64 / GiB

// Seller is a Backend that knows where the platform sells what. Of a kind that does not, the platform's answer to a
// create is the only judge.
type Seller interface {
	// Offer returns what a new volume of the type can be in the region, "" for whichever sells most. The answer can be
	// some minutes old.
	Offer(ctx context.Context, t DiskType, region string) (Offer, error)
}
