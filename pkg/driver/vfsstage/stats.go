package vfsstage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Stats measures a published or staged volume, and fails when its mount is dead. It can hang.
func (s *Stager) Stats(volumeID, path string) (staging.Stats, error) {
	if err := s.locate(volumeID, path); err != nil {
		return staging.Stats{}, err
	}
	var st unix.Statfs_t
	err := mount.ReadRoot(path)
	if err == nil {
		err = unix.Statfs(path, &st)
	}
	if mount.IsDead(err) {
		return staging.Stats{}, volume.Errorf(volume.InUse, "volume %s: the shared file system mounted at %s is dead: %w. "+
			"When the pods that use it are restarted, it is mounted again", volumeID, path, err)
	}
	if err != nil {
		return staging.Stats{}, fmt.Errorf("measuring the file system at %s: %w", path, err)
	}
	return staging.StatsOf(st), nil
}

// locate returns nil if the volume is mounted at the path, as far as the kernel's list and the record tell. It asks
// nothing of the mount itself, which may be dead.
func (s *Stager) locate(volumeID, path string) error {
	table, err := mount.Read()
	if err != nil {
		return err
	}
	e, mounted := table.At(path)
	if !mounted {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return volume.Errorf(volume.NotFound, "volume %s is not at %s: there is nothing", volumeID, path)
		}
		return volume.Errorf(volume.NotFound, "volume %s is not at %s: nothing is mounted there", volumeID, path)
	}
	record, err := s.cfg.State.Staged(volumeID)
	if tag, shared := s.tags.TagOf(table, e); err == nil && record != nil && shared && tag != record.Serial {
		return volume.Errorf(volume.NotFound, "volume %s is not at %s: it was staged from tag %s, there is tag %s", volumeID, path, record.Serial, tag)
	}
	return err
}

// Expand measures the file system: it grows on the platform, and a node has nothing to do.
func (s *Stager) Expand(ctx context.Context, volumeID, path string, g staging.Growth) (int64, error) {
	if g.Block != nil && *g.Block {
		return 0, volume.Errorf(volume.Invalid, "volume_capability does not fit: volume %s is a shared file system, no block device", volumeID)
	}
	size := make(chan int64, 1) // a look that comes back late leaves its answer here
	err := s.bounded(ctx, "measuring", path, func() error {
		stats, err := s.Stats(volumeID, path)
		size <- stats.Bytes.Total
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-size, nil
}
