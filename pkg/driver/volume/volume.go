// Package volume holds what the driver means by a volume: its values and its errors.
// It knows neither the Vultr API nor CSI, so that every kind of storage and every service can share it.
package volume

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// GiB is the unit in which the platform sells storage; it calls it GB.
const GiB int64 = 1 << 30

// Kind is what a volume is made of.
type Kind string

// Block is a disk that is attached to one instance at a time.
const Block Kind = "block"

// DiskType is the medium below a volume.
type DiskType string

// The media that the platform sells.
const (
	NVMe DiskType = "nvme"
	HDD  DiskType = "hdd"
)

// Keys and the value of the publish context. They are the official driver's, because a volume that it attached
// is staged, unstaged and detached by this one after a switch, and the other way round.
const (
	ContextSerial      = "mount_vol_name" // the serial of the device in the guest
	ContextStorageType = "storage_type"
)

// ContextContentSource in a volume context says that the volume was not made empty. It must never be formatted.
const ContextContentSource = "block.csi.vultr.com/content-source"

// Volume is one volume as the platform shows it.
type Volume struct {
	ID         string
	Name       string
	Kind       Kind
	Type       DiskType
	Region     string // lower case
	SizeGiB    int64
	Ready      bool
	AttachedTo string // the instance's ID, "" when detached
	Serial     string
	Source     string // what the volume was made from, "" for an empty one
	Created    time.Time
}

// Bytes is the size in the unit of CSI.
func (v Volume) Bytes() int64 { return v.SizeGiB * GiB }

// Capacity is the wished range in bytes; a zero bound is no bound.
type Capacity struct {
	Required int64
	Limit    int64
}

// Holds tells whether a volume of the size lies in the range.
func (c Capacity) Holds(bytes int64) bool {
	return bytes >= c.Required && (c.Limit == 0 || bytes <= c.Limit)
}

// Spec describes a volume that should exist.
type Spec struct {
	Name string
	Type DiskType
	// Capacity is what was asked for: an existing volume of this name must lie in it.
	Capacity Capacity
	// SizeGiB is what a new volume gets.
	SizeGiB int64
	// Regions are where the volume may be, the best first; never empty.
	Regions []string
}

// Reason sorts errors by what the caller can do about them.
type Reason int

// The reasons. Their zero value is no reason at all.
const (
	_          Reason = iota
	Invalid           // the request can never succeed
	NotFound          // what it names does not exist
	Exists            // something else has the name
	OutOfRange        // the size cannot be had
	InUse             // the present state forbids it; somebody has to act
	Exhausted         // a limit is reached or the place does not sell it
	Busy              // it may succeed later without anybody acting
)

// Error is a failure with a reason.
type Error struct {
	Reason Reason
	// Err says what happened; it may wrap a cause.
	Err error
}

// Error says what happened.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives what happened and through it the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error; %w in the format keeps its cause.
func Errorf(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// ReasonOf finds the reason of an error, 0 when it has none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return 0
}

// ValidID tells whether an ID has the form that the platform gives to volumes and instances, a UUID. An ID of
// another form names nothing that exists, which needs no call to find out.
func ValidID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i, c := range strings.ToLower(id) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
