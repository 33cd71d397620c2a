package disks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// quietTries is how often a disk is copied in the hope that nobody writes to it meanwhile, before its file systems are
// frozen.
const quietTries = 3

// Snapshot keeps what was on the disk's medium at one moment during the call: all that had been flushed before it began
// is in it, and of what was written meanwhile either everything up to some moment or nothing. That is what a machine
// finds on its disk after its power failed, so file systems repair it by their journal. The disk may be in use.
//
// A file system that shares blocks (XFS, Btrfs) gives the moment itself. Elsewhere the data is copied until a copy is
// proven to be of one moment: nothing was written from before it until after it. If that does not come about by itself,
// the file systems on the disk are frozen for the duration of the last copy, which changes the remaining differences
// only. A snapshot that exists is complete, and no change.
func (p *Plane) Snapshot(ctx context.Context, snapshotID, id string) error {
	if err := errors.Join(checkName("snapshot", snapshotID), checkName("disk", id)); err != nil {
		return err
	}
	path := p.snapshotFile(snapshotID)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	src, err := os.Open(p.image(id))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("disk %s: %w", id, simulator.ErrNoDisk)
	}
	if err != nil {
		return fmt.Errorf("backing file of disk %s: %w", id, err)
	}
	defer func() { _ = src.Close() }() // opened to be read
	c := cut{plane: p, snapshotID: snapshotID, id: id, src: src}
	if err := p.fillFile(ctx, path+partSuffix, path, func(dst *os.File) error { return c.take(ctx, dst) }); err != nil {
		return fmt.Errorf("snapshot %s of disk %s: %w", snapshotID, id, err)
	}
	klog.FromContext(ctx).V(1).Info("Snapshot taken", "snapshot", snapshotID, "disk", id, "tries", c.tries, "frozen", c.frozen)
	return nil
}

// cut is the taking of one snapshot.
type cut struct {
	plane          *Plane
	snapshotID, id string
	src            *os.File
	tries          int
	frozen         bool
}

func (c *cut) take(ctx context.Context, dst *os.File) error {
	if err := c.flush(ctx); err != nil {
		return err
	}
	if done, err := c.plane.share(dst, c.src); done || err != nil {
		return err
	}
	for c.tries < quietTries {
		if quiet, err := c.try(ctx, dst); quiet || err != nil {
			return err
		}
	}
	c.frozen = true
	return c.plane.whileFrozen(ctx, c.snapshotID, c.id, func() error {
		quiet, err := c.try(ctx, dst)
		if err == nil && !quiet {
			err = errors.New("it is written to all the time, and not by a file system on it that could be frozen")
		}
		return err
	})
}

// try copies and reports whether the copy is of one moment.
func (c *cut) try(ctx context.Context, dst *os.File) (quiet bool, err error) {
	c.tries++
	if err := c.flush(ctx); err != nil {
		return false, err
	}
	before, err := lastChange(ctx, c.src)
	if err != nil {
		return false, err
	}
	if err := mirror(ctx, dst, c.src); err != nil {
		return false, err
	}
	c.plane.step("copied")
	after, err := c.src.Stat()
	if err != nil {
		return false, err
	}
	return after.ModTime().Equal(before), nil
}

// flush brings what the kernel holds back of writes to the disk's device onto the backing file.
func (c *cut) flush(ctx context.Context) error {
	var devices []loop
	err := c.plane.gate.Do(ctx, func() (err error) {
		devices, err = loopsOf(c.src)
		return err
	})
	if err != nil {
		return err
	}
	for _, dev := range devices {
		err := dev.with(os.O_RDONLY, unix.Fsync)
		if err != nil && !errors.Is(err, unix.ENXIO) { // cleared meanwhile: then it has been flushed
			return fmt.Errorf("flushing %s: %w", dev.name(), err)
		}
	}
	return nil
}

// lastChange tells when the file was last written, as a time stamp that no later write has as well.
func lastChange(ctx context.Context, f *os.File) (time.Time, error) {
	for {
		info, err := f.Stat()
		if err != nil {
			return time.Time{}, err
		}
		if time.Since(info.ModTime()) >= tick {
			return info.ModTime(), nil
		}
		select {
		case <-time.After(tick):
			// A disk that is written to all the time is no reason to wait here: the copy will tell.
			if again, err := f.Stat(); err != nil || !again.ModTime().Equal(info.ModTime()) {
				return info.ModTime(), err
			}
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// Restore makes the backing file of a new disk from a snapshot, with the snapshot's size. A disk that exists is no
// change.
func (p *Plane) Restore(ctx context.Context, id, snapshotID string) error {
	if err := errors.Join(checkName("disk", id), checkName("snapshot", snapshotID)); err != nil {
		return err
	}
	if _, err := os.Stat(p.image(id)); err == nil {
		return nil
	}
	src, err := os.Open(p.snapshotFile(snapshotID))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot %s: %w", snapshotID, simulator.ErrNoDisk)
	}
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", snapshotID, err)
	}
	defer func() { _ = src.Close() }() // opened to be read
	fill := func(dst *os.File) error { return p.duplicate(ctx, dst, src) }
	if err := p.fillFile(ctx, p.image(id)+partSuffix, p.image(id), fill); err != nil {
		return fmt.Errorf("disk %s from snapshot %s: %w", id, snapshotID, err)
	}
	return nil
}

// RemoveSnapshot deletes a snapshot's file, whole or in part. A missing one is not an error.
func (p *Plane) RemoveSnapshot(_ context.Context, snapshotID string) error {
	if err := checkName("snapshot", snapshotID); err != nil {
		return err
	}
	path := p.snapshotFile(snapshotID)
	if err := errors.Join(removeFile(path+partSuffix), removeFile(path)); err != nil {
		return fmt.Errorf("snapshot %s: %w", snapshotID, err)
	}
	return nil
}

// Snapshots lists the IDs of all snapshots that have a file, whole or in part. It also thaws what a process that was
// killed in the middle of one left frozen: who asks is about to go on with its work.
func (p *Plane) Snapshots(ctx context.Context) ([]string, error) {
	if err := p.thawAll(ctx); err != nil {
		return nil, err
	}
	return list(p.snapshotsDir(), imageSuffix, imageSuffix+partSuffix)
}

func (p *Plane) snapshotsDir() string { return filepath.Join(p.root, "snapshots") }
func (p *Plane) snapshotFile(id string) string {
	return filepath.Join(p.snapshotsDir(), id+imageSuffix)
}
