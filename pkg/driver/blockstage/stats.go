package blockstage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Stats measures a published or staged volume, and fails when its file system has. It can hang.
func (s *Stager) Stats(volumeID, path string) (staging.Stats, error) {
	at, err := s.locate(volumeID, path)
	if err != nil {
		return staging.Stats{}, err
	}
	if at.block {
		size, err := device.Measure(at.device)
		return staging.Stats{Bytes: staging.Amounts{Total: size}}, err
	}
	// The kubelet asks every minute: nothing is flushed for it.
	if err := judge(filesystem.Glance, at.device, at.entry, at.writable); err != nil {
		return staging.Stats{}, fmt.Errorf("volume %s: %w. When the pods that use it have ended, staging checks it and mounts it again", volumeID, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return staging.Stats{}, fmt.Errorf("measuring the file system at %s: %w", path, err)
	}
	return staging.StatsOf(st), nil
}

// place is where a volume is seen: a mounted file system, or a device node.
type place struct {
	device device.Device
	block  bool
	entry  mount.Entry // of the mount, unless block
	// writable is set when the file system is meant to be written to, by whatever mount.
	writable bool
}

// locateInTime is locate for a caller that must not hang.
func (s *Stager) locateInTime(ctx context.Context, volumeID, path string) (place, error) {
	answer := make(chan place, 1) // a look that comes back late leaves its answer here
	err := s.looks.Do(ctx, path, "volume "+volumeID+" at "+path, min(healthPatience, s.cfg.Patience), func() error {
		at, err := s.locate(volumeID, path)
		answer <- at
		return err
	})
	if err != nil {
		return place{}, err
	}
	return <-answer, nil
}

// locate finds the device behind a path of a volume. What is there is asked of the kernel; a record of staging
// must not contradict it.
func (s *Stager) locate(volumeID, path string) (place, error) {
	var st unix.Stat_t
	statErr := unix.Stat(path, &st)
	if errors.Is(statErr, os.ErrNotExist) || errors.Is(statErr, unix.ENOTDIR) {
		return place{}, volume.Errorf(volume.NotFound, "volume %s is not at %s: there is nothing", volumeID, path)
	}
	record, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return place{}, err
	}
	// A failed file system may not even answer this; it is judged by its mount.
	p := place{block: st.Mode&unix.S_IFMT == unix.S_IFBLK}
	number := device.NumberOf(st.Rdev)
	if !p.block {
		table, err := mount.Read()
		if err != nil {
			return place{}, err
		}
		entry, mounted := table.At(path)
		if !mounted && statErr != nil {
			return place{}, fmt.Errorf("looking at %s: %w", path, statErr)
		}
		if !mounted {
			// The kubelet asks for raw block volumes by the path of a directory in which the device is.
			return s.locateStaged(volumeID, record, path)
		}
		if gone := s.gone(record, entry); gone != nil {
			return place{}, volume.Errorf(volume.InUse, "volume %s at %s: %w while it was mounted; when the pods that use it are restarted, it is mounted again", volumeID, path, gone)
		}
		p.entry, number, p.writable = entry, entry.Number, s.writable(record, table, entry)
	}
	d, err := s.layer.ByNumber(number)
	if err != nil {
		return place{}, notAt(volumeID, path, p.block, err)
	}
	p.device = d
	if record != nil && record.Serial != d.Serial {
		return place{}, volume.Errorf(volume.NotFound, "volume %s is not at %s: it was staged from serial %s, there is serial %s", volumeID, path, record.Serial, d.Serial)
	}
	return p, nil
}

// notAt is the error of a volume whose device could not be found by its number. A device node outlives its disk.
func notAt(volumeID, path string, block bool, err error) error {
	switch {
	case !errors.Is(err, device.ErrNotFound):
		return err
	case block:
		return volume.Errorf(volume.InUse, "volume %s at %s: %w while it was published: %w; when the disk is back and the pods that use it are restarted, they have it again",
			volumeID, path, device.ErrGone, err)
	}
	return volume.Errorf(volume.NotFound, "volume %s is not at %s: %w", volumeID, path, err)
}

// writable reports whether a file system is meant to be written to. A record knows; without one, any mount of it does
// that is not read-only itself. What the file system says of itself may be what an error made of it.
func (s *Stager) writable(record *state.Staged, table mount.Table, e mount.Entry) bool {
	if record != nil && record.Number != "" {
		return !record.ReadOnly
	}
	return slices.ContainsFunc(table.Of(e.Number), func(m mount.Entry) bool { return !slices.Contains(m.Options, "ro") })
}

// locateStaged finds a volume that is staged as a block device, for which nothing is mounted at the staging path.
func (s *Stager) locateStaged(volumeID string, record *state.Staged, path string) (place, error) {
	if record == nil || !record.Block {
		return place{}, volume.Errorf(volume.NotFound, "volume %s is not at %s: nothing is mounted there", volumeID, path)
	}
	d, err := s.layer.Find(record.Serial)
	if err == nil {
		d, err = s.deviceOf(volumeID, record.Layer, d)
	}
	if errors.Is(err, device.ErrNotFound) || errors.Is(err, errClosed) {
		return place{}, volume.Errorf(volume.NotFound, "volume %s is not on this node: %w", volumeID, err)
	}
	return place{device: d, block: true}, err
}
