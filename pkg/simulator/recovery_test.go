package simulator_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// worlds runs one test after another on the same state, as a process that is started again.
func worlds(t *testing.T, cfg simulator.Config, lives ...func(w *world)) {
	t.Helper()
	cfg.StateDir = t.TempDir()
	var ended time.Time
	for _, life := range lives {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(ended)) // the fake clock begins again in each bubble
			life(newWorld(t, t, cfg))
			ended = time.Now()
		})
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	var b, late, i, lb string
	worlds(t, simulator.Config{}, func(w *world) {
		b, i = w.nvme(), w.post("/v2/instances", anInstance).is(202).text("instance.id")
		w.pass(2 * time.Minute)
		w.attach(b, i).is(204)
		w.pass(5 * time.Second)
		lb = w.newBalancer(`{"region":"ewr","forwarding_rules":[` + webRule + `],"instances":["` + i + `"]}`)
		late = w.post("/v2/blocks", `{"region":"ewr","size_gb":10}`).is(202).text("block.id")
	}, func(w *world) {
		w.block(b).has("block.attached_to_instance", i)
		w.instance(i).state("active", "running", "ok")
		w.balancer(lb).has("load_balancer.instances", []any{i}).has("load_balancer.ipv4", "198.19.0.1")
		// What was under way goes on: its deadline is in the state.
		w.pass(5 * time.Second)
		w.block(late).has("block.status", "active")
		w.detach(b).is(204)
		w.delete("/v2/load-balancers/" + lb).is(204)
	}, func(w *world) {
		w.pass(5 * time.Second)
		w.block(b).has("block.attached_to_instance", "")
		w.get("/v2/load-balancers/" + lb).is(404)
		next := w.post("/v2/blocks", `{"region":"ewr","size_gb":10,"label":"last"}`).is(202).text("block.id")
		w.pass(time.Second)
		items := w.get("/v2/blocks").items("blocks")
		last, _ := items[len(items)-1].(map[string]any)
		if len(items) != 3 || last["id"] != next {
			t.Errorf("the newest volume does not come last: %v", items)
		}
	})
}

// Everything of the account is the same after a restart, its order in lists included.
func TestAccountSurvivesARestart(t *testing.T) {
	seen := map[string]string{}
	var paths []string
	for _, lc := range listCases {
		if !strings.Contains(lc.path, "{") {
			paths = append(paths, lc.path)
		}
	}
	worlds(t, simulator.Config{}, func(w *world) {
		w.makeParents()
		for _, lc := range listCases {
			for n := range 2 {
				if lc.add != nil {
					lc.add(w, n)
				}
			}
		}
		paths = append(paths, "/v2/firewalls/"+w.made["group"]+"/rules", "/v2/vpcs/"+w.made["vpc"]+"/attachments",
			"/v2/domains/parent.example.com/records", "/v2/instances/"+w.made["instance"]+"/ipv4")
		w.pass(time.Hour)
		for _, path := range paths {
			seen[path] = w.get(path).is(200).raw
		}
	}, func(w *world) {
		for _, path := range paths {
			if now := w.get(path).is(200).raw; now != seen[path] {
				t.Errorf("%s was\n%s\nand is\n%s", path, seen[path], now)
			}
		}
		// What comes next is listed last.
		w.post("/v2/ssh-keys", `{"name":"last","ssh_key":"`+aKey+`"}`).is(201)
		w.pass(time.Second)
		keys := w.get("/v2/ssh-keys")
		keys.hasField("ssh_keys", len(keys.items("ssh_keys"))-1, "name", "last")
	})
}

// What is on the machine is made what the state says, whatever was there.
func TestRecoveryOfDisks(t *testing.T) {
	disks := newMemoryDisks()
	cfg := simulator.Config{Disks: keep{disks}}
	var free, attached, moved, i, j string
	worlds(t, cfg, func(w *world) {
		free, attached, moved = w.nvme(), w.nvme(), w.nvme()
		i, j = w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})
		w.attach(attached, i).is(204)
		w.attach(moved, i).is(204)
		w.pass(5 * time.Second)
	}, func(w *world) {
		if len(disks.plugged) != 2 {
			w.Fatalf("plugged: %v", disks.plugged)
		}
		// The machine as a kill might leave it.
		disks.plugged = map[string]string{free: j, moved: j, nobody: i}
		disks.files[nobody], disks.files["orphan"] = 1, 1
	}, func(w *world) {
		if len(disks.plugged) != 2 || disks.plugged[attached] != i || disks.plugged[moved] != i {
			w.Errorf("plugged after recovery: %v", disks.plugged)
		}
		if len(disks.files) != 3 {
			w.Errorf("backing files after recovery: %v", disks.files)
		}
		// A disk that cannot be released now is tried again while the cloud runs.
		disks.plugged[free] = j
		disks.hold(free, "process 1")
	}, func(w *world) {
		w.pass(10 * time.Second)
		disks.hold(free, "")
		w.pass(2 * time.Second)
		if _, ok := disks.plugged[free]; ok {
			w.Errorf("the disk stays plugged after its holder went")
		}
	})
}

// keep keeps newWorld from emptying a plane.
type keep struct{ simulator.Disks }

func TestNewerStateIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(dir+"/state.db", 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("version"), []byte("2")) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = simulator.New(t.Context(), simulator.Config{StateDir: dir})
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("error %v", err)
	}
}

func TestTwoProcessesDoNotShareAState(t *testing.T) {
	dir := t.TempDir()
	first, err := simulator.New(t.Context(), simulator.Config{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := simulator.New(t.Context(), simulator.Config{StateDir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	_, err := simulator.New(t.Context(), simulator.Config{TimeScale: -1, RateLimit: -1, RateLimitBy: "moon", MinHighPerfGB: -1})
	for _, words := range []string{"smallest high_perf volume", "time scale", "rate limit -1", `rate limit by "moon"`} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v does not name %s", err, words)
		}
	}
	for _, x := range []float64{math.NaN(), math.Inf(1)} {
		_, err := simulator.New(t.Context(), simulator.Config{TimeScale: x, RateLimit: x})
		if err == nil || strings.Count(err.Error(), fmt.Sprint(x)) != 2 {
			t.Errorf("with %v: error %v", x, err)
		}
	}
}

func TestAdmin(t *testing.T) {
	sim, err := simulator.New(t.Context(), simulator.Config{TimeScale: 0.001})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sim.Close() }()
	api, admin := httptest.NewServer(sim), httptest.NewServer(sim.AdminHandler())
	defer api.Close()
	defer admin.Close()
	do := func(method, url, body string, status int, words ...string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer k")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status {
			t.Errorf("%s %s: %d %s, want %d", method, url, resp.StatusCode, raw, status)
		}
		for _, word := range words {
			if !strings.Contains(string(raw), word) {
				t.Errorf("%s %s: %s lacks %s", method, url, raw, word)
			}
		}
	}
	do("POST", admin.URL+"/instances", `{"label":"w","mainip":"10.0.0.9"}`, 201, `"id"`)
	do("POST", admin.URL+"/bare-metals", `{"label":"m"}`, 201, `"id"`)
	do("POST", admin.URL+"/instances", `{"region":"moon"}`, 400, "moon")
	do("POST", admin.URL+"/faults", `{"id":"f","operation":"list_blocks","action":"status","status":500}`, 201, `"f"`)
	do("POST", admin.URL+"/faults", `{"action":"explode","path":"("}`, 400, "explode", "path")
	do("POST", admin.URL+"/faults", `{`, 400)
	do("GET", api.URL+"/v2/blocks", "", 500, `"status":500`)
	do("GET", admin.URL+"/faults/f", "", 200, `"hit": 1`)
	do("GET", admin.URL+"/faults", "", 200, `"f"`)
	do("GET", admin.URL+"/counters", "", 200, `"list_blocks"`, `"failed": 1`, `"500": 1`)
	do("GET", admin.URL+"/requests?n=5", "", 200, `/v2/blocks`, `"faults"`)
	do("POST", admin.URL+"/faults/f/release", "", 204)
	do("DELETE", admin.URL+"/faults/f", "", 204)
	do("DELETE", admin.URL+"/faults/f", "", 404, "no such fault")
	do("GET", admin.URL+"/faults/f", "", 404)
	do("DELETE", admin.URL+"/faults", "", 204)
	do("GET", api.URL+"/v2/blocks", "", 200)
	do("GET", admin.URL+"/state", "", 200, `"10.0.0.9"`, `"time_scale": 0.001`, `"bare_metals"`)
	do("DELETE", admin.URL+"/requests", "", 204)
	do("GET", admin.URL+"/counters", "", 200, "{}")
	do("PUT", admin.URL+"/rate-limit?rps=1", "", 204)
	do("PUT", admin.URL+"/rate-limit?rps=x", "", 400)
	do("PUT", admin.URL+"/rate-limit?rps=NaN", "", 400)
	do("PUT", admin.URL+"/rate-limit?rps=Inf", "", 400)
	do("GET", api.URL+"/v2/blocks", "", 200)
	do("GET", api.URL+"/v2/blocks", "", 429)
}
