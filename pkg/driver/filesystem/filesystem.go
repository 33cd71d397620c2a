// Package filesystem knows the kinds of file systems that volumes can have: how each is made, checked, grown and
// measured, and how it shows that it has failed. Each kind is one file; nothing else in the driver tells them apart.
package filesystem

import (
	"fmt"
	"io"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Type is a kind of file system.
type Type interface {
	// Name is what mount(8), blkid and the capability of a volume call it.
	Name() string
	// Make is the tool that makes it.
	Make(devicePath string, w Wish) Tool
	// Check is the tools that repair what can be repaired without losing anything, before it is mounted.
	Check(devicePath string) []Tool
	// GrowMounted is the tool that grows it to its device while it is mounted.
	GrowMounted(devicePath, mountPath string) Tool
	// GrowUnmounted is the tools that grow it while it is not mounted, nil when it grows only while it is.
	GrowUnmounted(devicePath string) []Tool
	// RefusesOnline reports whether the failure of GrowMounted means that the kernel does not grow it while it is mounted.
	RefusesOnline(err error) bool
	// SizeOnDisk reads its size in bytes from the device.
	SizeOnDisk(r io.ReaderAt) (int64, error)
	// SizeMounted is its size in bytes while it is mounted at the path.
	SizeMounted(d device.Device, mountPath string) (int64, error)
	// NeverMounted reports whether what is on the device proves that nobody ever used it.
	NeverMounted(r io.ReaderAt) (bool, error)
	// MountOptions are the options that it always needs.
	MountOptions() []string
	// Faults describes faults that a mounted one has recorded since it was mounted, "" for none.
	Faults(d device.Device) string
}

// Wish is how a file system is to be made.
type Wish struct {
	// Overwrite is set when what is on the device may be lost. Without it a tool that can refuses a device that holds something.
	Overwrite bool
	// Kernel is the oldest one that has to mount it.
	Kernel Release
	// Format is what the owner of the volume wants of it.
	Format volume.Format
}

// All lists the kinds, the default first.
var All = []Type{ext4{}, xfs{}, btrfs{}}

// Names lists the names of the kinds.
func Names() []string {
	names := make([]string, 0, len(All))
	for _, t := range All {
		names = append(names, t.Name())
	}
	return names
}

// Of returns the kind with the name, the default for "".
func Of(name string) (Type, error) {
	if name == "" {
		return All[0], nil
	}
	for _, t := range All {
		if t.Name() == name {
			return t, nil
		}
	}
	return nil, volume.Errorf(volume.Invalid, "file system %q is not supported, valid are %s", name, strings.Join(Names(), ", "))
}

// Sizes are what was measured of a device and the file system on it.
type Sizes struct{ Device, FileSystem int64 }

// slack is how much smaller than its device a file system may be without being grown: the rest of a block group
// that is too small to be used (ext4) or of an allocation group (xfs).
const slack = 64 << 20

// CanGrow reports whether the file system leaves room unused that it could use.
func (s Sizes) CanGrow() bool { return s.Device-s.FileSystem >= slack }

// Measure measures a mounted file system and its device.
func Measure(t Type, d device.Device, mountPath string) (Sizes, error) {
	size, err := device.Measure(d)
	if err != nil {
		return Sizes{}, err
	}
	fs, err := t.SizeMounted(d, mountPath)
	if err != nil {
		return Sizes{}, fmt.Errorf("measuring the %s on %s: %w", t.Name(), d.Path, err)
	}
	return Sizes{Device: size, FileSystem: fs}, nil
}
