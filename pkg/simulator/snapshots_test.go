package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func TestWrappedSnapshots(t *testing.T) {
	bubble(t, simulator.Config{WrapSnapshots: true}, func(w *world) {
		id := w.snapshot(w.nvme(), "s").is(201).text("block.id") // the specification's own name
		w.get("/v2/blocks/snapshots/"+id).is(200).has("snapshot.id", id)
	})
}

func TestSnapshotRequests(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		b := w.nvme()
		w.snapshot(nobody, "s").refused(404, "Invalid block storage ID.")
		w.snapshot("x", "s").refusedSaying(400, "block_id")
		w.snapshot(b, "").refusedSaying(400, "description")
		young := w.post("/v2/blocks", `{"region":"ewr","size_gb":10}`).is(202).text("block.id")
		w.snapshot(young, "s").refusedSaying(400, "locked")

		id := w.newSnapshot(b, "before")
		w.put("/v2/blocks/snapshots/"+id, `{"description":""}`).refusedSaying(400, "description")
		w.put("/v2/blocks/snapshots/"+id, `{"description":"after"}`).is(204)
		w.put("/v2/blocks/snapshots/"+nobody, `{"description":"after"}`).is(404)
		w.get("/v2/blocks/snapshots/"+id).has("description", "after")
		w.get("/v2/blocks/snapshots?description=after").has("meta.total", 1)
	})
}

// What is asked of a volume happens in the order in which it was asked.
func TestSnapshotThenDelete(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: keep{disks}}, func(w *world) {
		b := w.nvme()
		kept := w.snapshot(b, "s").is(201).text("id")
		dropped := w.snapshot(b, "s").is(201).text("id")
		w.delete("/v2/blocks/" + b).is(204)
		w.delete("/v2/blocks/snapshots/" + dropped).is(204)
		w.pass(5 * time.Second)
		w.get("/v2/blocks/snapshots/"+kept).has("state", "COMPLETE")
		if got := disks.left(); len(got) != 1 || got[0] != kept {
			t.Errorf("files are left of %v, want %s alone", got, kept)
		}
	})
}

// On a full disk neither a snapshot nor a restore is half there, and both say so at once.
func TestNoRoomForCopies(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: keep{disks}}, func(w *world) {
		b := w.nvme()
		whole := w.newSnapshot(b, "whole")
		disks.setFull(true)
		half := w.newSnapshot(b, "half")
		w.get("/v2/blocks/snapshots/"+half).has("state", "ERROR")
		clone := w.newBlock(`{"region":"ewr","size_gb":10,"snapshot_id":"` + whole + `"}`)
		w.block(clone).has("block.status", "error")
		w.attach(clone, w.server(simulator.NewServer{Label: "i"})).is(400)
		w.restore(half, `"size_gb":10`).refused(400, "Snapshot cannot be used at this time")

		view := w.sim.View()
		if got := view.Snapshots[1].Failure; !strings.Contains(got, "no room") {
			t.Errorf("the snapshot's failure is %q", got)
		}
		if got := view.Blocks[1].Failure; !strings.Contains(got, "no room") {
			t.Errorf("the volume's failure is %q", got)
		}
		if len(view.Transitions) != 0 {
			t.Errorf("still tried: %+v", view.Transitions)
		}
		if got := disks.left(); len(got) != 2 {
			t.Errorf("files of %v", got)
		}
		// Both can be thrown away, and with room it works.
		w.delete("/v2/blocks/" + clone).is(204)
		w.delete("/v2/blocks/snapshots/" + half).is(204)
		disks.setFull(false)
		w.block(w.newBlock(`{"region":"ewr","size_gb":10,"snapshot_id":"`+whole+`"}`)).has("block.status", "active")
	})
}

// A volume that grows while it is made from a snapshot has the snapshot's content and the new size.
func TestGrowthDuringRestore(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: keep{disks}}, func(w *world) {
		id := w.newSnapshot(w.nvme(), "s")
		clone := w.restore(id, `"size_gb":10`).is(202).text("block.id")
		w.patch("/v2/blocks/"+clone, `{"size_gb":20}`).is(204)
		w.pass(time.Second)
		if size := disks.fileSize(clone); size > 0 {
			t.Errorf("an empty file of %d bytes is in the way of the restore", size)
		}
		w.pass(5 * time.Second)
		w.block(clone).has("block.status", "active").has("block.size_gb", 20)
		if got := disks.fileSize(clone); got != 20<<30 {
			t.Errorf("the file has %d bytes", got)
		}
	})
}

func TestSnapshotsSurviveARestart(t *testing.T) {
	disks := newMemoryDisks()
	var b, done, pending, gone string
	worlds(t, simulator.Config{Disks: keep{disks}}, func(w *world) {
		b = w.nvme()
		done = w.newSnapshot(b, "done")
		gone = w.newSnapshot(b, "gone")
		pending = w.snapshot(b, "pending").is(201).text("id")
	}, func(w *world) {
		w.get("/v2/blocks/snapshots/"+done).has("state", "COMPLETE").has("description", "done")
		w.pass(5 * time.Second)
		w.get("/v2/blocks/snapshots/"+pending).has("state", "COMPLETE")
		w.delete("/v2/blocks/snapshots/" + gone).is(204)
		w.pass(time.Second)
		if err := disks.copyFile(disks.snaps, "orphan", disks.files, b); err != nil { // as a kill might leave one
			t.Fatal(err)
		}
	}, func(w *world) {
		w.get("/v2/blocks/snapshots").has("meta.total", 2)
		if got := disks.left(); len(got) != 3 {
			t.Errorf("files after recovery: %v", got)
		}
	})
}
