// Package volume holds what the driver means by a volume: its values, its errors, and what a kind of storage has to
// offer. It knows neither the Vultr API nor CSI, so that every kind of storage and every service can share it.
package volume

import (
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// GiB is the unit in which the platform sells storage; it calls it GB.
const GiB int64 = 1 << 30

// Kind is what a volume is made of. Its values are those of the StorageClass parameter and publish context key
// "storage_type".
type Kind string

// The kinds of storage that the platform has.
const (
	// Block is a disk that is attached to one instance at a time.
	Block Kind = "block"
	// VFS is a file system that any number of instances can have.
	VFS Kind = "vfs"
)

// DiskType is the medium below a volume.
type DiskType string

// The media that the platform sells.
const (
	NVMe DiskType = "nvme"
	HDD  DiskType = "hdd"
)

// Keys of the publish context. They are the official driver's, because a volume that it attached is staged, unstaged
// and detached by this one after a switch, and the other way round.
const (
	ContextSerial      = "mount_vol_name" // the serial of the device in the guest, or the mount tag
	ContextStorageType = "storage_type"
)

// ContextContentSource says in a volume context and in a publish context what the volume was made from. Such a volume
// must never be formatted. The publish context has it too because a PersistentVolume that was written by hand, or by
// the official driver, lacks it in its volume context.
const ContextContentSource = "block.csi.vultr.com/content-source"

// ContextReadOnly is "true" in the publish context of a volume that was published read-only to the node: nothing may be
// written there, whatever a pod asks for.
const ContextReadOnly = "block.csi.vultr.com/read-only"

// ContextEncryption says in a volume context how what is on the disk is encrypted; a volume without it is not. Its values
// are those of the StorageClass parameter of this name.
const ContextEncryption = "encryption"

// Source is what a volume's content was copied from. The zero value stands for a volume that was made empty.
type Source struct {
	// Snapshot is the ID of a snapshot, Volume that of a volume; at most one is set.
	Snapshot, Volume string
}

// IsZero reports whether the volume was made empty.
func (s Source) IsZero() bool { return s == Source{} }

// String returns the form that contexts carry: "snapshot/<ID>", "volume/<ID>", or "" for an empty volume.
func (s Source) String() string {
	switch {
	case s.Snapshot != "":
		return "snapshot/" + s.Snapshot
	case s.Volume != "":
		return "volume/" + s.Volume
	}
	return ""
}

// Volume is one volume as the platform shows it.
type Volume struct {
	ID      string
	Name    string
	Kind    Kind
	Type    DiskType
	Region  string // lower case
	SizeGiB int64
	Ready   bool
	// AttachedTo are the IDs of the instances that have it.
	AttachedTo []string
	Source     Source
	Created    time.Time
	// MonthlyCost is in dollars, by the platform's own word.
	MonthlyCost float64
}

// Bytes is the size in the unit of CSI.
func (v Volume) Bytes() int64 { return v.SizeGiB * GiB }

// IsAttachedTo reports whether the instance has the volume; "" stands for any instance.
func (v Volume) IsAttachedTo(instance string) bool {
	if instance == "" {
		return len(v.AttachedTo) > 0
	}
	return slices.Contains(v.AttachedTo, instance)
}

// Format is how the file system of a blank volume is to be made. What is 0 is left to the tool.
type Format struct{ BlockSize, InodeSize, BytesPerInode int64 }

// Attachment is a volume as an instance has it.
type Attachment struct {
	Volume Volume
	// Serial is how the guest finds it: the serial of a disk or the mount tag of a file system.
	Serial string
}

// Capacity is the wished range in bytes; a zero bound is no bound.
type Capacity struct {
	Required int64
	Limit    int64
}

// Holds reports whether a volume of the size lies in the range.
func (c Capacity) Holds(bytes int64) bool {
	return bytes >= c.Required && (c.Limit == 0 || bytes <= c.Limit)
}

// ValidID reports whether an ID has the form that the platform gives to volumes and instances, a UUID. An ID of
// another form names nothing that exists, which needs no call to find out.
func ValidID(id string) bool { return vultr.IsID(id) }
