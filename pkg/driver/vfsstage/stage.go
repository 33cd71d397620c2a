package vfsstage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Stage mounts the file system at the path. What is mounted there and is dead is taken away first.
func (s *Stager) Stage(ctx context.Context, v staging.Volume, path string) error {
	tag, err := tagOf(v)
	if err != nil {
		return err
	}
	if v.Use.Block {
		return volume.Errorf(volume.Invalid, "volume %s is a shared file system and cannot be used as a block device", v.ID)
	}
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("volumeID", v.ID, "tag", tag))
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	if mounted {
		h, err := s.probe(ctx, entry)
		if err != nil {
			return fmt.Errorf("volume %s: %w", v.ID, err)
		}
		if h.dead == "" {
			return s.adopt(v, tag, entry)
		}
		if err := s.takeAway(ctx, v.ID, path, h); err != nil {
			return err
		}
	}
	return s.mount(ctx, v, tag, path)
}

// adopt takes over what is mounted at the staging path and is well, made by an earlier attempt or by another driver, if it
// is what is asked for.
func (s *Stager) adopt(v staging.Volume, tag string, e mount.Entry) error {
	is, err := s.tags.Is(e, tag)
	if err != nil {
		return err
	}
	if !is {
		return volume.Errorf(volume.Exists, "the staging path %s has another mount (%s of type %s), asked for is the shared file system with tag %s; unstage it first", e.Path, e.Source, e.FSType, tag)
	}
	if e.ReadOnly() != v.Use.ReadOnly {
		return volume.Errorf(volume.Exists, "the staging path %s has the file system mounted already: read-only is %t, asked for is %t", e.Path, e.ReadOnly(), v.Use.ReadOnly)
	}
	for _, o := range []string{"noexec", "nosuid", "nodev", "noatime"} {
		if slices.Contains(v.Use.Options, o) && !slices.Contains(e.Options, o) {
			return volume.Errorf(volume.Exists, "the staging path %s has the file system mounted already, without the option %s", e.Path, o)
		}
	}
	return s.record(v, tag)
}

// record writes down that the volume is staged by this package. It comes before the mount: whoever is to undo the mount
// finds out by it whom to ask.
func (s *Stager) record(v staging.Volume, tag string) error {
	return s.cfg.State.WriteStaged(state.Staged{
		VolumeID: v.ID, Serial: tag, Kind: string(volume.VFS), ReadOnly: v.Use.ReadOnly, BootID: s.cfg.BootID,
	})
}

// mount mounts the tag as soon as the machine shows it, and proves that it is what is mounted then.
func (s *Stager) mount(ctx context.Context, v staging.Volume, tag, path string) error {
	if err := s.record(v, tag); err != nil {
		return err
	}
	if err := mount.MakeDir(path); err != nil {
		return err
	}
	if err := step.At(ctx, step.Mount); err != nil {
		return err
	}
	options := slices.Clone(v.Use.Options)
	if v.Use.ReadOnly && !slices.Contains(options, "ro") {
		options = append(options, "ro")
	}
	if err := s.mountTag(ctx, tag, path, options); err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	e, mounted := table.At(path)
	if !mounted {
		return volume.Errorf(volume.Busy, "the mount at %s went away", path)
	}
	h, err := s.probe(ctx, e)
	if err == nil && h.dead != "" {
		err = volume.Errorf(volume.Busy, "the shared file system with tag %s was mounted at %s and is dead: %s", tag, path, h.dead)
	}
	if err != nil {
		return err
	}
	return s.adopt(v, tag, e)
}

// mounting is what errors call the mount of a tag.
const mounting = "mounting a shared file system at"

// tryEvery is the pause between tries to mount a tag that has not appeared.
const tryEvery = 250 * time.Millisecond

// mountTag mounts a tag, which appears on the machine a moment after the platform attached it.
func (s *Stager) mountTag(ctx context.Context, tag, path string, options []string) error {
	late := time.NewTimer(s.cfg.Patience)
	defer late.Stop()
	again := time.NewTicker(tryEvery)
	defer again.Stop()
	for {
		err := s.bounded(ctx, mounting, path, func() error { return s.tags.Mount(ctx, tag, path, options) })
		if err == nil || !errors.Is(err, errNoTag) {
			return asInUse(err)
		}
		select {
		case <-again.C:
		case <-late.C:
			return volume.Errorf(volume.Busy, "the shared file system with tag %s has not appeared on this node for %s: %w", tag, s.cfg.Patience, err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for the shared file system with tag %s: %w: %w", tag, ctx.Err(), err)
		}
	}
}

// asInUse is a refused mount for the caller: somebody has to act.
func asInUse(err error) error {
	if err == nil || volume.ReasonOf(err) != 0 || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || isHanging(err) {
		return err
	}
	return volume.Errorf(volume.InUse, "%w", err)
}

// usersLeft lists the mounts by which pods have a volume. Where the staging path has nothing any more, because somebody else unmounted it or
// an attempt to stage it again took a dead mount away, its tag tells: pods keep what they have.
func (s *Stager) usersLeft(volumeID string, table mount.Table, staged mount.Entry, mounted bool, path string) (mount.Table, error) {
	if mounted {
		return s.users(table, staged, path), nil
	}
	record, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return nil, err
	}
	return s.places(table, record, nil), nil
}

// Unstage takes the file system from the staging path. A dead mount is taken away in any case. A mount that has not
// answered in time may still come, when nobody would take it away any more, so it is waited for.
func (s *Stager) Unstage(ctx context.Context, volumeID, path string) error {
	if err := s.bounded(ctx, mounting, path, func() error { return nil }); err != nil {
		return fmt.Errorf("volume %s: %w", volumeID, err)
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	users, err := s.usersLeft(volumeID, table, entry, mounted, path)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return volume.Errorf(volume.InUse, "volume %s is still published at %s", volumeID, strings.Join(users.Paths(), ", "))
	}
	if !mounted {
		return s.cfg.State.ClearStaged(volumeID)
	}
	h, err := s.probe(ctx, entry)
	if err != nil {
		return fmt.Errorf("volume %s: %w", volumeID, err)
	}
	if err := step.At(ctx, step.Unmount); err != nil {
		return err
	}
	if h.dead != "" {
		err = s.takeAway(ctx, volumeID, path, h)
	} else {
		err = s.bounded(ctx, "unmounting", path, func() error { return mount.Unmount(ctx, path) })
	}
	if err != nil {
		return asInUse(err)
	}
	return s.cfg.State.ClearStaged(volumeID)
}
