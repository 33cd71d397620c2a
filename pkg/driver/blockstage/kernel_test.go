package blockstage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestKernelWithoutTheFileSystem: what the node could not mount is not made on it, and what is there already is named.
func TestKernelWithoutTheFileSystem(t *testing.T) {
	g := newStage(t, "btrfs")
	has := g.cfg.KernelHas
	g.cfg.KernelHas = func(fsType string) error { return fmt.Errorf("file system %s: %w", fsType, filesystem.ErrUnknown) }
	refused := func(what string) {
		t.Helper()
		err := g.Stage(t.Context(), g.volume, g.path)
		if volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), "btrfs") || !strings.Contains(err.Error(), "kernel") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("a blank disk")
	if f, err := blockfs.Probe(t.Context(), g.device); err != nil || !f.Blank {
		t.Errorf("it was written to: %+v, %v", f, err)
	}
	g.cfg.KernelHas = has
	g.must(g.Stage(t.Context(), g.volume, g.path))
	g.must(g.Unstage(t.Context(), id, g.path))
	g.cfg.KernelHas = func(fsType string) error { return fmt.Errorf("file system %s: %w", fsType, filesystem.ErrUnknown) }
	refused("a disk with a btrfs")
}

// TestGoneBtrfs: one whose disk is not known is not gone; one whose disk the kernel has lost is.
func TestGoneBtrfs(t *testing.T) {
	s, _, _ := newStager(t)
	e := mount.Entry{FSType: "btrfs", Number: device.Number{Minor: 57}, Path: "/p"}
	if err := s.gone(nil, e); err != nil {
		t.Errorf("unknown: %v", err)
	}
	e.Lost = true
	if err := s.gone(nil, e); err == nil || !strings.Contains(err.Error(), device.ErrGone.Error()) {
		t.Errorf("lost: %v", err)
	}
}
