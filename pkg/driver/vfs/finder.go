// Package vfs recognises shared file systems (VFS) of the platform. This version does not serve them yet, and must not
// take them for volumes that are gone: the official driver's PersistentVolumes name them by bare UUIDs, as they do disks.
package vfs

import (
	"context"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what recognising takes.
type API interface {
	FileSystem(ctx context.Context, id string) (vultr.FileSystem, error)
	FileSystems(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.FileSystem], error)
}

// Finder recognises file systems. It implements volume.Finder.
type Finder struct{ api API }

// NewFinder makes a Finder.
func NewFinder(api API) Finder { return Finder{api} }

var _ volume.Finder = Finder{}

// Kind is volume.VFS.
func (Finder) Kind() volume.Kind { return volume.VFS }

// Has reports whether the ID is a file system: it is none only if a list lacks it as well as a single read. The key needs
// the right to read file systems for that.
func (f Finder) Has(ctx context.Context, id string) (bool, error) {
	_, err := f.api.FileSystem(ctx, id)
	if err == nil {
		return true, nil
	}
	if !vultr.IsNotFound(err) {
		return false, refusal.OfRead(err, "reading file system %s", id)
	}
	list, err := f.api.FileSystems(ctx, 0)
	if err != nil {
		return false, refusal.OfRead(err, "looking for file system %s", id)
	}
	return slices.ContainsFunc(list.Items, func(fs vultr.FileSystem) bool { return fs.ID == id }), nil
}
