package node

import (
	"context"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Stager brings volumes of one kind of storage to pods and takes them away again. Every method can be repeated after it
// was cut off anywhere. For one volume the service calls one at a time, except Stats.
type Stager interface {
	// Stage makes a volume usable at the staging path.
	Stage(ctx context.Context, v staging.Volume, path string) error
	// Unstage undoes Stage. Afterwards the volume can be detached.
	Unstage(ctx context.Context, volumeID, path string) error
	// Publish shows a staged volume to a pod at the target path.
	Publish(ctx context.Context, v staging.Volume, stagingPath, target string) error
	// Unpublish undoes Publish.
	Unpublish(ctx context.Context, volumeID, target string) error
	// Expand brings the growth of a volume to its user, and returns the size that was measured.
	Expand(ctx context.Context, volumeID, path string, g staging.Growth) (int64, error)
	// Stats measures a volume, and fails when it does not work. It may hang: the service bounds it.
	Stats(volumeID, path string) (staging.Stats, error)
}

// stagerFor returns the stager for the kind of storage that a publish context names; block storage needs no name.
func (s *Service) stagerFor(publishContext map[string]string) (volume.Kind, Stager, error) {
	kind := volume.Kind(publishContext[volume.ContextStorageType])
	if kind == "" {
		kind = volume.Block
	}
	stager, ok := s.stagers[kind]
	if !ok {
		return kind, nil, volume.Errorf(volume.Invalid, "publish context: %s %q is not supported by this version", volume.ContextStorageType, kind)
	}
	return kind, stager, nil
}

// stagerOf returns the stager for a volume that is at any of the paths here. Where no record says of which kind it is, an
// earlier version or another driver staged it: a shared file system is known by its mount, and all else is block storage.
func (s *Service) stagerOf(volumeID string, paths ...string) (Stager, error) {
	record, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return nil, err
	}
	kind := volume.Block
	switch {
	case record != nil && record.Kind != "":
		kind = volume.Kind(record.Kind)
	case record == nil:
		shared, err := s.shared.Has(paths...)
		if err != nil {
			return nil, err
		}
		if shared {
			kind = volume.VFS
		}
	}
	stager, ok := s.stagers[kind]
	if !ok {
		return nil, volume.Errorf(volume.InUse, "volume %s was staged by another version of the driver as storage of kind %q, which this one does not know", volumeID, kind)
	}
	return stager, nil
}
