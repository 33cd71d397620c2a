package simulator_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestReadLags: every kind of objects, with lags of its own for GETs and lists.
func TestReadLags(t *testing.T) {
	for _, l := range laggards {
		t.Run(l.kind, func(t *testing.T) {
			lags := simulator.ReadLags{l.kind + ".get": 2 * time.Second, l.kind + ".list": 5 * time.Second}
			bubble(t, simulator.Config{ReadLags: lags}, func(w *world) { l.live(w) })
		})
	}
}

// TestReadLagOfAttachments: attach and detach of volumes, file systems and VPCs are writes as others are.
func TestReadLagOfAttachments(t *testing.T) {
	bubble(t, simulator.Config{ReadLags: simulator.ReadLags{"all": 10 * time.Second}}, func(w *world) {
		i := w.server(simulator.NewServer{Label: "n"})
		w.instance(i) // what was there before anybody asked has no lag
		b := w.newBlock(`{"region":"ewr","size_gb":10}`)
		block := "/v2/blocks/" + b
		w.pass(time.Minute)
		w.attach(b, i).is(204)
		w.pass(13 * time.Second) // 4 s until it is attached
		w.getNow(block).is(200).has("block.attached_to_instance", "")
		w.attach(b, i).is(400) // the truth
		w.pass(time.Second)
		w.getNow(block).is(200).has("block.attached_to_instance", i)
		w.detach(b).is(204)
		w.pass(13 * time.Second)
		w.getNow(block).is(200).has("block.attached_to_instance", i)
		w.pass(time.Second)
		w.getNow(block).is(200).has("block.attached_to_instance", "")

		f := w.post("/v2/vfs", laggards[2].make).text("id")
		w.pass(time.Minute)
		w.do("PUT", "/v2/vfs/"+f+"/attachments/"+i, "").is(200)
		w.getNow("/v2/vfs/"+f+"/attachments/"+i).refused(404, "Attachment Not Found")
		w.pass(time.Minute)
		w.getNow("/v2/vfs/" + f + "/attachments/" + i).is(200)
		w.delete("/v2/vfs/" + f + "/attachments/" + i).is(204)
		w.getNow("/v2/vfs/"+f+"/attachments").is(200).hasField("attachments", 0, "state", "ATTACHED")
		w.pass(time.Minute)
		w.getNow("/v2/vfs/"+f+"/attachments/"+i).refused(404, "Attachment Not Found")
	})
}

// TestReadLagsAreOfTheirKind: the most exact key counts, others have the default, and the time scale is applied.
func TestReadLagsAreOfTheirKind(t *testing.T) {
	lags := simulator.ReadLags{"all.get": 30 * time.Second, "blocks": 10 * time.Second, "blocks.get": 20 * time.Second, "vpcs.get": 0}
	bubble(t, simulator.Config{ReadLags: lags, TimeScale: 0.1}, func(w *world) {
		block := laggards[0]
		b := w.post(block.path, block.make).text("block.id")
		v := w.vpc()
		g := w.group()
		w.getNow("/v2/vpcs/" + v).is(200)
		w.getNow("/v2/vpcs").is(200).has("meta.total", 0) // the default lag, 1 s
		w.getNow("/v2/firewalls/" + g).is(404)
		w.pass(100 * time.Millisecond)
		w.getNow("/v2/vpcs").is(200).has("meta.total", 1)
		w.pass(900*time.Millisecond - 1)
		block.expect(w, "made almost 1 s ago", b, "", "")
		w.pass(1)
		block.expect(w, "made 1 s ago", b, "", "old")
		w.pass(time.Second)
		block.expect(w, "made 2 s ago", b, "old", "old")
		w.pass(time.Second - 1)
		w.getNow("/v2/firewalls/" + g).is(404)
		w.pass(1)
		w.getNow("/v2/firewalls/" + g).is(200)
	})
}

// TestEveryReadCanLag asks everything there is of a past cloud, which has no scheduler, no log and no faults.
func TestEveryReadCanLag(t *testing.T) {
	bubble(t, simulator.Config{ReadLags: simulator.ReadLags{"all": time.Second}}, func(w *world) {
		w.makeParents()
		cluster := w.post("/v2/kubernetes/clusters", aCluster).is(201)
		ids := strings.NewReplacer("/v2/instances/"+nobody, "/v2/instances/"+w.made["instance"], "/v2/firewalls/"+nobody, "/v2/firewalls/"+w.made["group"],
			"/v2/vpcs/"+nobody, "/v2/vpcs/"+w.made["vpc"], "nobody.example", w.made["domain"],
			"/v2/kubernetes/clusters/"+nobody, "/v2/kubernetes/clusters/"+cluster.text("vke_cluster.id"))
		w.pass(time.Hour)
		found := 0
		for _, r := range simulator.Routes() {
			if r.Method != "GET" {
				continue
			}
			switch got := w.get(ids.Replace(pathOf(r.Path, ""))); {
			case got.status == 200:
				found++
			case got.status != 404 && got.status != 400:
				w.Errorf("%s: %d %s", got.what, got.status, got.raw)
			}
		}
		if found < 40 {
			w.Errorf("only %d reads found something", found)
		}
	})
}

// TestStaleByALag is the fault: reads that match are behind, from what was there when it was added.
func TestStaleByALag(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		block := laggards[0]
		first := w.post(block.path, block.make).text("block.id")
		w.pass(time.Minute)
		w.fault(simulator.Fault{Action: simulator.FaultStale, Operation: "get_block", LagMS: 20_000})
		second := w.post(block.path, block.make).text("block.id")
		w.patch("/v2/blocks/"+first, `{"label":"new"}`).is(204)
		w.pass(20*time.Second - 1)
		block.expect(w, "almost 20 s later", first, "old", "new")
		block.expect(w, "almost 20 s later", second, "", "old")
		w.pass(1)
		block.expect(w, "20 s later", first, "new", "new")
		block.expect(w, "20 s later", second, "old", "old")
	})
}

// TestReadLagsByOperator sets them while the cloud runs.
func TestReadLagsByOperator(t *testing.T) {
	r := newRaw(t, simulator.Config{ReadLags: simulator.ReadLags{"vfs": 5 * time.Second}})
	operator := httptest.NewServer(r.sim.AdminHandler())
	t.Cleanup(operator.Close)
	ask := func(method, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, operator.URL+"/read-lags", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if status, text := ask("GET", ""); status != 200 || !strings.Contains(text, `"vfs": "5s"`) || !strings.Contains(text, `"all": "1s"`) {
		t.Errorf("%d %s", status, text)
	}
	for body, fault := range map[string]string{
		`{"disks":"1s"}`:       `unknown kind "disks"`,
		`{"blocks.post":"1s"}`: `unknown read "post"`,
		`{"blocks":"-1s"}`:     "is not from 0",
		`{"blocks":"2h"}`:      "is not from 0",
		`{"blocks":"soon"}`:    "soon",
		`{"blocks":1}`:         "number",
	} {
		if status, text := ask("PUT", body); status != 400 || !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), fault) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if lags := r.sim.ReadLags(); !maps.Equal(lags, simulator.ReadLags{"vfs": 5 * time.Second, "all": time.Second}) {
		t.Errorf("a refused change left %v", lags)
	}
	if status, text := ask("PUT", `{"blocks.list":"1h"}`); status != 204 {
		t.Errorf("%d %s", status, text)
	}
	if head, _, _ := r.ask("POST", "/v2/blocks", newVolume); !strings.HasPrefix(head, "HTTP/1.1 202") {
		t.Error(head)
	}
	if _, body, _ := r.ask("GET", "/v2/blocks", ""); !strings.Contains(body, `"blocks":[]`) {
		t.Error(body)
	}
	for _, now := range []string{`{"blocks.list":"0s"}`, `{"all":"0s"}`} {
		if status, text := ask("PUT", now); status != 204 {
			t.Errorf("%d %s", status, text)
		}
		if _, body, _ := r.ask("GET", "/v2/blocks", ""); strings.Contains(body, `"blocks":[]`) {
			t.Error(now, body)
		}
	}
	if status, text := ask("PUT", `{}`); status != 204 || !maps.Equal(r.sim.ReadLags(), simulator.ReadLags{"all": time.Second}) {
		t.Errorf("%d %s: nothing is the default, it is %v", status, text, r.sim.ReadLags())
	}
}

// TestNoReadLag: a cloud that is told so has reads that show the truth.
func TestNoReadLag(t *testing.T) {
	bubble(t, simulator.Config{ReadLags: simulator.NoReadLag()}, func(w *world) {
		for _, l := range laggards {
			id := l.made(w)
			l.expect(w, "just made", id, l.before, l.before)
		}
	})
}

// TestWhatNeverLags: the answer of a write is of the write, refusals are of what is, and so are the operator's view, the
// metadata service and what no request changes.
func TestWhatNeverLags(t *testing.T) {
	bubble(t, simulator.Config{ReadLags: simulator.ReadLags{"all": time.Hour}}, func(w *world) {
		for _, path := range []string{"/v2/account", "/v2/regions", "/v2/plans", "/v2/plans-metal", "/v2/os", "/v2/applications", "/v2/kubernetes/versions"} {
			w.getNow(path).is(200)
		}
		i := w.server(simulator.NewServer{Label: "i", MainIP: "198.18.7.7"})
		w.getNow("/v2/instances/" + i).is(200) // an operator's own are there from the start
		b := w.post("/v2/blocks", `{"region":"ewr","size_gb":10,"label":"old"}`).is(202).has("block.label", "old").text("block.id")
		w.pass(5 * time.Second)
		w.attach(b, i).is(204)
		w.attach(b, i).is(400)
		w.pass(5 * time.Second)
		w.delete("/v2/blocks/" + b).is(400)
		if got := w.sim.View().Blocks; len(got) != 1 || got[0].AttachedTo != i {
			t.Errorf("the operator sees %+v", got)
		}
		w.patch("/v2/instances/"+i, `{"label":"new"}`).is(202).has("instance.label", "new")
		w.guestView("198.18.7.7").has("hostname", "i").has("instance-v2-id", i)
		w.getNow("/v2/blocks/" + b).is(404)
		w.getNow("/v2/instances/"+i).has("instance.label", "i")
	})
}

// TestNothingIsOlderThanTheStart: a cloud that starts again shows at once what it ended with.
func TestNothingIsOlderThanTheStart(t *testing.T) {
	cfg := simulator.Config{StateDir: t.TempDir(), ReadLags: simulator.ReadLags{"all": time.Hour}}
	var made []string
	bubble(t, cfg, func(w *world) {
		for _, l := range laggards {
			id := l.made(w)
			made = append(made, id)
			w.pass(2 * time.Minute)
			l.expect(w, "made a moment ago", id, "", "")
			l.changed(w, id)
		}
	})
	bubble(t, cfg, func(w *world) {
		for n, l := range laggards {
			l.expect(w, "after a restart", made[n], l.after, l.after)
			w.delete(l.path + "/" + made[n])
			l.expect(w, "just deleted", made[n], l.after, l.after)
		}
	})
}

// TestThePastIsForgotten: what 10,000 volumes were, several times in a second, is kept for as long as reads can ask for
// it, though nothing changes any more, and no longer.
func TestThePastIsForgotten(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		inUse := func() int {
			var memory runtime.MemStats
			runtime.GC() //nolint:revive // what is garbage is not in use
			runtime.ReadMemStats(&memory)
			return int(memory.HeapAlloc >> 20)
		}
		relabel := func(letter string) {
			if err := w.sim.Relabel(strings.Repeat(letter, 1<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.sim.Fill(10_000, 0, 0); err != nil {
			t.Fatal(err)
		}
		relabel("x")
		w.pass(time.Minute)
		before := inUse()
		for range 8 {
			relabel("y")
		}
		if r := w.getNow("/v2/blocks?per_page=1").is(200); r.field("blocks", 0, "label") != strings.Repeat("x", 1<<10) {
			t.Error("the past is not kept")
		}
		if grown := inUse() - before; grown < 60 { // or this test shows nothing
			t.Errorf("80 MB that reads can ask for take %d MB", grown)
		}
		w.pass(10 * time.Second)
		if grown := inUse() - before; grown > 20 {
			t.Errorf("%d MB are kept for nobody", grown)
		}
	})
}

// TestThePastIsKeptForFaults: a fault with a lag keeps more of it, until the fault goes.
func TestThePastIsKeptForFaults(t *testing.T) {
	for name, remove := range map[string]func(w *world, fault string){
		"removed": func(w *world, fault string) { w.sim.RemoveFault(fault) },
		"cleared": func(w *world, _ string) { w.sim.ClearFaults() },
		"kept":    func(*world, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, simulator.Config{}, func(w *world) {
				fault := w.fault(simulator.Fault{Action: simulator.FaultStale, Operation: "get_block", LagMS: 600_000})
				v := w.post("/v2/vpcs", `{"region":"ewr"}`).is(201).text("vpc.id")
				w.pass(time.Minute)
				remove(w, fault)
				w.pass(time.Minute)
				if err := w.sim.SetReadLags(simulator.ReadLags{"vpcs": 10 * time.Minute}); err != nil {
					t.Fatal(err)
				}
				if _, there := w.getNow("/v2/vpcs/" + v).body.(map[string]any)["vpc"]; there != (name != "kept") {
					t.Errorf("what was made 2 min ago is seen by a read that is 10 min behind: %t", there)
				}
			})
		})
	}
}

// TestReadKindsAreDocumented demands that the manual names them all.
func TestReadKindsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range simulator.ReadKinds() {
		if !strings.Contains(string(page), "`"+kind+"`") {
			t.Errorf("the manual does not name %s", kind)
		}
	}
}
