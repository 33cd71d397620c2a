package vfsstage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Publish shows the staged file system to a pod, by a bind of the staging path. A staging mount that has died meanwhile
// is replaced: the kubelet takes the volume for staged and would not do that by itself.
func (s *Stager) Publish(ctx context.Context, v staging.Volume, stagingPath, target string) error {
	staged, table, err := s.staged(ctx, v, stagingPath)
	if err != nil {
		return err
	}
	if staged.ReadOnly() && !v.Use.ReadOnly {
		return volume.Errorf(volume.InUse, "at %s the volume is staged read-only", stagingPath)
	}
	if done, err := s.clearTarget(ctx, v, table, staged, target); done || err != nil {
		return err
	}
	if others := s.users(table, staged, stagingPath, target); v.Use.Single && len(others) > 0 {
		return volume.Errorf(volume.InUse, "the volume may be used by one pod only and is published at %s already", strings.Join(others.Paths(), ", "))
	}
	if err := step.At(ctx, step.Bind); err != nil {
		return err
	}
	if err := mount.MakeDir(target); err != nil {
		return err
	}
	if err := mount.Bind(stagingPath, target, v.Use.ReadOnly); err != nil {
		return errors.Join(err, mount.RemoveTarget(target))
	}
	return nil
}

// staged returns the mount at the staging path, which is well and of the volume's tag, and the table that lists it.
func (s *Stager) staged(ctx context.Context, v staging.Volume, path string) (mount.Entry, mount.Table, error) {
	tag, err := tagOf(v)
	if err != nil {
		return mount.Entry{}, nil, err
	}
	record, err := s.cfg.State.Staged(v.ID)
	if err != nil {
		return mount.Entry{}, nil, err
	}
	table, err := mount.Read()
	if err != nil {
		return mount.Entry{}, nil, err
	}
	entry, mounted := table.At(path)
	h := health{dead: "nothing is mounted there any more"}
	if mounted {
		if h, err = s.probe(ctx, entry); err != nil {
			return entry, table, fmt.Errorf("volume %s: %w", v.ID, err)
		}
	}
	if h.dead == "" {
		is, err := s.tags.Is(entry, tag)
		if err == nil && !is {
			err = volume.Errorf(volume.InUse, "at the staging path %s is %s of type %s, not the shared file system with tag %s", path, entry.Source, entry.FSType, tag)
		}
		return entry, table, err
	}
	if record == nil || record.BootID != s.cfg.BootID {
		return entry, table, volume.Errorf(volume.InUse, "volume %s is not staged at %s: %s", v.ID, path, h.dead)
	}
	klog.FromContext(ctx).Info("The staged shared file system is dead, staging it again", "volumeID", v.ID, "tag", tag, "path", path, "why", h.dead)
	again := v
	again.Use.ReadOnly = record.ReadOnly
	if err := s.Stage(ctx, again, path); err != nil {
		return entry, table, err
	}
	if table, err = mount.Read(); err != nil {
		return entry, table, err
	}
	if entry, mounted = table.At(path); !mounted {
		return entry, table, volume.Errorf(volume.Busy, "the mount at %s went away", path)
	}
	return entry, table, nil
}

// clearTarget takes a dead mount from the target. It reports whether the volume is published there already, and refuses
// anything else.
func (s *Stager) clearTarget(ctx context.Context, v staging.Volume, table mount.Table, staged mount.Entry, target string) (bool, error) {
	e, mounted := table.At(target)
	if !mounted {
		return false, nil
	}
	h, err := s.probe(ctx, e)
	switch {
	case err != nil:
		return false, fmt.Errorf("volume %s: %w", v.ID, err)
	case h.dead != "":
		return false, s.takeAway(ctx, v.ID, target, h)
	case same(e, staged) && e.ReadOnly() == v.Use.ReadOnly:
		return true, nil
	}
	return false, volume.Errorf(volume.Exists, "%s has another mount: %s of type %s, read-only %t; asked for is %s, read-only %t",
		target, e.Source, e.FSType, e.ReadOnly(), staged.Source, v.Use.ReadOnly)
}

// Unpublish takes the volume from a pod's path and removes the path. A dead mount is taken away in any case.
func (s *Stager) Unpublish(ctx context.Context, volumeID, target string) error {
	if err := step.At(ctx, step.Unbind); err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	if e, mounted := table.At(target); mounted {
		h, err := s.probe(ctx, e)
		switch {
		case err != nil:
			return fmt.Errorf("volume %s: %w", volumeID, err)
		case h.dead != "":
			err = s.takeAway(ctx, volumeID, target, h)
		default:
			err = s.bounded(ctx, "unmounting", target, func() error { return mount.Unmount(ctx, target) })
		}
		if err != nil {
			return asInUse(err)
		}
	}
	return mount.RemoveTarget(target)
}

func isHanging(err error) bool {
	_, is := errors.AsType[*looks.HangingError](err)
	return is
}
