package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testpoints"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	// mostKills is how often the program dies.
	mostKills = 200
	// settledEvery is after how many of them everything is left to settle and compared with the machine.
	settledEvery = 20
	busyClients  = 3
)

// TestKilledWhileBusy kills the program again and again, in the middle of much work or of its start. Nothing that it
// acknowledged is lost, no file ever has two loop devices, each start leaves nothing on the machine that the API does not
// speak of, its reads show at once all that was acknowledged before, and whenever all has settled exactly what the API says is on the machine, with the data that was written.
func TestKilledWhileBusy(t *testing.T) {
	needsRoot(t)
	kills, seed := testpoints.Share(mostKills), rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	state := t.TempDir()
	// Reads of what happens in one life of the program lag for longer than that: what they show is what was there before.
	args := []string{"--state", state, "--time-scale=0.005", "--read-lag=all=1h", "--balancer-range=127.101.0.0/16", "--instance-range=10.255.0.0/16"}
	t.Cleanup(func() { releaseAll(t, args) })
	p := launch(t, args...)
	servers := []string{p.addInstance("worker-1"), p.addInstance("worker-2")}
	var clients []*busyClient
	var answers atomic.Int64
	for i := range busyClients {
		clients = append(clients, newBusyClient(seed, uint64(i+1), servers, &answers))
	}
	startUp := 150 * time.Millisecond // how long the last one took
	data := newContents(state, random)
	settled := func() {
		p.await("everything to settle", func() bool { return len(p.view().Transitions) == 0 })
		p.showTheTruth()
		wantAsTheAPISays(t, state, p.view())
		wantAsAcknowledged(t, p, clients, servers, true)
		data.compare(t, p.view())
	}
	for kill, last := 0, 0; kill < kills && !t.Failed(); kill++ {
		if kill-last >= settledEvery {
			last = kill
			settled()
			data.write(t, p.view())
		}
		enough := answers.Load() + random.Int64N(20)
		live(p, clients, func() {
			p.await("answers", func() bool { return answers.Load() >= enough })
			pause(random, 20*time.Millisecond)
		})
		wantSingleLoops(t, state)
		for ; random.IntN(4) == 0; kill++ { // the next one does not even come up
			dead := begin(t, args...)
			pause(random, startUp)
			dead.stop(syscall.SIGKILL)
			wantSingleLoops(t, state)
		}
		began := time.Now()
		p = launch(t, args...)
		startUp = max(time.Since(began), time.Millisecond)
		wantNothingForeign(t, state, p.view())
		wantAsAcknowledged(t, p, clients, servers, false)
	}
	t.Logf("%d kills, %d answers", kills, answers.Load())
	settled()
	endInOrder(t, p, state)
	p = launch(t, args...) // a clean end loses nothing either
	settled()
	endInOrder(t, p, state)
}

// endInOrder demands that nothing is left on the machine.
func endInOrder(t *testing.T, p *process, state string) {
	t.Helper()
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if left := loopsOf(t, state); len(left) != 0 {
		t.Errorf("loop devices are left after a clean end: %v", left)
	}
	if left := mountsBelow(t, state); len(left) != 0 {
		t.Errorf("mounts are left after a clean end: %v", left)
	}
}

// live lets the clients work until the program is killed.
func live(p *process, clients []*busyClient, until func()) {
	var work sync.WaitGroup
	for _, c := range clients {
		c.moved(p.api)
		work.Go(c.work)
	}
	until()
	p.stop(syscall.SIGKILL)
	work.Wait()
}

// wantAsAcknowledged compares the cloud with what each client was told.
func wantAsAcknowledged(t *testing.T, p *process, clients []*busyClient, servers []string, settled bool) {
	t.Helper()
	for _, c := range clients {
		c.moved(p.api)
	}
	there := clients[0].everything(t)
	known := map[string]bool{}
	for _, id := range servers {
		known["/v2/instances/"+id] = true
	}
	for _, c := range clients {
		c.compare(t, there, settled)
		for _, o := range c.objects {
			known[o.kind.path+"/"+o.id] = true
		}
	}
	clients[0].sweep(there, known)
}

// releaseAll ends a test that failed half-way without loop devices and mounts.
func releaseAll(t *testing.T, args []string) {
	if len(loopsOf(t, args[1])) > 0 || len(mountsBelow(t, args[1])) > 0 {
		launch(t, args...).stop(syscall.SIGTERM)
	}
}

// mountsBelow lists the mounts below a directory.
func mountsBelow(t *testing.T, dir string) (mounts []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			mounts = append(mounts, fields[4])
		}
	}
	return mounts
}

func wantSingleLoops(t *testing.T, state string) {
	t.Helper()
	files := loopsOf(t, state)
	if single := slices.Compact(slices.Clone(files)); len(single) != len(files) {
		t.Fatalf("a backing file has two loop devices: %v", files)
	}
}

// wantNothingForeign looks, when nobody has asked for anything yet, for loop devices and mounts of what the API does not
// have attached or on its way.
func wantNothingForeign(t *testing.T, state string, view simulator.View) {
	t.Helper()
	wantSingleLoops(t, state)
	known := map[string]bool{}
	// What there is for an instance that was destroyed goes with the last of its storage, disk or file system.
	for _, b := range view.Blocks {
		known[b.ID] = b.AttachedTo != "" || b.Pending != ""
		for _, instance := range []string{b.AttachedTo, b.PendingInstance} {
			known[filepath.Join(state, "instances", instance, "vfs")] = instance != ""
		}
	}
	for _, f := range view.FileSystems {
		for _, a := range f.Attachments {
			known[filepath.Join(state, "instances", a.Instance, "vfs", strconv.Itoa(a.MountTag))] = true
			known[filepath.Join(state, "instances", a.Instance, "vfs")] = true
		}
	}
	for _, i := range view.Instances {
		known[filepath.Join(state, "instances", i.ID, "vfs")] = true
	}
	// What there is for an instance that was destroyed goes by a transition, which the kill may have kept from happening.
	for _, j := range view.Transitions {
		known[filepath.Join(state, "instances", j.Target, "vfs")] = true
	}
	for _, there := range append(loopsOf(t, state), mountsBelow(t, state)...) {
		if !known[there] {
			t.Errorf("after a start there is %s, of which the API knows nothing", there)
		}
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
	wantFileSystemsAsTheAPISays(t, state, view)
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
