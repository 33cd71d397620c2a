package simtest

import (
	"context"
	"os"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/disks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/vfs"
)

// startDisks makes a data plane whose loop devices are gone when the test ends.
func startDisks(t testing.TB, dir string) *disks.Plane {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("real disks need root")
	}
	plane, err := disks.New(dir)
	if err != nil {
		t.Skipf("real disks need loop devices: %v", err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context()) // which has ended
		plugged, err := plane.Plugged(ctx)
		if err != nil {
			t.Errorf("find out what is still plugged: %v", err)
		}
		for id, instance := range plugged {
			if err := plane.Unplug(ctx, id, instance); err != nil {
				t.Errorf("unplug what the test left plugged: %v", err)
			}
		}
	})
	return plane
}

// startFileSystems makes a data plane whose mounts are gone when the test ends.
func startFileSystems(t testing.TB, dir string) *vfs.Plane {
	t.Helper()
	testns.Need(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	plane, err := vfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Release(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("detach what the test left attached: %v", err)
		}
	})
	return plane
}
