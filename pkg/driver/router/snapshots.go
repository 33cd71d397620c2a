package router

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"

// Snapshotter returns the backend that has snapshots. The platform has them of one kind of storage only, so that an ID of
// a snapshot need not be looked for.
func (r *Router) Snapshotter() (volume.Snapshotter, error) {
	for _, b := range r.backends {
		if s, ok := b.(volume.Snapshotter); ok {
			return s, nil
		}
	}
	return nil, volume.Errorf(volume.Invalid, "no storage type of this version has snapshots")
}
