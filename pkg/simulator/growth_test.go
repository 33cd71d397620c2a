package simulator_test

import (
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// wantGuestSize compares what the guest sees of a volume, in GB.
func (w *world) wantGuestSize(disks *memoryDisks, block string, gb int64, when string) {
	w.Helper()
	if got := disks.guestSize(block) >> 30; got != gb {
		w.Errorf("%s the guest sees %d GB, want %d", when, got, gb)
	}
}

// The API's smallest volume has 10 GB, that of the product's pages 1 GB.
func TestSmallestVolume(t *testing.T) {
	bubble(t, simulator.Config{MinHighPerfGB: 1}, func(w *world) {
		w.post("/v2/blocks", `{"region":"ewr","size_gb":1}`).is(202)
		w.post("/v2/blocks", `{"region":"ewr","size_gb":0}`).refusedSaying(400, "between 1 and 10000")
		w.post("/v2/blocks", `{"region":"ewr","size_gb":39,"block_type":"storage_opt"}`).is(400)
	})
}

// A guest sees growth after a time, or only when its kernel looks at the device again.
func TestWhenGuestsSeeGrowth(t *testing.T) {
	looks := map[string]func(w *world, block, instance string){
		"a new attach": func(w *world, block, instance string) {
			w.detach(block).is(204)
			w.pass(5 * time.Second)
			w.attach(block, instance).is(204)
			w.pass(5 * time.Second)
		},
		"a reboot": func(w *world, _, instance string) {
			w.post("/v2/instances/"+instance+"/reboot", "").is(204)
			w.pass(time.Minute)
		},
		"a halt and a start": func(w *world, _, instance string) {
			w.post("/v2/instances/"+instance+"/halt", "").is(204)
			w.pass(time.Minute)
			w.post("/v2/instances/"+instance+"/start", "").is(204)
			w.pass(time.Minute)
		},
		"an attach that restarts": func(w *world, _, instance string) {
			w.post("/v2/blocks/"+w.nvme()+"/attach", `{"instance_id":"`+instance+`"}`).is(204)
			w.pass(5 * time.Second)
		},
	}
	for name, look := range looks {
		for _, reattach := range []bool{false, true} {
			disks := newMemoryDisks()
			bubble(t, simulator.Config{Disks: keep{disks}, GrowOnReattach: reattach}, func(w *world) {
				i, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
				w.attach(b, i).is(204)
				w.pass(5 * time.Second)
				w.patch("/v2/blocks/"+b, `{"size_gb":20}`).is(204)
				w.pass(time.Second)
				w.wantGuestSize(disks, b, 10, "at once")
				w.pass(time.Hour)
				if reattach {
					w.wantGuestSize(disks, b, 10, "after an hour, before "+name+",")
					look(w, b, i)
				}
				w.wantGuestSize(disks, b, 20, "in the end, after "+name+",")
			})
		}
	}
}

// Growth that the guest has not seen when the cloud is killed comes afterwards.
func TestGrowthSurvivesARestart(t *testing.T) {
	disks := newMemoryDisks()
	var b string
	worlds(t, simulator.Config{Disks: keep{disks}}, func(w *world) {
		b = w.nvme()
		w.attach(b, w.server(simulator.NewServer{Label: "i"})).is(204)
		w.pass(5 * time.Second)
		w.patch("/v2/blocks/"+b, `{"size_gb":20}`).is(204)
		w.pass(time.Second)
	}, func(w *world) {
		w.pass(5 * time.Second)
		w.wantGuestSize(disks, b, 20, "after a restart of the cloud")
	})
}
