package soak

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// violation is a rule that was broken, and how. Its zero value is none.
type violation struct {
	rule, text string
	log        []string
}

// host is one instance of the cluster.
type host struct {
	place int
	id    string
	// dead is set when the instance is destroyed.
	dead   bool
	plugin csi.NodeServer
	// ctx ends with the plugin's process.
	ctx  context.Context //nolint:containedctx // the process's life
	stop context.CancelFunc
}

// world is a cloud, the cluster on it, and what the cluster's users want and were told.
type world struct {
	t        *testing.T
	setup    setup
	cloud    *simtest.Cloud
	machines machines
	client   *http.Client
	api      *vultr.Client // the test's own
	// home is the instance that the controllers are on.
	home        string
	controllers controllers
	background  sync.WaitGroup
	calls       sync.WaitGroup

	// mu guards what follows: answers come at any time.
	mu        sync.Mutex
	nodes     [3]*host
	volumes   []*vol
	snapshots []*snap
	last      *vol // that something was asked for
	// names counts the names that were given out, free has those of volumes that are gone.
	names int
	free  []string
	// staged are the volumes that a node has staged, by ID and instance.
	staged map[[2]string]*vol
	// unwatched are the names whose controller was killed before it looked for twins.
	unwatched map[string]bool
	// told are all snapshots that were told of, by name.
	told   map[string]toldSnapshot
	sizes  map[string]int
	texts  int
	log    []string
	broken violation
	// lagsChanged counts how often the lags of reads were changed.
	lagsChanged int
	// count has how often each operation was begun.
	count map[string]int
}

type toldSnapshot struct {
	id      string
	created int64 // by the platform's clock, in seconds
}

// run runs a plan in a bubble, and returns the first rule that was broken.
func run(t *testing.T, p plan, quietEvery int, m machines) (broken violation, count map[string]int) {
	t.Helper()
	return runAnd(t, p, quietEvery, m, func(*world) {})
}

// runAnd does something, under the lock, before all has to be well.
func runAnd(t *testing.T, p plan, quietEvery int, m machines, before func(*world)) (broken violation, count map[string]int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, p.setup, m)
		for i, s := range p.steps {
			w.do(s)
			time.Sleep(s.pause) // of the fake clock
			w.glance()
			if (i+1)%quietEvery == 0 {
				w.locked(func() { before(w) })
				w.quiet()
			}
			if w.isBroken() {
				break
			}
		}
		if !w.isBroken() {
			w.quiet()
		}
		w.end()
		broken, count = w.broken, w.count
		broken.log = w.log
	})
	m.close()
	return broken, count
}

func newWorld(t *testing.T, s setup, m machines) *world {
	t.Helper()
	w := &world{t: t, setup: s, machines: m, staged: map[[2]string]*vol{}, told: map[string]toldSnapshot{}, unwatched: map[string]bool{}, sizes: map[string]int{}, count: map[string]int{}}
	delays := simulator.DefaultDelays()
	delays.Attach, delays.Detach = s.attach, s.detach
	cfg := simulator.Config{Delays: delays, ReadLags: usual(), RateLimit: 30, Machine: machine{w}}
	cfg.Disks, cfg.FileSystems = m.planes()
	cfg.Disks = &watchedDisks{cfg.Disks, w}
	cfg.FileSystems = &watchedShares{cfg.FileSystems, w}
	w.cloud = simtest.Start(t, simtest.Options{Bubble: true, Config: cfg})
	w.client = &http.Client{Transport: &http.Transport{DialContext: w.cloud.Dial, DisableKeepAlives: true}}
	var err error
	if w.api, err = vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, DialContext: w.cloud.Dial}); err != nil {
		t.Fatal(err)
	}
	w.home = w.cloud.AddInstance(simulator.NewServer{Label: "controllers", Region: region})
	for place := range w.nodes {
		w.addNode(place)
	}
	w.start(0)
	w.start(1)
	w.elect(0)
	return w
}

// addNode adds an instance to the cluster.
func (w *world) addNode(place int) {
	n := &host{place: place, id: w.cloud.AddInstance(simulator.NewServer{Label: fmt.Sprint("node-", place), Region: region})}
	w.nodes[place] = n
	w.startPlugin(n)
}

func (w *world) startPlugin(n *host) {
	n.ctx, n.stop = context.WithCancel(w.t.Context())
	n.plugin = w.machines.plugin(n.id)
}

// stopPlugin ends the plugin's process and what it has begun.
func (w *world) stopPlugin(n *host) {
	n.stop()
	if plugin, can := n.plugin.(interface{ Shutdown(context.Context) }); can {
		w.unlocked(func() { plugin.Shutdown(n.ctx) })
	}
}

// restartPlugin ends the plugin's process and starts another one.
func (w *world) restartPlugin(n *host) {
	w.note("the plugin of node %d is restarted", n.place)
	w.stopPlugin(n)
	for _, o := range w.pending() {
		if o.at == n {
			o.current = nil
		}
	}
	w.startPlugin(n)
}

// destroy takes an instance away, as its owner would, and puts another one in its place. Its pods are gone at once.
func (w *world) destroy(n *host) {
	w.note("instance %s of node %d is destroyed", n.id, n.place)
	n.dead = true // from the request on, whose answer may be lost
	w.stopPlugin(n)
	w.addNode(n.place)
	for _, v := range w.volumes {
		for _, u := range v.uses {
			if u.node != n {
				continue
			}
			u.published, u.staged, u.tried = false, false, false
			delete(w.staged, [2]string{v.id, n.id})
			if v.op != nil && v.op.use == u && v.op.name != "unpublish" {
				v.op = nil
			}
		}
	}
	w.unlocked(func() { w.request(http.MethodDelete, "/v2/instances/"+n.id) })
}

// request repeats a request until it is done, whatever the faults do to it.
func (w *world) request(method, path string) {
	for range 100 {
		ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, method, w.cloud.URL+path, http.NoBody)
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.cloud.Key)
		resp, err := w.client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		cancel()
		if err == nil && (resp.StatusCode < http.StatusBadRequest || resp.StatusCode == http.StatusNotFound) {
			return
		}
		time.Sleep(time.Second) // of the fake clock
	}
	w.t.Fatalf("%s %s is not done", method, path)
}

// end lets everything come to its end.
func (w *world) end() {
	w.cloud.Sim.ClearFaults()
	w.mu.Lock()
	for _, p := range w.controllers.all {
		p.link.kill()
		p.stop()
	}
	for _, n := range w.nodes {
		w.stopPlugin(n)
	}
	w.mu.Unlock()
	w.calls.Wait()
	w.background.Wait()
	time.Sleep(15 * time.Minute) // of the fake clock: the last timers of dead processes
}

// note adds a line to the log; the caller may hold the lock or not, as nothing else writes it.
func (w *world) note(format string, args ...any) {
	w.log = append(w.log, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// fail notes that a rule is broken; the caller holds the lock. The first one counts.
func (w *world) fail(rule, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("BROKEN: %s: %s", rule, text)
	for _, r := range w.cloud.Sim.Requests(15) {
		w.note("  a request before that: %s %s %s: %d", r.Began.Format("15:04:05.000"), r.Operation, r.Path, r.Status)
	}
	if w.broken.rule == "" {
		w.broken = violation{rule: rule, text: text}
	}
}

func (w *world) isBroken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken.rule != ""
}

// unlocked releases the lock while f runs: the fake clock stands while somebody waits for it.
func (w *world) unlocked(f func()) {
	w.mu.Unlock()
	defer w.mu.Lock()
	f()
}

// locked runs f under the lock.
func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// machine kills what runs on an instance.
type machine struct{ w *world }

// Start does nothing.
func (machine) Start(context.Context, simulator.MachineInfo) error { return nil }

// Kill ends the machine.
func (m machine) Kill(_ context.Context, i simulator.MachineInfo) error {
	return m.w.machines.kill(i.ID)
}

// Reboot does nothing.
func (machine) Reboot(context.Context, simulator.MachineInfo) error { return nil }

// DiskPlugged does nothing.
func (machine) DiskPlugged(context.Context, simulator.MachineInfo, simulator.MachineDisk) error {
	return nil
}

// DiskUnplugged does nothing.
func (machine) DiskUnplugged(context.Context, simulator.MachineInfo, simulator.MachineDisk) error {
	return nil
}

// watchedDisks sees what the platform does to disks that are in use.
type watchedDisks struct {
	simulator.Disks

	w *world
}

// Plug fails the plan when another instance has the disk.
func (d *watchedDisks) Plug(ctx context.Context, id, serial, instance string) error {
	plugged, err := d.Plugged(ctx)
	if err != nil {
		return err
	}
	if at := plugged[id]; at != "" && at != instance {
		d.w.locked(func() { d.w.fail("attached to two nodes", "volume %s is at %s and goes to %s", id, at, instance) })
	}
	return d.Disks.Plug(ctx, id, serial, instance)
}

// Unplug fails the plan when the disk is staged.
func (d *watchedDisks) Unplug(ctx context.Context, id, instance string) error {
	d.w.unplugged(id, instance)
	return d.Disks.Unplug(ctx, id, instance)
}

// watchedShares sees what the platform does to file systems that are in use.
type watchedShares struct {
	simulator.FileSystems

	w *world
}

// Detach fails the plan when the file system is staged.
func (s *watchedShares) Detach(ctx context.Context, id string, tag int, instance string) error {
	s.w.unplugged(id, instance)
	return s.FileSystems.Detach(ctx, id, tag, instance)
}

func (w *world) unplugged(id, instance string) {
	w.locked(func() {
		if v := w.staged[[2]string{id, instance}]; v != nil {
			w.fail("detached while staged", "volume %s (%s) is staged at instance %s, which loses it", id, v.name, instance)
		}
	})
}

// node is the instance that a number chooses.
func (w *world) node(choice int) *host { return w.nodes[choice%len(w.nodes)] }
