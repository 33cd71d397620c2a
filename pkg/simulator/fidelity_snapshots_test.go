package simulator_test

import (
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// newSnapshot makes a snapshot and waits until it is complete.
func (w *world) newSnapshot(block, description string) string {
	w.Helper()
	id := w.snapshot(block, description).is(201).text("id")
	w.pass(10 * time.Second)
	return id
}

func (w *world) snapshot(block, description string) reply {
	w.Helper()
	return w.post("/v2/blocks/snapshots", fmt.Sprintf(`{"block_id":%q,"description":%q}`, block, description))
}

func (w *world) put(path, body string) reply { w.Helper(); return w.do("PUT", path, body) }

func (w *world) restore(snapshot, more string) reply {
	w.Helper()
	return w.post("/v2/blocks", fmt.Sprintf(`{"region":"ewr","snapshot_id":%q,%s}`, snapshot, more))
}

var plainDate = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`)

var snapshotTraits = []trait{
	{name: "09-unwrapped", test: func(w *world) {
		b := w.nvme()
		made := w.snapshot(b, "first").is(201).has("block_id", b).has("description", "first")
		one := w.get("/v2/blocks/snapshots/"+made.text("id")).is(200).has("id", made.text("id")).has("description", "first")
		for _, name := range []string{"added_at", "updated_at", "next_invoice_date", "next_invoice_price"} {
			_ = one.text(name)
		}
		w.pass(2 * time.Second)
		w.get("/v2/blocks/snapshots").is(200).has("meta.total", 1).has("meta.links.next", "")
		w.get("/v2/blocks/snapshots/" + nobody).is(404)
		w.get("/v2/blocks/snapshots/nobody").refused(400, "Invalid UUID format.")
	}},
	{name: "09-size-in-bytes", test: func(w *world) {
		id := w.newSnapshot(w.newBlock(`{"region":"ewr","size_gb":25}`), "s")
		w.get("/v2/blocks/snapshots/"+id).has("size", 25<<30)
	}},
	{name: "09-pending", test: func(w *world) {
		b := w.nvme()
		id := w.snapshot(b, "s").is(201).has("state", "PENDING").text("id")
		w.pass(time.Second)
		w.get("/v2/blocks/snapshots/"+id).has("state", "PENDING")
		w.restore(id, `"size_gb":10`).refused(400, "Snapshot cannot be used at this time")
		w.pass(4 * time.Second)
		w.get("/v2/blocks/snapshots/"+id).has("state", "COMPLETE")
		w.restore(id, `"size_gb":10`).is(202)
	}},
	{name: "09-dates", test: func(w *world) {
		r := w.get("/v2/blocks/snapshots/" + w.newSnapshot(w.nvme(), "s"))
		added, updated := r.text("added_at"), r.text("updated_at")
		if !plainDate.MatchString(added) || !plainDate.MatchString(updated) || updated <= added {
			w.Errorf("added at %q, updated at %q", added, updated)
		}
	}},
	{name: "09-description-filter", test: func(w *world) {
		b := w.nvme()
		for _, text := range []string{"one", "one and two", "two"} {
			w.newSnapshot(b, text)
		}
		w.newSnapshot(b, "two") // descriptions are not unique
		for text, want := range map[string]int{"": 4, "one": 1, "two": 2, "one and two": 1, "three": 0} {
			w.get("/v2/blocks/snapshots?description="+url.QueryEscape(text)).is(200).has("meta.total", want)
		}
	}},
	{name: "09-restore-rules", test: func(w *world) {
		id := w.newSnapshot(w.newBlock(`{"region":"ewr","size_gb":50}`), "s")
		w.restore(id, `"size_gb":49`).refusedSaying(400, "size_gb")
		w.restore(id, `"size_gb":50,"block_type":"storage_opt"`).refusedSaying(400, "storage_opt")
		w.post("/v2/blocks", `{"region":"fra","size_gb":50,"snapshot_id":"`+id+`"}`).refusedSaying(400, "region")
		w.restore(nobody, `"size_gb":50`).refusedSaying(400, "snapshot")
		r := w.restore(id, `"size_gb":60,"block_type":"high_perf","label":"again"`).is(202).
			has("block.snapshot_id", id).has("block.os_id", 164).has("block.status", "pending")
		w.pass(5 * time.Second)
		w.block(r.text("block.id")).has("block.status", "active").has("block.size_gb", 60).has("block.snapshot_id", id)
	}},
	{name: "09-independent-lifetime", config: simulator.Config{Disks: aDisks}, test: func(w *world) {
		b := w.nvme()
		id := w.newSnapshot(b, "s")
		w.delete("/v2/blocks/" + b).is(204)
		w.pass(time.Second)
		w.get("/v2/blocks/snapshots/"+id).is(200).has("state", "COMPLETE")
		clone := w.restore(id, `"size_gb":10`).is(202).text("block.id")
		// Also one that is not finished outlives its snapshot.
		w.delete("/v2/blocks/snapshots/" + id).is(204)
		w.delete("/v2/blocks/snapshots/" + id).is(404)
		w.pass(5 * time.Second)
		w.block(clone).has("block.status", "active").has("block.snapshot_id", id)
		if got := aDisks.left(); len(got) != 1 || got[0] != clone {
			w.Errorf("files are left of %v, want %s alone", got, clone)
		}
	}},
}
