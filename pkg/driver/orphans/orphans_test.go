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

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// scene is an account and a cluster's PersistentVolumes.
type scene struct {
	*Watch

	t       *testing.T
	volumes []volume.Volume
	handles []string // of PersistentVolumes without a claim
	claimed []events.PersistentVolume
	err     error // of the list of PersistentVolumes
	told    []string
}

func (s *scene) List(context.Context, time.Duration) ([]volume.Volume, error) { return s.volumes, nil }

func (s *scene) persistentVolumes(context.Context) ([]events.PersistentVolume, error) {
	all := slices.Clone(s.claimed)
	for _, handle := range s.handles {
		all = append(all, events.PersistentVolume{Handle: handle})
	}
	return all, s.err
}

func (s *scene) Warn(_ context.Context, about events.Claim, reason, message string) {
	if about != events.Driver || reason != events.OrphanedVolume {
		s.t.Errorf("told about %+v: %s", about, reason)
	}
	s.told = append(s.told, message)
}

func newScene(t *testing.T, cluster ownership.Cluster) *scene {
	s := &scene{t: t}
	s.Watch = New(Config{
		Volumes: s, PersistentVolumes: s.persistentVolumes,
		Cluster: cluster, Age: 24 * time.Hour, Warner: s, CostByClaim: true,
	})
	return s
}

func (s *scene) add(id, label string, age time.Duration) {
	s.volumes = append(s.volumes, volume.Volume{
		ID: id, Name: label, Kind: volume.Block, Region: "ewr", SizeGiB: 10, MonthlyCost: 1.5, Created: time.Now().Add(-age),
	})
}

// look looks twice, as nothing is an orphan at first sight, and returns the orphans' IDs.
func (s *scene) look() string {
	s.t.Helper()
	for range 2 {
		if err := s.Look(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(DefaultPeriod) // of the fake clock, as all sleeps here
	}
	all, _ := s.Orphans()
	var ids []string
	for _, o := range all {
		ids = append(ids, o.ID)
	}
	return strings.Join(ids, " ")
}

// TestOrphansOfACluster: ours by its label, in no PersistentVolume, and old enough.
func TestOrphansOfACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, "one")
		s.add("orphan", "one/pvc-1", 48*time.Hour)
		s.add("young", "one/pvc-2", 20*time.Hour)
		s.add("used", "one/pvc-3", 48*time.Hour)
		s.add("bare", "pvc-4", 48*time.Hour)
		s.add("another", "two/pvc-5", 48*time.Hour)
		s.handles = []string{"USED"}
		if err := s.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, _ := s.Orphans(); len(all) != 0 || len(s.told) != 0 {
			t.Errorf("at first sight: %v", all)
		}
		if got := s.look(); got != "orphan" {
			t.Errorf("got %q", got)
		}
		for _, words := range []string{"orphan", `"one/pvc-1"`, "10 GiB", "$1.50 a month", "no PersistentVolume"} {
			if !strings.Contains(s.told[0], words) {
				t.Errorf("%q does not say %q", s.told[0], words)
			}
		}
		for _, message := range s.told {
			if message != s.told[0] {
				t.Errorf("told in other words: %q", message)
			}
		}
		time.Sleep(4 * time.Hour) // of the fake clock
		if got := s.look(); got != "orphan young" {
			t.Errorf("four hours later: %q", got)
		}
		s.handles = append(s.handles, "orphan") // it was imported
		if got := s.look(); got != "young" {
			t.Errorf("after the import: %q", got)
		}
	})
}

// TestOrphansByMemory: without an ID only what was seen in a PersistentVolume is known to be the cluster's, from then on.
func TestOrphansByMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, "")
		s.add("mine", "pvc-1", 48*time.Hour)
		s.add("anybodys", "pvc-2", 48*time.Hour)
		s.handles = []string{"mine"}
		if got := s.look(); got != "" {
			t.Errorf("in use: %q", got)
		}
		s.handles = nil
		if got := s.look(); got != "" {
			t.Errorf("just let go: %q", got)
		}
		time.Sleep(24 * time.Hour) // of the fake clock
		if got := s.look(); got != "mine" {
			t.Errorf("a day later: %q", got)
		}
		s.volumes = nil // deleted
		if got := s.look(); got != "" || len(s.ofVolumes.named) != 0 {
			t.Errorf("deleted: %q, remembered are %v", got, s.ofVolumes.named)
		}
	})
}

// TestWhatCannotBeSeenIsNoOrphan: without the list of PersistentVolumes the last result stands.
func TestWhatCannotBeSeenIsNoOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, "one")
		s.add("orphan", "one/pvc-1", 48*time.Hour)
		s.add("used", "one/pvc-2", 48*time.Hour)
		s.handles = []string{"used"}
		s.look()
		_, before := s.Orphans()
		s.handles, s.err = nil, errors.New("no apiserver")
		for range 3 {
			if err := s.Look(t.Context()); !errors.Is(err, s.err) {
				t.Errorf("got %v", err)
			}
		}
		if all, at := s.Orphans(); len(all) != 1 || !at.Equal(before) {
			t.Errorf("got %v of %s", all, at)
		}
	})
}

// TestManyOrphans: the apiserver and the log are spared.
func TestManyOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, "one")
		for i := range 100 {
			s.add(string(rune('a'+i)), "one/pvc", 48*time.Hour)
		}
		s.look()
		if all, _ := s.Orphans(); len(all) != 100 || len(s.told) != reported {
			t.Errorf("%d are found, %d told", len(all), len(s.told))
		}
	})
}

// TestMetrics: nothing before the first look, and then what there is.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, "one")
		registry := prometheus.NewRegistry()
		registry.MustRegister(collector{s.Watch})
		if n, err := testutil.GatherAndCount(registry); n != 0 || err != nil {
			t.Errorf("before the first look there are %d, %v", n, err)
		}
		s.add("orphan", "one/pvc-1", 48*time.Hour)
		s.add("second", "one/pvc-2", 36*time.Hour)
		s.look()
		want := `
# HELP csi_orphaned_volumes Volumes of this cluster that are in no PersistentVolume. They are reported and never deleted.
# TYPE csi_orphaned_volumes gauge
csi_orphaned_volumes{storage_type="block"} 2
csi_orphaned_volumes{storage_type="vfs"} 0
# HELP csi_orphaned_volumes_monthly_cost_dollars What the orphaned volumes cost a month, by the platform's own word.
# TYPE csi_orphaned_volumes_monthly_cost_dollars gauge
csi_orphaned_volumes_monthly_cost_dollars{storage_type="block"} 3
csi_orphaned_volumes_monthly_cost_dollars{storage_type="vfs"} 0
# HELP csi_orphaned_volumes_oldest_age_seconds For how long the oldest orphan is in no PersistentVolume, 0 without one.
# TYPE csi_orphaned_volumes_oldest_age_seconds gauge
csi_orphaned_volumes_oldest_age_seconds{storage_type="block"} 174600
csi_orphaned_volumes_oldest_age_seconds{storage_type="vfs"} 0
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
			"csi_orphaned_volumes", "csi_orphaned_volumes_monthly_cost_dollars", "csi_orphaned_volumes_oldest_age_seconds"); err != nil {
			t.Error(err)
		}
	})
}

// TestOnTheCloud: with real lists, of which one look costs one, and nothing is ever deleted.
func TestOnTheCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{}})
		cloud.AddInstance(simulator.NewServer{Label: "controller", Region: "ewr"})
		api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: 500, MaxRate: 500, DialContext: cloud.Dial})
		if err != nil {
			t.Fatal(err)
		}
		store := blockstore.New(api, blockstore.Options{Cluster: "one"})
		v, err := store.Create(t.Context(), volume.Spec{Name: "pvc-1", Type: volume.NVMe, SizeGiB: 10, Regions: []string{"ewr"}})
		if err != nil {
			t.Fatal(err)
		}
		s := newScene(t, "one")
		s.cfg.Volumes = store
		time.Sleep(25 * time.Hour) // of the fake clock
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		lists := cloud.Count("list_blocks")
		go func() { defer close(done); s.Run(ctx) }()
		time.Sleep(3*DefaultPeriod + time.Minute) // of the fake clock
		cancel()
		<-done
		all, _ := s.Orphans()
		if len(all) != 1 || all[0].ID != v.ID || all[0].MonthlyCost == 0 {
			t.Errorf("got %+v", all)
		}
		if n := cloud.Count("list_blocks") - lists; n != 4 {
			t.Errorf("four looks took %d lists", n)
		}
		if n := cloud.Count("delete_block"); n != 0 || len(cloud.Sim.View().Blocks) != 1 {
			t.Errorf("%d deletes", n)
		}
	})
}
