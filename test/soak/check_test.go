package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	// rounds bounds how often an operation is repeated once the faults have stopped, with pauses between. A detach without an
	// answer, which may be carried out at any time, is waited for by a publish for ten minutes.
	rounds = 20
	pauses = 45 * time.Second
	// temporary begins the descriptions of the snapshots by which clones are made.
	temporary = "block.csi.vultr.com: temporary copy of "
	// sweeps is how long a temporary snapshot may be left that nobody has asked for: two hours, and a sweep each hour.
	sweeps = 4 * time.Hour
)

// glance looks at what must hold at any time: sizes, and that staged volumes are where they are staged.
func (w *world) glance() {
	w.mu.Lock()
	defer w.mu.Unlock()
	view := w.cloud.Sim.View()
	sizes := map[string]int{}
	for _, b := range view.Blocks {
		sizes[b.ID] = b.SizeGB
	}
	for _, f := range view.FileSystems {
		sizes[f.ID] = f.SizeGB
	}
	for id, size := range sizes {
		if size < w.sizes[id] {
			w.fail("a volume has shrunk", "volume %s has %d GiB, it had %d", id, size, w.sizes[id])
		}
	}
	w.sizes = sizes
	for key, v := range w.staged {
		if at, settled := holds(view, v.id, key[1]); !slices.Contains(at, key[1]) || !settled {
			w.fail("detached while staged", "volume %s (%s) is staged at instance %s, and is at %v, settled %t", v.id, v.name, key[1], at, settled)
		}
	}
}

// quiet ends the faults, brings to its end what is under way, gives the driver the time that it needs to tidy up, and
// compares.
func (w *world) quiet() {
	w.locked(func() {
		w.note("quiet")
		w.cloud.Sim.ClearFaults()
		w.lag(usual())
		w.unfreeze()
	})
	w.calls.Wait()
	for round := range rounds {
		var left []*op
		w.locked(func() {
			if left = w.pending(); round == rounds-1 && len(left) > 0 {
				w.fail("an operation does not end", "%s of %s, after %d tries; due on the platform are %+v",
					left[0].name, left[0].subject(), left[0].tries, w.cloud.Sim.View().Transitions)
			}
			for _, o := range left {
				w.attempt(o, 2*time.Minute)
			}
		})
		if len(left) == 0 {
			break
		}
		w.calls.Wait()
		time.Sleep(pauses) // of the fake clock
	}
	time.Sleep(10 * time.Minute) // of the fake clock
	for began := time.Now(); time.Since(began) < sweeps && w.hasTemporary(); {
		time.Sleep(20 * time.Minute) // of the fake clock
	}
	w.locked(w.check)
}

func (w *world) hasTemporary() bool {
	return slices.ContainsFunc(w.cloud.Sim.View().Snapshots, func(s simulator.SnapshotView) bool { return strings.HasPrefix(s.Description, temporary) })
}

// check compares all that there is with all that there should be.
func (w *world) check() {
	if w.broken.rule != "" {
		return
	}
	view := w.cloud.Sim.View()
	w.checkVolumes(view)
	w.checkSnapshots(view)
	w.checkContents()
	staged, published := map[string][]*vol{}, map[string][]*vol{}
	for _, n := range w.nodes {
		staged[n.id], published[n.id] = nil, nil
	}
	for _, v := range w.volumes {
		for _, u := range v.uses {
			if u.staged && !u.node.dead {
				staged[u.node.id] = append(staged[u.node.id], v)
			}
			if u.published && !u.node.dead {
				published[u.node.id] = append(published[u.node.id], v)
			}
		}
	}
	if err := w.machines.check(staged, published); err != nil {
		w.fail("a wrong mount", "%v", err)
	}
}

// checkVolumes: each name has one volume, each volume has a name, and is where it was published.
func (w *world) checkVolumes(view simulator.View) {
	there := map[string][]string{} // by name
	for _, b := range view.Blocks {
		there[ownership.Bare(b.Label)] = append(there[ownership.Bare(b.Label)], b.ID)
	}
	for _, f := range view.FileSystems {
		there[f.Label] = append(there[f.Label], f.ID)
	}
	for _, v := range w.volumes {
		got := there[v.name]
		if w.unwatched[v.name] && slices.Contains(got, v.id) {
			got = []string{v.id}
		}
		if !slices.Equal(got, []string{v.id}) {
			w.fail("not one volume of a name", "%s is %s, the platform has %s", v.name, v.id, got)
		}
		delete(there, v.name)
		w.checkUses(view, v)
	}
	maps.DeleteFunc(there, func(name string, _ []string) bool { return w.unwatched[name] })
	for _, name := range slices.Sorted(maps.Keys(there)) {
		w.fail("an orphan", "nobody has %s, the platform has %s", name, there[name])
	}
}

func (w *world) checkUses(view simulator.View, v *vol) {
	var should []string
	for _, u := range v.uses {
		if u.attached && !u.node.dead {
			should = append(should, u.node.id)
		}
	}
	slices.Sort(should)
	if at, settled := holds(view, v.id, ""); !settled || !slices.Equal(at, should) {
		w.fail("a wrong attachment", "volume %s (%s) should be at %v, it is at %v, settled %t", v.id, v.name, should, at, settled)
	}
	size, label, _ := w.inTruth(v)
	if int64(size)*gib != v.capacity {
		w.fail("a wrong size", "volume %s (%s) was told to have %d bytes, it has %d GiB", v.id, v.name, v.capacity, size)
	}
	called := func(note string) bool {
		return label == v.name && note == "" || label == fmt.Sprintf("%s (%s)", v.name, note)
	}
	if !called(v.note) && !slices.ContainsFunc(v.late, called) {
		w.fail("a wrong label", "volume %s is called %q, its note should be %q", v.id, label, v.note)
	}
}

// checkSnapshots: each name has one snapshot, and each snapshot has a name.
func (w *world) checkSnapshots(view simulator.View) {
	there := map[string][]string{} // by name
	for _, s := range view.Snapshots {
		there[s.Description] = append(there[s.Description], s.ID)
		if s.State != "COMPLETE" {
			w.fail("a wrong snapshot", "in the end there is %+v", s)
		}
	}
	for name, ids := range there {
		there[name] = slices.DeleteFunc(ids, func(id string) bool { return w.isSpareTwin(name, id) })
	}
	for _, s := range w.snapshots {
		if got := there[s.name]; !slices.Equal(got, []string{s.id}) {
			w.fail("not one snapshot of a name", "%s is %s, the platform has %s", s.name, s.id, got)
		}
		delete(there, s.name)
	}
	maps.DeleteFunc(there, func(_ string, ids []string) bool { return len(ids) == 0 })
	for _, name := range slices.Sorted(maps.Keys(there)) {
		w.fail("an orphan", "nobody has snapshot %q, the platform has %s", name, there[name])
	}
}

// isSpareTwin reports whether a snapshot is beside one that was told and is as old by the platform's clock, which counts
// seconds: either of the two may have been told by somebody who did not see the other, so that the driver keeps both.
func (w *world) isSpareTwin(name, id string) bool {
	told, ok := w.told[name]
	if !ok || told.id == id {
		return false
	}
	snap, err := w.api.Snapshot(w.t.Context(), id)
	return err == nil && snap.Created.Unix() == told.created
}

// checkContents compares what can be read with what was written.
func (w *world) checkContents() {
	m, inMemory := w.machines.(*memory)
	for _, v := range w.volumes {
		var at *use
		for _, u := range v.uses {
			if u.published {
				at = u
			}
		}
		if at != nil || inMemory {
			w.verify(v, at)
		}
	}
	for _, s := range w.snapshots {
		if !inMemory {
			break
		}
		text, ok := m.disks.readSnapshot(s.id)
		if !ok || !slices.Contains(s.texts, text) {
			w.fail("a wrong snapshot", "snapshot %s (%s) has %q, not one of %q", s.id, s.name, text, s.texts)
		}
		s.texts = []string{text}
	}
}
