package simulator_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// fault puts a fault in force.
func (w *world) fault(f simulator.Fault) string {
	w.Helper()
	id, err := w.sim.AddFault(f)
	if err != nil {
		w.Fatalf("%v", err)
	}
	return id
}

func (w *world) blocks() int { w.Helper(); return len(w.sim.View().Blocks) }

func TestHoldBeforeAndAfterTheWork(t *testing.T) {
	for action, done := range map[simulator.FaultAction]int{simulator.FaultHoldBefore: 0, simulator.FaultHoldAfter: 1} {
		t.Run(string(action), func(t *testing.T) {
			bubble(t, simulator.Config{}, func(w *world) {
				id := w.fault(simulator.Fault{Operation: "create_block", Action: action, Times: 1})
				answers := make(chan reply)
				go func() { answers <- w.post("/v2/blocks", `{"region":"ewr","size_gb":10}`) }()
				if err := w.sim.WaitHeld(w.ctx, id); err != nil {
					t.Fatal(err)
				}
				w.pass(time.Hour)
				if w.blocks() != done {
					t.Errorf("%d volumes while held, want %d", w.blocks(), done)
				}
				w.get("/v2/blocks").is(200) // others are not held
				w.sim.ReleaseFault(id)
				(<-answers).is(202)
				if w.blocks() != 1 {
					t.Errorf("%d volumes after the release, want 1", w.blocks())
				}
			})
		})
	}
}

// A request that reached the cloud is worked on, though the client is dead.
func TestHeldRequestOutlivesItsClient(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		id := w.fault(simulator.Fault{Operation: "create_block", Action: simulator.FaultHoldBefore})
		ctx, kill := context.WithCancel(w.ctx)
		req, err := http.NewRequestWithContext(ctx, "POST", "http://api/v2/blocks", strings.NewReader(`{"region":"ewr","size_gb":10}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+testKey)
		ended := make(chan error)
		go func() {
			resp, err := w.client.Do(req)
			if err == nil {
				err = resp.Body.Close()
			}
			ended <- err
		}()
		if err := w.sim.WaitHeld(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		kill()
		if err := <-ended; err == nil {
			t.Fatal("the killed client got an answer")
		}
		synctest.Wait()
		if w.blocks() != 0 {
			t.Fatal("the work was done while held")
		}
		w.sim.RemoveFault(id)
		w.pass(time.Second)
		if w.blocks() != 1 {
			t.Errorf("%d volumes after the release, want 1", w.blocks())
		}
	})
}

func TestFaultsBeforeAndAfter(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		body := `{"region":"ewr","size_gb":10}`
		for i, c := range []struct {
			fault  simulator.Fault
			status int // 0 = no answer
			blocks int
		}{
			{simulator.Fault{Action: simulator.FaultResetBefore}, 0, 0},
			{simulator.Fault{Action: simulator.FaultResetAfter}, 0, 1},
			{simulator.Fault{Action: simulator.FaultStatus, Status: 500}, 500, 1},
			{simulator.Fault{Action: simulator.FaultStatusAfter, Status: 504}, 504, 2},
			{simulator.Fault{Action: simulator.FaultLatency, LatencyMS: 1500}, 202, 3},
		} {
			c.fault.Method = "POST"
			id := w.fault(c.fault)
			began := time.Now()
			if r := w.post("/v2/blocks", body); r.status != c.status {
				t.Errorf("%d: status %d, want %d", i, r.status, c.status)
			}
			if want := time.Duration(c.fault.LatencyMS) * time.Millisecond; time.Since(began) != want {
				t.Errorf("%d: took %v, want %v", i, time.Since(began), want)
			}
			if w.blocks() != c.blocks {
				t.Errorf("%d: %d volumes, want %d", i, w.blocks(), c.blocks)
			}
			w.sim.RemoveFault(id)
		}
		c := w.sim.Counters()["create_block"]
		if c.Total != 5 || c.Failed != 4 || c.ByStatus[0] != 2 || c.ByStatus[202] != 1 {
			t.Errorf("counted %+v", c)
		}
		log := w.sim.Requests(1)
		if len(log) != 1 || log[0].Status != 202 || log[0].Source != testSource || len(log[0].Faults) != 1 {
			t.Errorf("log %+v", log)
		}
	})
}

func TestNthRequest(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		w.fault(simulator.Fault{Path: "/v2/blocks", Nth: 3, Times: 2, Action: simulator.FaultStatus, Status: 503})
		for i, want := range []int{200, 200, 503, 503, 200} {
			if got := w.get("/v2/blocks").status; got != want {
				t.Errorf("request %d: %d, want %d", i+1, got, want)
			}
		}
		if f := w.sim.Faults()[0]; f.Matched != 5 || f.Hit != 2 {
			t.Errorf("fault %+v", f)
		}
	})
}

// Who removes a latency, or ends the cloud, need not wait it out.
func TestLatencyEndsWithItsFault(t *testing.T) {
	for name, end := range map[string]func(w *world, id string){
		"removed": func(w *world, id string) { w.sim.RemoveFault(id) },
		"closed":  func(w *world, _ string) { _ = w.sim.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, simulator.Config{}, func(w *world) {
				id := w.fault(simulator.Fault{Action: simulator.FaultLatency, LatencyMS: 3600_000})
				began := time.Now()
				ended := make(chan struct{})
				go func() { defer close(ended); w.get("/v2/regions").is(200) }()
				if err := w.sim.WaitHeld(w.ctx, id); err != nil {
					t.Fatal(err)
				}
				end(w, id)
				<-ended
				if took := time.Since(began); took > time.Second {
					t.Errorf("answered after %v", took)
				}
			})
		})
	}
}

// A cloud that ends releases what it holds, so that nothing waits for ever.
func TestCloseReleasesHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t, simulator.Config{})
		id := w.fault(simulator.Fault{Action: simulator.FaultHoldAfter})
		ended := make(chan struct{})
		go func() { defer close(ended); w.get("/v2/blocks") }()
		if err := w.sim.WaitHeld(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { <-ended })
	})
}

func TestBoundedInput(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		w.post("/v2/blocks", `{"label":"`+strings.Repeat("x", 2<<20)+`"}`).is(http.StatusRequestEntityTooLarge)
		w.post("/v2/blocks", strings.Repeat(`[`, 100000)).refusedSaying(400, "deep")
		w.post("/v2/blocks", `{"label":"`+strings.Repeat("[", 100)+`","region":"ewr","size_gb":10}`).is(202)
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"user_data":"`+strings.Repeat("x", 4<<20)+`"}`).is(202)
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"user_data":"`+strings.Repeat("x", 4<<20+1)+`"}`).is(400)
	})
}

func TestInstanceRules(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		w.post("/v2/instances", `{"region":"moon","plan":"vc2-1c-1gb","os_id":2136}`).refused(400, "Invalid region.")
		w.post("/v2/instances", `{"region":"ewr","plan":"huge","os_id":2136}`).refused(400, "Invalid plan.")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb"}`).refused(400, "Cannot add instance. Invalid os_id")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"tags":["`+strings.Repeat(`a","`, 50)+`"]}`).is(400)
		i := w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"label":"Node","enable_ipv6":true,"user_data":"aGk="}`).
			is(202).has("instance.tags", []any{}).has("instance.hostname", "node").has("instance.features", []any{"ipv6"}).text("instance.id")
		w.pass(2 * time.Minute)
		doc, ok := w.sim.MetadataByAddress(netip.MustParseAddr("198.18.0.11"))
		if !ok || doc.InstanceID != i || doc.Region != "ewr" || doc.UserData != "hi" || doc.Hostname != "node" || doc.MainIPv6 == "" {
			t.Errorf("metadata %+v", doc)
		}
		if _, ok := w.sim.MetadataByAddress(netip.MustParseAddr("198.18.0.12")); ok {
			t.Errorf("a stranger gets metadata")
		}
		if _, ok := w.sim.MetadataByAddress(netip.Addr{}); ok {
			t.Errorf("nobody gets metadata")
		}
	})
}

func TestBareMetals(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		id, err := w.sim.AddBareMetal(simulator.NewServer{Label: "metal", Tags: []string{"A"}})
		if err != nil {
			t.Fatal(err)
		}
		w.get("/v2/bare-metals?label=other").is(200).has("meta.total", 1)
		w.get("/v2/bare-metals/"+id).is(200).has("bare_metal.ram", "32768 MB").has("bare_metal.main_ip", "198.18.0.11").has("bare_metal.server_status", missing)
		w.get("/v2/instances/" + id).is(404)
		w.get("/v2/bare-metals/"+nobody).refused(404, "Invalid server")
		lb := w.newBalancer(`{"region":"ewr","instances":["` + id + `"]}`)
		if err := w.sim.RemoveBareMetal(id); err != nil {
			t.Fatal(err)
		}
		w.pass(w.lag)
		w.get("/v2/bare-metals/" + id).is(404)
		w.balancer(lb).has("load_balancer.instances", []any{})
	})
}
