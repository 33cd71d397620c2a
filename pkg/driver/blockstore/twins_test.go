package blockstore

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestTwoControllersAgree: two controllers that create one name at once answer with one volume, and one is left.
func TestTwoControllersAgree(t *testing.T) {
	t.Parallel()
	first := newRig(t)
	second := newRigOn(t, first.cloud, first.cloud.URL)
	for range 20 {
		name := "pvc-" + time.Now().Format("150405.000000")
		var both sync.WaitGroup
		var ids [2]string
		for i, r := range []*rig{first, second} {
			both.Go(func() {
				v, err := r.Create(t.Context(), specOf(name))
				if err != nil {
					t.Error(err)
				}
				ids[i] = v.ID
			})
		}
		both.Wait()
		if ids[0] != ids[1] || ids[0] == "" {
			t.Fatalf("the controllers answered %q", ids)
		}
		first.await("one volume of the name", func() bool { return len(first.named(name)) == 1 })
		if left := first.named(name); left[0] != ids[0] {
			t.Fatalf("left is %s, the answer was %s", left, ids[0])
		}
	}
}

// TestDeliveredTwice: a create that the network delivered twice leaves one volume, the one that the caller was told of,
// also if reads lag so far that the other shows up only later.
func TestDeliveredTwice(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.cloud.Fault(simulator.Fault{Operation: "create_block", Action: simulator.FaultDuplicate, Times: 1})
		v := r.create("pvc-1")
		if n := r.cloud.Count("create_block"); n != 1 {
			t.Errorf("%d creates were sent", n)
		}
		r.await("one volume of the name", func() bool { return slices.Equal(r.named("pvc-1"), []string{v.ID}) })
		if again := r.create("pvc-1"); again.ID != v.ID {
			t.Errorf("the answers are %s and %s", v.ID, again.ID)
		}
	})
}

// TestTwinsAreLookedForAfterTheSettleTime: a twin that shows up when the create has been answered is deleted if it is
// empty and never attached, also when the volume itself is gone by then. Others are reported and stay.
func TestTwinsAreLookedForAfterTheSettleTime(t *testing.T) {
	t.Parallel()
	create := func(r *rig, name string, size int) string {
		v, err := r.api.CreateVolume(r.t.Context(), vultr.VolumeRequest{Label: name, Region: "ewr", SizeGB: size, Type: vultr.HighPerf})
		if err != nil {
			r.t.Fatal(err)
		}
		return v.ID
	}
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.Store = New(r.api, Options{TwinCheck: patience})
		v := r.create("pvc-1")
		create(r, "pvc-1", 10)
		r.checkNow("pvc-1", 2)
		if left := r.named("pvc-1"); !slices.Equal(left, []string{v.ID}) {
			t.Errorf("left are %s", left)
		}
		if n := testutil.ToFloat64(r.twins.deleted); n != 1 {
			t.Errorf("%g deletes are counted", n)
		}
	})
	t.Run("attached", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.Store = New(r.api, Options{TwinCheck: patience})
		v, instance := r.create("pvc-1"), r.instance("node-1")
		other := create(r, "pvc-1", 10)
		r.await("the create", func() bool { return r.api.AttachVolume(t.Context(), other, instance) == nil })
		r.await("the attach", func() bool { return r.attachedTo(other) == instance })
		r.checkNow("pvc-1", 2)
		if n := testutil.ToFloat64(r.twins.found); n != 1 {
			t.Errorf("%g duplicates are counted", n)
		}
		if left := r.named("pvc-1"); len(left) != 2 || !slices.Contains(left, v.ID) {
			t.Errorf("left are %s", left)
		}
	})
}

// checkNow has the names that were created looked at, as soon as lists show so many volumes of the name.
func (r *rig) checkNow(name string, shown int) {
	r.t.Helper()
	r.await("the list", func() bool {
		list, err := r.api.Volumes(r.t.Context(), 0)
		n := 0
		for _, v := range list.Items {
			if v.Label == name {
				n++
			}
		}
		return err == nil && n == shown
	})
	r.twins.mu.Lock()
	for i := range r.twins.pending {
		r.twins.pending[i].due, r.twins.pending[i].since = time.Now(), time.Now()
	}
	r.twins.mu.Unlock()
	r.runChecks(r.t.Context())
}

// TestTwinRules: what is deleted is certainly ours, empty, unattached, younger, and made together with what is kept.
func TestTwinRules(t *testing.T) {
	t.Parallel()
	made := time.Now().Add(-2 * time.Minute).UTC().Truncate(time.Second)
	kept := disk{Volume: volume.Volume{ID: "a", SizeGiB: 10, Type: volume.NVMe, Name: "pvc-1", Region: "ewr", Created: made}}
	twin := disk{Volume: volume.Volume{ID: "b", SizeGiB: 10, Type: volume.NVMe, Name: "pvc-1", Region: "ewr", Created: made.Add(time.Second)}}
	for name, c := range map[string]struct {
		change func(s *Store, d *disk)
		want   bool
	}{
		"a second later":   {func(*Store, *disk) {}, true},
		"a minute later":   {func(_ *Store, d *disk) { d.Created = made.Add(time.Minute) }, true},
		"the same second":  {func(_ *Store, d *disk) { d.Created = made }, true},
		"older":            {func(_ *Store, d *disk) { d.Created = made.Add(-time.Second) }, false},
		"much later":       {func(_ *Store, d *disk) { d.Created = made.Add(time.Minute + time.Second) }, false},
		"attached":         {func(_ *Store, d *disk) { d.AttachedTo = []string{"i"} }, false},
		"another name":     {func(_ *Store, d *disk) { d.Name = "pvc-2" }, false},
		"another region":   {func(_ *Store, d *disk) { d.Region = "lax" }, false},
		"with content":     {func(_ *Store, d *disk) { d.Source = volume.Source{Snapshot: "s"} }, false},
		"the same volume":  {func(_ *Store, d *disk) { d.ID = "a" }, false},
		"answered already": {func(s *Store, d *disk) { s.names.put(d.Name, madeOf(d.ID, true)) }, false},
		"not answered yet": {func(s *Store, d *disk) { s.names.put(d.Name, madeOf(d.ID, false)) }, true},
		"attached once":    {func(s *Store, d *disk) { s.ledger.order(d.ID, attaching, "i") }, false},
		"larger":           {func(_ *Store, d *disk) { d.SizeGiB = 11 }, false},
		"another type":     {func(_ *Store, d *disk) { d.Type = volume.HDD }, false},
		"old":              {func(_ *Store, d *disk) { d.Created = time.Now().Add(-twinAge - time.Second) }, false},
		"of this process":  {func(s *Store, d *disk) { s.ledger.made(d.ID) }, false},
		"given up": {func(s *Store, d *disk) {
			s.ledger.made(d.ID)
			s.twins.giveUp(d.ID)
		}, true},
		"given up, in use": {func(s *Store, d *disk) {
			s.ledger.made(d.ID)
			s.twins.giveUp(d.ID)
			d.AttachedTo = []string{"i"}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			d := twin
			c.change(r.Store, &d)
			kept := kept
			if name == "old" {
				kept.Created = d.Created
			}
			if got := r.isTwin(kept, d); got != c.want {
				t.Errorf("is a twin: %t", got)
			}
		})
	}
}

func madeOf(id string, answered bool) made { return made{id: id, at: time.Now(), answered: answered} }

// TestStaleReadsAfterACreate: while neither lists nor direct reads show what was created, nothing is created again,
// nothing is taken for gone, and the caller is told to come back.
func TestStaleReadsAfterACreate(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		var stale []string
		for _, operation := range []string{"list_blocks", "get_block"} {
			stale = append(stale, r.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStale}))
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			_, err := r.Create(ctx, specOf("pvc-1"))
			cancel()
			if err == nil {
				t.Fatal("what nobody can see counts as created")
			}
		}
		ids := r.named("pvc-1")
		if len(ids) != 1 || r.cloud.Count("create_block") != 1 {
			t.Fatalf("%d creates were sent, the account has %s", r.cloud.Count("create_block"), ids)
		}
		if _, err := r.Read(t.Context(), ids[0]); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("a read that lags: %v", err)
		}
		for _, id := range stale {
			r.cloud.Sim.RemoveFault(id)
		}
		if v := r.create("pvc-1"); v.ID != ids[0] {
			t.Errorf("got %s, created was %s", v.ID, ids[0])
		}
	})
}

// TestDeleteDespiteStaleReads: a read that does not show a young volume is no proof that it is gone, the platform's
// answer to the delete is.
func TestDeleteDespiteStaleReads(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		var stale []string
		for _, operation := range []string{"get_block", "list_blocks"} {
			stale = append(stale, r.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStale}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if v, err := r.Create(ctx, specOf("pvc-1")); err == nil {
			t.Fatalf("got %+v, which nobody can see", v)
		}
		if err := r.Delete(t.Context(), r.named("pvc-1")[0]); err != nil {
			t.Fatal(err)
		}
		for _, id := range stale {
			r.cloud.Sim.RemoveFault(id)
		}
		if left := r.named("pvc-1"); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}

// TestSuccessorGivesUpItsOwn: a predecessor's volume that no list showed when the successor created shows beside the
// successor's own, and is the volume of the name.
func TestSuccessorGivesUpItsOwn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		stale := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStale})
		elder, err := r.api.CreateVolume(t.Context(), vultr.VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
		if err != nil {
			t.Fatal(err)
		}
		// Dates have seconds only, and among volumes of one second the ID decides.
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
		answer := make(chan volume.Volume, 1)
		go func() {
			v, err := r.Create(t.Context(), specOf("pvc-1"))
			if err != nil {
				t.Error(err)
			}
			answer <- v
		}()
		r.await("the successor's create", func() bool { return len(r.named("pvc-1")) == 2 })
		r.cloud.Sim.RemoveFault(stale)
		if v := <-answer; v.ID != elder.ID {
			t.Errorf("got %s, the elder is %s", v.ID, elder.ID)
		}
		if left := r.named("pvc-1"); !slices.Equal(left, []string{elder.ID}) {
			t.Errorf("left are %s, the elder is %s", left, elder.ID)
		}
	})
}

// TestDuplicates: the oldest volume of a name is kept, and the others are counted once each, however often one looks.
func TestDuplicates(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		registry := prometheus.NewRegistry()
		r.Store = New(r.api, Options{Registerer: registry})
		first := r.byHand(requestOf("pvc-1"))
		for _, size := range []int{20, 30} { // no twins, which would be deleted
			time.Sleep(2 * time.Second)
			request := requestOf("pvc-1")
			request.SizeGB = size
			r.byHand(request)
		}
		time.Sleep(10 * time.Second) // of the fake clock: lists show them
		for range 3 {
			r.names.forget("pvc-1")
			if v := r.create("pvc-1"); v.ID != first {
				t.Errorf("got %s, the oldest is %s", v.ID, first)
			}
		}
		const counted = `
# HELP csi_duplicate_volumes_deleted_total Duplicate volumes that were deleted because they were empty, never attached, and made together with the volume that is kept.
# TYPE csi_duplicate_volumes_deleted_total counter
csi_duplicate_volumes_deleted_total 0
# HELP csi_duplicate_volumes_total Volumes found beside an older one of the same name. They cost money and hold no data of a claim.
# TYPE csi_duplicate_volumes_total counter
csi_duplicate_volumes_total 2
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(counted), "csi_duplicate_volumes_total", "csi_duplicate_volumes_deleted_total"); err != nil {
			t.Error(err)
		}
	})
}

// TestOldest: the date decides, and among volumes of one second the ID, so that every process picks the same.
func TestOldest(t *testing.T) {
	t.Parallel()
	at := func(id, created string) vultr.Volume {
		v := vultr.Volume{ID: id, Label: "pvc-1"}
		if err := v.Created.UnmarshalText([]byte(created)); err != nil {
			t.Fatal(err)
		}
		return v
	}
	early, late := "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
	r := newRig(t)
	for want, all := range map[string][]vultr.Volume{
		"c": {at("a", late), at("c", early), at("b", late)},
		"a": {at("b", early), at("a", early)},
	} {
		if got := r.Store.named(all, "pvc-1"); len(got) != len(all) || got[0].ID != want {
			t.Errorf("got %+v, want %s first", got, want)
		}
	}
}

// TestTwinsWithNotes: a note at the volume that is kept does not hide its twin, and a volume that got one itself is no twin:
// notes are for volumes that are settled.
func TestTwinsWithNotes(t *testing.T) {
	for _, noted := range []int{0, 1} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			var ids []string
			for range 2 {
				ids = append(ids, r.byHand(requestOf(claimed)))
				time.Sleep(2 * time.Second) // of the fake clock
			}
			if err := r.api.RelabelVolume(t.Context(), ids[noted], claimed+" (x)"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second) // of the fake clock
			if v := r.another().create(claimed); v.ID != ids[0] {
				t.Errorf("got %s of %s", v.ID, ids)
			}
			time.Sleep(3 * time.Minute) // of the fake clock
			if left := len(r.cloud.Sim.View().Blocks); left != noted+1 {
				t.Errorf("%d are left with a note at number %d", left, noted)
			}
		})
	}
}

// TestLeftTwinOfANotedVolume: the same of a twin that a predecessor left, when it is known which of them is used.
func TestLeftTwinOfANotedVolume(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		kept := r.byHand(requestOf(claimed))
		r.byHand(requestOf(claimed))
		if err := r.api.RelabelVolume(t.Context(), kept, claimed+" (x)"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // of the fake clock
		p := r.another()
		if _, err := p.List(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		p.mustAttach(kept, r.instance("a"))
		time.Sleep(3 * time.Minute) // of the fake clock
		if left := r.cloud.Sim.View().Blocks; len(left) != 1 || left[0].ID != kept {
			t.Errorf("left are %+v", left)
		}
	})
}

// TestNameMadeAgainByAnother: a volume is deleted a moment after it was made, and its name is made again by the process that leads
// then. What was made after the delete is nobody's twin, also not for the process that looks for the deleted one's.
func TestNameMadeAgainByAnother(t *testing.T) {
	for _, pause := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			v := r.create(claimed)
			if err := r.Delete(t.Context(), v.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause) // of the fake clock
			again := r.another().create(claimed)
			time.Sleep(3 * time.Minute) // of the fake clock
			if left := r.named(claimed); !slices.Equal(left, []string{again.ID}) {
				t.Errorf("after %s: left are %s, the other process answered %s", pause, left, again.ID)
			}
			if found := testutil.ToFloat64(r.twins.found); found != 0 {
				t.Errorf("after %s: %v were reported", pause, found)
			}
		})
	}
}

// TestTwinOfADeletedVolume: what the network made of a second copy of the request goes, although its volume was deleted before the
// name was looked at again.
func TestTwinOfADeletedVolume(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create(claimed)
		r.another().byHand(requestOf(claimed))
		time.Sleep(5 * time.Second) // of the fake clock
		if err := r.Delete(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute) // of the fake clock
		if left := r.named(claimed); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}
