package simulator_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// Of many attaches at once one is accepted.
func TestOneOfManyAttaches(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: keep{disks}}, func(w *world) {
		b := w.nvme()
		var all sync.WaitGroup
		var accepted atomic.Int64
		for n := range 12 {
			i := w.server(simulator.NewServer{Label: fmt.Sprint("i", n)})
			all.Go(func() {
				if w.attach(b, i).status == 204 {
					accepted.Add(1)
				}
			})
		}
		all.Wait()
		if got := accepted.Load(); got != 1 {
			t.Errorf("%d attaches of one volume were accepted", got)
		}
	})
}

// Whatever is asked of one volume at once, by many, it ends where the API says it is, with every snapshot whole.
func TestManyAtOnceOnOneVolume(t *testing.T) {
	for range 10 {
		seed := rand.Uint64()
		disks := newMemoryDisks()
		bubble(t, simulator.Config{Disks: keep{disks}}, func(w *world) {
			b := w.nvme()
			servers := []string{w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})}
			var all sync.WaitGroup
			for n := range uint64(6) {
				random := rand.New(rand.NewPCG(seed, n))
				all.Go(func() {
					for range 30 {
						time.Sleep(time.Duration(random.Int64N(int64(4 * time.Second)))) // fake time
						w.anything(random, b, servers)
					}
				})
			}
			all.Wait()
			w.pass(time.Minute)
			w.wantSettled(disks, seed)
		})
	}
}

// anything asks something of a volume; now and then it destroys an instance, or the volume.
func (w *world) anything(random *rand.Rand, b string, servers []string) {
	block, i := "/v2/blocks/"+b, servers[random.IntN(len(servers))]
	var r reply
	switch n := random.IntN(100); {
	case n < 30:
		r = w.post(block+"/attach", fmt.Sprintf(`{"instance_id":%q,"live":%t}`, i, random.IntN(2) == 0))
	case n < 60:
		r = w.post(block+"/detach", `{"live":true}`)
	case n < 75:
		r = w.patch(block, fmt.Sprintf(`{"size_gb":%d}`, 10+random.IntN(50)))
	case n < 90:
		r = w.snapshot(b, "s")
	case n < 97:
		r = w.post("/v2/instances/"+i+"/reboot", "")
	case n < 98:
		r = w.delete("/v2/instances/" + i)
	default:
		r = w.delete(block)
	}
	if r.err != nil || r.status >= 500 {
		w.Errorf("%s: %d %s %v", r.what, r.status, r.raw, r.err)
	}
}

func (w *world) wantSettled(disks *memoryDisks, seed uint64) {
	w.Helper()
	view := w.sim.View()
	if len(view.Transitions) > 0 {
		w.Errorf("seed %d: still to be done: %+v", seed, view.Transitions)
	}
	want := map[string]string{}
	files := len(view.Snapshots)
	for _, b := range view.Blocks {
		files++
		if b.AttachedTo != "" {
			want[b.ID] = b.AttachedTo
		}
		if got := disks.fileSize(b.ID); got != int64(b.SizeGB)<<30 {
			w.Errorf("seed %d: the file of a volume of %d GB has %d bytes", seed, b.SizeGB, got)
		}
	}
	for _, s := range view.Snapshots {
		if s.State != "COMPLETE" {
			w.Errorf("seed %d: snapshot %+v", seed, s)
		}
	}
	if got, _ := disks.Plugged(w.ctx); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("seed %d: plugged %v, in the API %v", seed, got, want)
	}
	if got := disks.left(); len(got) != files {
		w.Errorf("seed %d: %d files, in the API %d", seed, len(got), files)
	}
}
