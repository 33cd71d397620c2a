package blockstore

import (
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// of is a store of another controller, of the cluster with the ID, in the same account.
func (r *rig) of(cluster ownership.Cluster) *Store {
	opts := r.opts
	opts.Cluster, opts.Account = cluster, nil
	return New(r.api, opts)
}

// labels are those of all volumes of the account, in order.
func (r *rig) labels() []string {
	r.t.Helper()
	list, err := r.api.Volumes(r.t.Context(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, v := range list.Items {
		all = append(all, v.Label)
	}
	slices.Sort(all)
	return all
}

// TestClustersNeverTakeEachOthers: each of two clusters with IDs, and one without, gets a volume of its own for one and the
// same name, and finds it again after a restart.
func TestClustersNeverTakeEachOthers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		made := map[ownership.Cluster]string{}
		for _, cluster := range []ownership.Cluster{"one", "two", ""} {
			v, err := r.of(cluster).Create(t.Context(), specOf("pvc-1"))
			if err != nil {
				t.Fatal(err)
			}
			made[cluster] = v.ID
			time.Sleep(10 * time.Minute) // of the fake clock: no twins of one wish
		}
		if got := r.labels(); !slices.Equal(got, []string{"one/pvc-1", "pvc-1", "two/pvc-1"}) {
			t.Fatalf("the account has %q", got)
		}
		for cluster, id := range made {
			if v, err := r.of(cluster).Create(t.Context(), specOf("pvc-1")); err != nil || v.ID != id {
				t.Errorf("cluster %q finds %s, %v, not its own %s", cluster, v.ID, err, id)
			}
		}
	})
}

// TestNamesWithoutAnIDAreFound: a cluster that gets an ID keeps its volumes.
func TestNamesWithoutAnIDAreFound(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		before, err := r.of("").Create(t.Context(), specOf("pvc-1"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // of the fake clock
		after, err := r.of("one").Create(t.Context(), specOf("pvc-1"))
		if err != nil || after.ID != before.ID {
			t.Errorf("got %s, %v, not %s", after.ID, err, before.ID)
		}
		if got := r.labels(); !slices.Equal(got, []string{"pvc-1"}) {
			t.Errorf("the account has %q", got)
		}
	})
}

// TestTwinsOfACluster: of two volumes that one wish made the younger is deleted, also with an ID, and a volume of the name
// without it, which may be another cluster's, is not.
func TestTwinsOfACluster(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		byHand := func(label string) string {
			return r.byHand(vultr.VolumeRequest{Label: label, Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
		}
		before := byHand("pvc-1")
		time.Sleep(2 * time.Second) // of the fake clock
		own := byHand("one/pvc-1")
		time.Sleep(2 * time.Second) // of the fake clock
		after := byHand("pvc-1")
		byHand("one/pvc-1")
		time.Sleep(40 * time.Second) // of the fake clock, until a list shows all of them
		s := r.of("one")
		v, err := s.Create(t.Context(), specOf("pvc-1"))
		if err != nil || v.ID != own {
			t.Errorf("got %s, %v, not %s", v.ID, err, own)
		}
		time.Sleep(3 * time.Minute) // of the fake clock
		if got := r.labels(); !slices.Equal(got, []string{"one/pvc-1", "pvc-1", "pvc-1"}) {
			t.Errorf("the account has %q", got)
		}
		for _, bare := range []string{before, after} {
			if _, err := s.Read(t.Context(), bare); err != nil {
				t.Errorf("another one: %v", err)
			}
		}
	})
}

// TestLeftTwinsOfACluster: a controller that was just started sees twins by their labels, with an ID as well.
func TestLeftTwinsOfACluster(t *testing.T) {
	const uid = "pvc-0f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11"
	list := vultr.List[vultr.Volume]{Began: time.Now(), Items: []vultr.Volume{
		{ID: "a", Label: "one/" + uid, Created: time.Now()},
		{ID: "b", Label: "one/" + uid, Created: time.Now()},
		{ID: "c", Label: "two/" + uid, Created: time.Now()},
		{ID: "d", Label: "two/" + uid, Created: time.Now()},
	}}
	got := newTwins().unread(list, "one")
	if len(got) != 1 || got["one/"+uid] != 2 {
		t.Errorf("got %v", got)
	}
}

// TestSweepOfACluster: what is left of a clone goes when the clone is there, which has its cluster's label, and a note even.
func TestSweepOfACluster(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		const name = "pvc-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
		source := r.create("pvc-source")
		time.Sleep(2 * time.Minute) // of the fake clock
		s := r.of("one")
		v, err := s.Create(t.Context(), fromSource(name, volume.Source{Volume: source.ID}))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Modify(t.Context(), v.ID, map[string]string{"label": "team a"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)                        // of the fake clock: by then it is nobody's duplicate
		r.snapshotOf(source.ID, copyName(source.ID, name)) // as of a controller that was killed before it deleted it
		time.Sleep(copyDone + time.Minute)                 // of the fake clock
		for _, c := range []struct {
			s    *Store
			left int
		}{{r.of("two"), 1}, {s, 0}} {
			if err := c.s.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			if left := r.snapshotsLeft(); len(left) != c.left {
				t.Errorf("after the sweep of cluster %s left are %s", c.s.opts.Cluster, left)
			}
		}
	})
}

// TestSweepBesideAnotherCluster: a cluster does not know that another one still waits for a clone, so it leaves the snapshot of
// that for a day.
func TestSweepBesideAnotherCluster(t *testing.T) {
	for _, sweeps := range []ownership.Cluster{"two", ""} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			source := r.byHand(requestOf("one/pvc-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8 (team a)"))
			time.Sleep(2 * time.Minute) // of the fake clock
			r.snapshotOf(source, copyName(source, "pvc-clone"))
			for _, c := range []struct {
				by   ownership.Cluster
				wait time.Duration
				left int
			}{{sweeps, 3 * time.Hour, 1}, {sweeps, 22 * time.Hour, 0}} {
				time.Sleep(c.wait) // of the fake clock
				if err := r.of(c.by).Sweep(t.Context()); err != nil {
					t.Error(err)
				}
				if left := r.snapshotsLeft(); len(left) != c.left {
					t.Errorf("%v later, after the sweep of cluster %q, left are %s", c.wait, c.by, left)
				}
			}
			r.snapshotOf(source, copyName(source, "pvc-clone"))
			time.Sleep(3 * time.Hour) // of the fake clock
			if err := r.of("one").Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			if left := r.snapshotsLeft(); len(left) != 0 {
				t.Errorf("after the sweep of its own cluster left are %s", left)
			}
		})
	}
}

// TestUsedByOthers: the snapshot from which a volume is being made, whoever makes it, and that of another cluster's source.
func TestUsedByOthers(t *testing.T) {
	const uid = "pvc-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	snap := vultr.Snapshot{ID: "snap", VolumeID: "source"}
	for _, c := range []struct {
		what    string
		cluster ownership.Cluster
		volume  vultr.Volume
		want    bool
	}{
		{"a volume is made from it", "one", vultr.Volume{ID: "x", SnapshotID: "snap", Status: "pending"}, true},
		{"it was made", "one", vultr.Volume{ID: "x", SnapshotID: "snap", Status: "active"}, false},
		{"made from another one", "one", vultr.Volume{ID: "x", SnapshotID: "other", Status: "pending"}, false},
		{"another's source", "one", vultr.Volume{ID: "source", Label: "two/" + uid, Status: "active"}, true},
		{"another's, without an ID", "", vultr.Volume{ID: "source", Label: "two/" + uid + " (note)", Status: "active"}, true},
		{"our own", "two", vultr.Volume{ID: "source", Label: "two/" + uid + " (note)", Status: "active"}, false},
		{"anybody's", "two", vultr.Volume{ID: "source", Label: uid, Status: "active"}, false},
		{"by hand", "two", vultr.Volume{ID: "source", Label: "the/disk", Status: "active"}, false},
		{"another's other volume", "one", vultr.Volume{ID: "x", Label: "two/" + uid, Status: "active"}, false},
	} {
		s := &Store{opts: Options{Cluster: c.cluster}}
		if got := s.usedByOthers([]vultr.Volume{c.volume}, snap); got != c.want {
			t.Errorf("%s: %t", c.what, got)
		}
	}
}

// TestSnapshotsOfClusters: their descriptions have the cluster's ID, a restart finds them, and one that was made before the
// cluster had an ID is the snapshot of its name. Only a new one costs a call more.
func TestSnapshotsOfClusters(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id := r.create("pvc-1").ID
		before := r.snapshotOf(id, "snapshot-0")
		made := map[ownership.Cluster]string{}
		for _, cluster := range []ownership.Cluster{"one", "two"} {
			store := r.of(cluster)
			for range 3 {
				snap, err := store.CreateSnapshot(t.Context(), "snapshot-1", id)
				if err != nil {
					t.Fatal(err)
				}
				if first := made[cluster]; first != "" && first != snap.ID || snap.Name != string(cluster)+"/snapshot-1" {
					t.Errorf("cluster %q has %s of the name %q, had %s", cluster, snap.ID, snap.Name, first)
				}
				made[cluster] = snap.ID
				time.Sleep(time.Minute) // of the fake clock
			}
		}
		r.snapshotOf(id, "snapshot-1") // by a cluster without an ID
		for cluster, first := range made {
			if snap, err := r.of(cluster).CreateSnapshot(t.Context(), "snapshot-1", id); err != nil || snap.ID != first {
				t.Errorf("cluster %q finds %s, %v, not its own %s", cluster, snap.ID, err, first)
			}
		}
		for range 2 {
			if snap, err := r.of("one").CreateSnapshot(t.Context(), "snapshot-0", id); err != nil || snap.ID != before.ID {
				t.Errorf("found is %s, %v, not %s from before", snap.ID, err, before.ID)
			}
		}
		if got := len(r.snapshotsLeft()); got != 4 {
			t.Errorf("there are %d snapshots: %q", got, r.snapshotsLeft())
		}
	})
}
