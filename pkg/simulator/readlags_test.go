package simulator_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// laggard is one kind of objects with how it is made, changed, deleted and read.
type laggard struct {
	kind, path, list string
	make, change     string // bodies
	id, read         string // where the answers have its ID and what is changed
	is               string // what it reads before the change
	put              bool   // changed by PUT instead of PATCH
}

var laggards = []laggard{
	{
		kind: "blocks", path: "/v2/blocks", list: "blocks", make: `{"region":"ewr","size_gb":10,"label":"old"}`,
		change: `{"label":"new"}`, id: "block.id", read: "block.label", is: "old",
	},
	{
		kind: "block_snapshots", path: "/v2/blocks/snapshots", list: "snapshots", make: `{"block_id":"{block}","description":"old"}`,
		change: `{"description":"new"}`, id: "id", read: "description", is: "old", put: true,
	},
	{
		kind: "vfs", path: "/v2/vfs", list: "vfs", make: `{"region":"ewr","label":"old","storage_size":{"gb":10},"disk_type":"nvme"}`,
		change: `{"label":"new"}`, id: "id", read: "label", is: "old", put: true,
	},
	{
		kind: "instances", path: "/v2/instances", list: "instances", make: `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"label":"old"}`,
		change: `{"label":"new"}`, id: "instance.id", read: "instance.label", is: "old",
	},
	{
		kind: "load_balancers", path: "/v2/load-balancers", list: "load_balancers",
		make:   `{"region":"ewr","label":"old","forwarding_rules":[{"frontend_protocol":"tcp","frontend_port":80,"backend_protocol":"tcp","backend_port":80}]}`,
		change: `{"label":"new"}`, id: "load_balancer.id", read: "load_balancer.label", is: "old",
	},
	{
		kind: "vpcs", path: "/v2/vpcs", list: "vpcs", make: `{"region":"ewr","description":"old"}`,
		change: `{"description":"new"}`, id: "vpc.id", read: "vpc.description", is: "old", put: true,
	},
	{
		kind: "firewall_groups", path: "/v2/firewalls", list: "firewall_groups", make: `{"description":"old"}`,
		change: `{"description":"new"}`, id: "firewall_group.id", read: "firewall_group.description", is: "old", put: true,
	},
}

// seen returns what GET and the list show of an object: its field that changes, "" if it is not there.
func (l laggard) seen(w *world, id string) (get, list string) {
	w.Helper()
	switch r := w.get(l.path + "/" + id); r.status {
	case 200:
		get = r.text(l.read)
	case 404:
	default:
		r.is(200)
	}
	field := l.read[strings.LastIndex(l.read, ".")+1:]
	for _, item := range w.get(l.path).is(200).items(l.list) {
		if m, _ := item.(map[string]any); m["id"] == id {
			list, _ = m[field].(string)
		}
	}
	return get, list
}

// expect demands what GET and the list show.
func (l laggard) expect(w *world, when, id, get, list string) {
	w.Helper()
	if gotGet, gotList := l.seen(w, id); gotGet != get || gotList != list {
		w.Errorf("%s, %s: GET shows %q and the list %q, want %q and %q", l.kind, when, gotGet, gotList, get, list)
	}
}

// live takes an object through its life. Its GETs are 2 s behind, its lists 5 s.
func (l laggard) live(w *world) {
	w.Helper()
	id := w.post(l.path, l.make).text(l.id)
	l.expect(w, "just made", id, "", "")
	w.pass(2*time.Second - 1)
	l.expect(w, "made almost 2 s ago", id, "", "")
	w.pass(1)
	l.expect(w, "made 2 s ago", id, l.is, "")
	w.pass(3 * time.Second)
	l.expect(w, "made 5 s ago", id, l.is, l.is)
	w.pass(time.Minute)
	method := "PATCH"
	if l.put {
		method = "PUT"
	}
	if r := w.do(method, l.path+"/"+id, l.change); r.status/100 != 2 {
		w.Fatalf("%s: %d %s", r.what, r.status, r.raw)
	}
	l.expect(w, "just changed", id, l.is, l.is)
	w.pass(2 * time.Second)
	l.expect(w, "changed 2 s ago", id, "new", l.is)
	w.pass(3 * time.Second)
	l.expect(w, "changed 5 s ago", id, "new", "new")
	w.delete(l.path + "/" + id).is(204)
	l.expect(w, "just deleted", id, "new", "new")
	w.delete(l.path + "/" + id).is(404) // a write knows the truth
	w.pass(2 * time.Second)
	l.expect(w, "deleted 2 s ago", id, "", "new")
	w.pass(3 * time.Second)
	l.expect(w, "deleted 5 s ago", id, "", "")
}

// TestReadLags: every kind of objects, with lags of its own for GETs and lists.
func TestReadLags(t *testing.T) {
	for _, l := range laggards {
		t.Run(l.kind, func(t *testing.T) {
			lags := simulator.ReadLags{l.kind + ".get": 2 * time.Second, l.kind + ".list": 5 * time.Second}
			bubble(t, simulator.Config{ReadLags: lags}, func(w *world) {
				if l.kind == "block_snapshots" {
					l.make = strings.ReplaceAll(l.make, "{block}", w.nvme())
				}
				l.live(w)
			})
		})
	}
}

// TestReadLagOfAttachments: attach and detach of volumes, file systems and VPCs are writes as others are.
func TestReadLagOfAttachments(t *testing.T) {
	bubble(t, simulator.Config{ReadLags: simulator.ReadLags{"all": 10 * time.Second}}, func(w *world) {
		i := w.server(simulator.NewServer{Label: "n"})
		w.instance(i) // what was there before anybody asked has no lag
		b := w.newBlock(`{"region":"ewr","size_gb":10}`)
		w.pass(time.Minute)
		w.attach(b, i).is(204)
		w.pass(13 * time.Second) // 4 s until it is attached
		w.block(b).has("block.attached_to_instance", "")
		w.attach(b, i).is(400) // the truth
		w.pass(time.Second)
		w.block(b).has("block.attached_to_instance", i)
		w.detach(b).is(204)
		w.pass(13 * time.Second)
		w.block(b).has("block.attached_to_instance", i)
		w.pass(time.Second)
		w.block(b).has("block.attached_to_instance", "")

		f := w.post("/v2/vfs", laggards[2].make).text("id")
		w.pass(time.Minute)
		w.do("PUT", "/v2/vfs/"+f+"/attachments/"+i, "").is(200)
		w.get("/v2/vfs/"+f+"/attachments/"+i).refused(404, "Attachment Not Found")
		w.pass(time.Minute)
		w.get("/v2/vfs/" + f + "/attachments/" + i).is(200)
		w.delete("/v2/vfs/" + f + "/attachments/" + i).is(204)
		w.get("/v2/vfs/"+f+"/attachments").is(200).hasField("attachments", 0, "state", "ATTACHED")
		w.pass(time.Minute)
		w.get("/v2/vfs/"+f+"/attachments/"+i).refused(404, "Attachment Not Found")
	})
}

// TestReadLagsAreOfTheirKind: the most exact key counts, others show the truth, and the time scale is applied.
func TestReadLagsAreOfTheirKind(t *testing.T) {
	lags := simulator.ReadLags{"all.get": 30 * time.Second, "blocks": 10 * time.Second, "blocks.get": 20 * time.Second, "vpcs.get": 0}
	bubble(t, simulator.Config{ReadLags: lags, TimeScale: 0.1}, func(w *world) {
		block := laggards[0]
		b := w.post(block.path, block.make).text("block.id")
		v := w.vpc()
		g := w.group()
		w.get("/v2/vpcs/" + v).is(200)
		w.get("/v2/vpcs").is(200).has("meta.total", 0) // the lag of new objects, 1 s
		w.get("/v2/firewalls/" + g).is(404)
		w.pass(100 * time.Millisecond)
		w.get("/v2/vpcs").is(200).has("meta.total", 1)
		w.pass(900*time.Millisecond - 1)
		block.expect(w, "made almost 1 s ago", b, "", "")
		w.pass(1)
		block.expect(w, "made 1 s ago", b, "", "old")
		w.pass(time.Second)
		block.expect(w, "made 2 s ago", b, "old", "old")
		w.pass(time.Second - 1)
		w.get("/v2/firewalls/" + g).is(404)
		w.pass(1)
		w.get("/v2/firewalls/" + g).is(200)
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
	r := newRaw(t, simulator.Config{ReadLags: simulator.ReadLags{"vfs": time.Second}})
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
	if status, text := ask("GET", ""); status != 200 || !strings.Contains(text, `"vfs": "1s"`) {
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
	if lags := r.sim.ReadLags(); !maps.Equal(lags, simulator.ReadLags{"vfs": time.Second}) {
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
	if status, text := ask("PUT", `{"blocks.list":"0s"}`); status != 204 {
		t.Errorf("%d %s", status, text)
	}
	if _, body, _ := r.ask("GET", "/v2/blocks", ""); strings.Contains(body, `"blocks":[]`) {
		t.Error(body)
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
