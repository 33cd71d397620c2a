package simulator_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// aDisks is the data plane of traits that show in the guest; each world empties it.
var aDisks = newMemoryDisks()

var blockTraits = []trait{
	{name: "05-single-attach", test: func(w *world) {
		i, j, b := w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"}), w.nvme()
		w.detach(b).refused(400, "Block storage volume is not currently attached to a server")
		w.attach(b, i).is(204)
		w.attach(b, j).refused(400, "Block storage volume is already attached to a server") // though not visible yet
		w.detach(b).refused(400, "Unable to detach block storage")
		w.pass(5 * time.Second)
		w.attach(b, i).refused(400, "Block storage volume is already attached to a server")
		w.attach(b, j).refused(400, "Block storage volume is already attached to a server")
		w.detach(b).is(204)
		w.detach(b).refused(400, "Block storage volume is not currently attached to a server")
		w.pass(5 * time.Second)
		w.attach(b, j).is(204)
	}},
	{name: "05-same-region", test: func(w *world) {
		b := w.nvme()
		w.attach(b, w.server(simulator.NewServer{Label: "i", Region: "ams"})).refusedSaying(400, "region")
		w.attach(b, nobody).refused(404, "Invalid instance-id.")
		w.attach(b, "nobody").is(400)
	}},
	{name: "05-no-bare-metal", test: func(w *world) {
		m, err := w.sim.AddBareMetal(simulator.NewServer{Label: "m"})
		if err != nil {
			w.Fatalf("%v", err)
		}
		w.attach(w.nvme(), m).refusedSaying(400, "bare metal")
	}},
	{name: "05-sixteen-volumes", test: func(w *world) {
		i := w.server(simulator.NewServer{Label: "i"})
		for range 16 {
			w.attach(w.nvme(), i).is(204)
		}
		last := w.nvme()
		w.attach(last, i).refusedSaying(400, "maximum")
		w.attach(last, w.server(simulator.NewServer{Label: "j"})).is(204)
	}},
	{name: "06-mount-id", config: simulator.Config{Disks: aDisks}, test: func(w *world) {
		i, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		want := "ewr-" + strings.ReplaceAll(b, "-", "")[:14]
		w.block(b).has("block.mount_id", want)
		w.attach(b, i).is(204)
		w.pass(5 * time.Second)
		w.block(b).has("block.mount_id", want).has("block.attached_to_instance_ip", "198.18.0.11").has("block.attached_to_instance_label", "i")
		if got := aDisks.serial(b); got != want {
			w.Errorf("the device's serial is %q, want %q", got, want)
		}
		w.detach(b).is(204)
		w.pass(5 * time.Second)
		r := w.block(b).has("block.mount_id", want)
		for _, name := range []string{"attached_to_instance", "attached_to_instance_ip", "attached_to_instance_label"} {
			r.has("block."+name, "")
		}
	}},
	{name: "06-snapshot-zero", test: func(w *world) {
		w.block(w.nvme()).has("block.snapshot_id", "0").has("block.os_id", 0).has("block.bootable", false)
	}},
	{name: "07-size-bounds", test: func(w *world) {
		for _, c := range []struct {
			kind   string
			size   int
			status int
		}{
			{"high_perf", 9, 400},
			{"high_perf", 10, 202},
			{"high_perf", 10000, 202},
			{"high_perf", 10001, 400},
			{"storage_opt", 39, 400},
			{"storage_opt", 40, 202},
			{"storage_opt", 40000, 202},
			{"storage_opt", 40001, 400},
			{"", 10, 202},
			{"ssd", 10, 400},
			{"high_perf", 0, 400},
			{"high_perf", -10, 400},
		} {
			w.post("/v2/blocks", fmt.Sprintf(`{"region":"ewr","block_type":%q,"size_gb":%d}`, c.kind, c.size)).is(c.status)
		}
		w.patch("/v2/blocks/"+w.nvme(), `{"size_gb":10001}`).refusedSaying(400, "size_gb")
	}},
	{name: "07-region-options", test: func(w *world) {
		w.post("/v2/blocks", `{"region":"fra","size_gb":10}`).refusedSaying(400, "region")
		w.post("/v2/blocks", `{"region":"fra","size_gb":40,"block_type":"storage_opt"}`).is(202)
		w.post("/v2/blocks", `{"region":"syd","size_gb":40,"block_type":"storage_opt"}`).refusedSaying(400, "region")
		w.post("/v2/blocks", `{"region":"EWR","size_gb":10}`).refused(400, "Invalid region.")
		options := map[string]bool{}
		for _, r := range w.get("/v2/regions").is(200).has("meta.total", 33).items("regions") {
			region, _ := r.(map[string]any)
			for _, o := range region["options"].([]any) {
				options[fmt.Sprint(region["id"], " ", o)] = true
			}
		}
		if !options["ewr block_storage_high_perf"] || options["fra block_storage_high_perf"] || options["syd block_storage_storage_opt"] {
			w.Errorf("regions show %v", options)
		}
	}},
	{name: "07-grow-only", test: func(w *world) {
		b := w.newBlock(`{"region":"ewr","size_gb":20}`)
		w.patch("/v2/blocks/"+b, `{"size_gb":19}`).refusedSaying(400, "smaller")
		w.patch("/v2/blocks/"+b, `{"size_gb":30}`).is(204)
		w.block(b).has("block.size_gb", 30)
	}},
	{name: "07-nothing-to-change", test: func(w *world) {
		b := w.newBlock(`{"region":"ewr","size_gb":10,"label":"v"}`)
		for _, body := range []string{``, `{}`, `{"size_gb":10}`, `{"label":"v"}`, `{"label":"v","size_gb":10}`, `{"size_gb":null}`} {
			w.patch("/v2/blocks/"+b, body).refused(400, "Nothing to change")
		}
		w.patch("/v2/blocks/"+b, `{"label":"w","size_gb":10}`).is(204)
	}},
	{name: "07-late-growth", config: simulator.Config{Disks: aDisks}, test: func(w *world) {
		i, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		w.attach(b, i).is(204)
		w.pass(5 * time.Second)
		w.patch("/v2/blocks/"+b, `{"size_gb":20}`).is(204)
		w.pass(time.Second)
		w.block(b).has("block.size_gb", 20)
		if got := aDisks.guestSize(b); got != 10<<30 {
			w.Errorf("the guest sees %d bytes at once", got)
		}
		w.pass(2 * time.Second)
		if got := aDisks.guestSize(b); got != 20<<30 {
			w.Errorf("the guest sees %d bytes in the end", got)
		}
	}},
}
