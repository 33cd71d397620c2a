package orphans

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const uid = "0b6c4452-b93b-4f4d-b8c1-2cea28d99fb"

// snapshots is an account's snapshots and a cluster's VolumeSnapshotContents, beside a scene.
type snapshots struct {
	*scene

	all     []volume.Snapshot
	handles []string
	err     error
	lists   int // of the platform
}

// Snapshots lists them.
func (s *snapshots) Snapshots(context.Context, time.Duration) ([]volume.Snapshot, error) {
	s.lists++
	return s.all, nil
}

func (s *snapshots) Warn(_ context.Context, about events.Claim, reason, message string) {
	if about != events.Driver || reason != events.OrphanedSnapshot {
		s.t.Errorf("told about %+v: %s", about, reason)
	}
	s.told = append(s.told, message)
}

func newSnapshots(t *testing.T, cluster ownership.Cluster) *snapshots {
	s := &snapshots{scene: newScene(t, cluster)}
	s.cfg.Snapshots, s.cfg.Warner = s, s
	s.cfg.SnapshotHandles = func(context.Context) ([]string, error) { return s.handles, s.err }
	return s
}

func (s *snapshots) add(id, description, of string, age time.Duration) {
	s.all = append(s.all, volume.Snapshot{ID: id, Name: description, Volume: of, SizeGiB: 10, Created: time.Now().Add(-age)})
}

// look is that of a scene, for snapshots.
func (s *snapshots) look() string {
	s.t.Helper()
	s.scene.look()
	all, _ := s.OrphanedSnapshots()
	var ids []string
	for _, o := range all {
		ids = append(ids, o.ID)
	}
	return strings.Join(ids, " ")
}

// TestOrphanedSnapshots: ours by its description or by its volume, in no VolumeSnapshotContent, and old enough.
func TestOrphanedSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSnapshots(t, "one")
		s.scene.handles = []string{"disk"}
		s.scene.add("disk", "one/pvc-1", time.Hour)
		const old = 48 * time.Hour
		s.add("orphan", "one/snapshot-"+uid+"1", "gone", old)
		s.add("of-our-volume", "snapshot-"+uid+"2", "disk", old)
		s.add("of-another-volume", "snapshot-"+uid+"3", "another", old)
		s.add("by-hand", "before the upgrade", "disk", old)
		s.add("temporary", "block.csi.vultr.com: temporary copy of disk for pvc-2", "disk", old)
		s.add("another-clusters", "two/snapshot-"+uid+"4", "disk", old)
		s.add("young", "one/snapshot-"+uid+"5", "disk", 20*time.Hour)
		s.add("used", "one/snapshot-"+uid+"6", "disk", old)
		s.handles = []string{"USED"}
		if err := s.Look(t.Context()); err != nil || len(s.told) != 0 {
			t.Errorf("at first sight: told is %q, %v", s.told, err)
		}
		if got := s.look(); got != "of-our-volume orphan" {
			t.Errorf("got %q", got)
		}
		for _, words := range []string{"orphan", `"one/snapshot-` + uid + `1"`, "10 GiB of volume gone", "no VolumeSnapshotContent"} {
			if !strings.Contains(s.told[1], words) {
				t.Errorf("%q does not say %q", s.told[1], words)
			}
		}
		if told := slices.Compact(slices.Sorted(slices.Values(s.told))); len(told) != 2 {
			t.Errorf("told in changing words: %q", told)
		}
		s.volumes, s.scene.handles = nil, nil // a snapshot outlives its volume
		time.Sleep(4 * time.Hour)             // of the fake clock
		if got := s.look(); got != "of-our-volume orphan young" {
			t.Errorf("without their volume: %q", got)
		}
		s.handles = append(s.handles, "orphan") // it was imported
		if got := s.look(); got != "of-our-volume young" {
			t.Errorf("after the import: %q", got)
		}
		s.handles = nil // and let go again
		if got := s.look(); got != "of-our-volume young" {
			t.Errorf("just let go: %q", got)
		}
	})
}

// TestWithoutSnapshots: a cluster that does not know VolumeSnapshots says nothing of snapshots, and costs no call to the platform.
// One that does not answer leaves the last result.
func TestWithoutSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSnapshots(t, "one")
		registry := prometheus.NewRegistry()
		registry.MustRegister(collector{s.Watch})
		shown := func() int {
			t.Helper()
			n, err := testutil.GatherAndCount(registry, "csi_orphaned_snapshots", "csi_orphaned_snapshots_bytes", "csi_orphaned_snapshots_oldest_age_seconds")
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		s.add("orphan", "one/snapshot-"+uid+"1", "gone", 48*time.Hour)
		s.err = events.ErrNoSnapshots
		if got := s.look(); got != "" || s.lists != 0 || shown() != 0 {
			t.Errorf("got %q after %d lists, %d metrics", got, s.lists, shown())
		}
		s.err = nil
		if got := s.look(); got != "orphan" || shown() != 3 {
			t.Errorf("got %q, %d metrics", got, shown())
		}
		s.err = errors.New("no apiserver")
		if err := s.Look(t.Context()); !errors.Is(err, s.err) {
			t.Errorf("got %v", err)
		}
		if all, _ := s.OrphanedSnapshots(); len(all) != 1 || shown() != 3 {
			t.Errorf("without an answer: %v, %d metrics", all, shown())
		}
		s.err = events.ErrNoSnapshots // the kind was removed
		if got := s.look(); got != "" || shown() != 0 {
			t.Errorf("got %q, %d metrics", got, shown())
		}
	})
}
