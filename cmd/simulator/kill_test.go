package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestKilledWhileBusy kills the program again and again in the middle of much work. Whatever was cut off, the next one
// goes on with it, and in the end exactly what the API says is on the machine.
func TestKilledWhileBusy(t *testing.T) {
	needsRoot(t)
	state := t.TempDir()
	args := []string{"--state", state, "--time-scale=0.01"}
	p := launch(t, args...)
	instances := []string{p.addInstance("worker-1"), p.addInstance("worker-2")}
	t.Cleanup(func() { releaseAll(t, args) })
	for range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() { useDisks(ctx, p.api, instances) })
		}
		work.Go(func() { useBalancers(ctx, p.api, instances) })
		work.Go(func() { useSnapshots(ctx, p.api) })
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond) // how much work is cut off is left to chance
		p.stop(syscall.SIGKILL)
		cancel()
		work.Wait()
		wantSingleLoops(t, state)
		p = launch(t, args...)
		wantSingleLoops(t, state)
	}
	p.await("everything to settle", func() bool { return len(p.view().Transitions) == 0 })
	wantAsTheAPISays(t, state, p.view())
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if left := loopsOf(t, state); len(left) != 0 {
		t.Errorf("loop devices are left after a clean end: %v", left)
	}
	p = launch(t, args...)
	wantAsTheAPISays(t, state, p.view())
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

// releaseAll ends a test that failed half-way without loop devices.
func releaseAll(t *testing.T, args []string) {
	if len(loopsOf(t, args[1])) > 0 {
		launch(t, args...).stop(syscall.SIGTERM)
	}
}

// useDisks leads volumes through their lives until ctx ends. What fails, fails: the program is being killed.
func useDisks(ctx context.Context, api string, instances []string) {
	for ctx.Err() == nil {
		var made struct{ Block struct{ ID string } }
		if !call(http.MethodPost, api+"/blocks", map[string]any{"region": "ewr", "size_gb": 10, "block_type": "high_perf", "label": "pvc"}, &made) {
			continue
		}
		block, instance := api+"/blocks/"+made.Block.ID, instances[rand.IntN(len(instances))]
		retry(ctx, func() bool {
			return call(http.MethodPost, block+"/attach", map[string]any{"instance_id": instance, "live": true}, nil)
		})
		call(http.MethodPatch, block, map[string]any{"size_gb": 20}, nil)
		if rand.IntN(4) == 0 {
			continue // stays attached
		}
		retry(ctx, func() bool { return call(http.MethodPost, block+"/detach", map[string]any{"live": true}, nil) })
		if rand.IntN(4) != 0 {
			retry(ctx, func() bool { return call(http.MethodDelete, block, nil, nil) })
		}
	}
}

func useBalancers(ctx context.Context, api string, instances []string) {
	settings := map[string]any{
		"region": "ewr", "label": "lb", "instances": instances,
		"forwarding_rules": []map[string]any{{"frontend_protocol": "tcp", "frontend_port": 8080, "backend_protocol": "tcp", "backend_port": 30080}},
	}
	for ctx.Err() == nil {
		var made struct {
			LoadBalancer struct{ ID string } `json:"load_balancer"`
		}
		if call(http.MethodPost, api+"/load-balancers", settings, &made) && rand.IntN(3) != 0 {
			retry(ctx, func() bool { return call(http.MethodDelete, api+"/load-balancers/"+made.LoadBalancer.ID, nil, nil) })
		}
	}
}

// retry calls until it succeeds, ctx ends or it has been tried for long enough.
func retry(ctx context.Context, act func() bool) {
	for range 50 {
		if act() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func wantSingleLoops(t *testing.T, state string) {
	t.Helper()
	files := loopsOf(t, state)
	if single := slices.Compact(slices.Clone(files)); len(single) != len(files) {
		t.Fatalf("a backing file has two loop devices: %v", files)
	}
}

// wantAsTheAPISays compares loop devices, entries, backing files and reserved addresses with the API's state.
func wantAsTheAPISays(t *testing.T, state string, view simulator.View) {
	t.Helper()
	var attached, all []string
	serials := map[string]string{}
	for _, block := range view.Blocks {
		all = append(all, block.ID)
		if block.AttachedTo != "" {
			attached = append(attached, block.ID)
			serials[block.MountID] = block.AttachedTo
		}
	}
	slices.Sort(attached)
	slices.Sort(all)
	t.Logf("%d volumes, %d of them attached, %d load balancers", len(all), len(attached), len(view.LoadBalancers))
	if got := loopsOf(t, state); !slices.Equal(got, attached) {
		t.Errorf("loop devices of %v\nattached in the API: %v", got, attached)
	}
	wantSnapshotsAsTheAPISays(t, state, view)
	if got := namesOf(t, filepath.Join(state, "disks", "*.img"), ".img"); !slices.Equal(got, all) {
		t.Errorf("backing files of %v\nin the API: %v", got, all)
	}
	entries, err := filepath.Glob(filepath.Join(state, "instances", "*", "block", "*", "serial"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range entries {
		serial, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := serials[string(serial)]
		if at == "" || !strings.Contains(path, "/"+at+"/") {
			t.Errorf("%s shows %s, which the API has on %q", path, serial, at)
		}
		delete(serials, string(serial))
	}
	if len(serials) > 0 {
		t.Errorf("attached but not to be seen in the instance: %v", serials)
	}
	text, err := os.ReadFile(filepath.Join(state, "addresses.json"))
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{}
	if err := json.Unmarshal(text, &addresses); err != nil {
		t.Fatal(err)
	}
	if len(addresses) != len(view.LoadBalancers) {
		t.Errorf("%d addresses are reserved for %d load balancers", len(addresses), len(view.LoadBalancers))
	}
}

func namesOf(t *testing.T, pattern, suffix string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(paths))
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), suffix))
	}
	slices.Sort(names)
	return names
}
