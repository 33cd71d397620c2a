package faults

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// condition is what the cloud is like for a whole life.
type condition struct {
	name   string
	config simulator.Config
	lags   simulator.ReadLags
	faults []simulator.Fault
	// attaching is set when nothing but attaching and detaching goes on differently.
	attaching bool
}

// seed makes the same requests go wrong each time, as long as they come in the same order.
const seed = 10

// locked is how the platform refuses while something is under way on an instance.
const locked = `{"error":"Server is currently locked","status":400}`

func conditions() []condition {
	slow := simulator.DefaultDelays()
	slow.Detach = 3 * time.Minute
	return []condition{
		{name: "429 storm", faults: []simulator.Fault{{Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, Probability: 0.3, Seed: seed}}},
		{name: "503 and 502", faults: []simulator.Fault{
			{Action: simulator.FaultStatus, Status: http.StatusServiceUnavailable, Probability: 0.2, Seed: seed},
			{Action: simulator.FaultStatusAfter, Status: http.StatusBadGateway, Probability: 0.2, Seed: seed + 1},
		}},
		{name: "lists 30 s behind", lags: simulator.ReadLags{"all.list": 30 * time.Second}},
		{name: "server locked", attaching: true, faults: []simulator.Fault{
			{Operation: "attach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: locked, Probability: 0.6, Seed: seed},
			{Operation: "detach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: locked, Probability: 0.6, Seed: seed},
		}},
		{name: "detach of 3 minutes", attaching: true, config: simulator.Config{Delays: slow}},
	}
}

// TestConditions lives whole lives in a cloud that is unwell all the time.
func TestConditions(t *testing.T) {
	t.Parallel()
	need(t)
	t.Logf("seed %d", seed)
	sideBySide(t, conditions(), func(c condition) string { return c.name }, func(t *testing.T, c condition) {
		r := newRig(t, c.config)
		if err := r.cloud.Sim.SetReadLags(c.lags); err != nil {
			t.Fatal(err)
		}
		for _, f := range c.faults {
			r.cloud.Fault(f)
		}
		p := newPoint(t, r)
		p.condition = c.name
		p.liveWith(use{fs: "ext4"})
		p.liveWith(use{fs: shared})
		if !c.attaching {
			p.liveWithCopies()
		}
		for _, f := range r.cloud.Sim.Faults() {
			if f.Hit == 0 {
				t.Errorf("no request was hit by %s %d", f.Action, f.Status)
			}
		}
		r.cloud.Sim.ClearFaults()
		p.sweep()
		p.nothingIsLeft(0)
	})
}

// liveWith takes a volume up, down, up again and away.
func (p *point) liveWith(u use) {
	p.Helper()
	v := p.newVolume(u)
	p.climb(v.ladder, v.top())
	v.whole()
	if !v.isShared() {
		o, _ := v.find("expand")
		p.take(v.ladder, o)
	}
	p.climb(v.ladder, created)
	p.climb(v.ladder, v.top())
	v.whole()
	p.climb(v.ladder, nowhere)
}

// liveWithCopies makes a volume, a snapshot of it, a volume from that and a copy.
func (p *point) liveWithCopies() {
	p.Helper()
	source := p.newVolume(remote)
	p.climb(source.ladder, source.top())
	source.whole()
	p.climb(source.ladder, created)
	snap := p.newSnapshot(source)
	p.climb(snap.ladder, snap.top())
	snap.whole()
	clone := p.cloned(source)
	p.climb(clone.ladder, clone.top())
	clone.whole()
	for _, l := range []*ladder{clone.ladder, snap.ladder, source.ladder} {
		p.climb(l, nowhere)
	}
}

// sideBySide runs a subtest for each, some at a time: most of it is waiting.
func sideBySide[T any](t *testing.T, all []T, name func(T) string, do func(*testing.T, T)) {
	t.Helper()
	free := make(chan struct{}, atOnce)
	ended := make(chan struct{}, len(all))
	for _, one := range all {
		free <- struct{}{}
		go func() {
			defer func() { <-free; ended <- struct{}{} }()
			t.Run(strings.ReplaceAll(name(one), " ", "_"), func(t *testing.T) { do(t, one) })
		}()
	}
	for range all {
		<-ended
	}
}

// destruction is when an instance is destroyed.
type destruction struct {
	name string
	use  use
	// during is the operation that is on its way, "" for a volume that is attached.
	during string
}

var destructions = []destruction{
	{name: "instance destroyed while attached", use: remote},
	{name: "instance destroyed during attach", use: remote, during: "attach"},
	{name: "instance destroyed during detach", use: remote, during: "detach"},
	{name: "instance destroyed while attached", use: remoteShared},
	{name: "instance destroyed during attach", use: remoteShared, during: "attach"},
	{name: "instance destroyed during detach", use: remoteShared, during: "detach"},
}

// TestDestroyedInstances: the volume of an instance that is destroyed is detached and attached to another one, with its
// data.
func TestDestroyedInstances(t *testing.T) {
	t.Parallel()
	need(t)
	name := func(d destruction) string {
		return map[bool]string{false: "block ", true: "vfs "}[d.use.fs == shared] + d.name
	}
	sideBySide(t, destructions, name, func(t *testing.T, d destruction) {
		p := newPoint(t, newRig(t, simulator.Config{}))
		p.condition = d.name
		v := p.newVolume(d.use)
		p.climb(v.ladder, attached)
		v.whole()
		if d.during == "attach" {
			p.climb(v.ladder, created)
		}
		p.whileHeld(v, d.during, func() { p.destroy(v.host().instance) })
		v.rung = attached
		p.climb(v.ladder, created)
		v.on = 1
		p.climb(v.ladder, attached)
		v.whole()
		p.climb(v.ladder, nowhere)
		p.nothingIsLeft(0)
	})
}

// whileHeld does something while the platform holds the request of an operation, which may then fail.
func (p *point) whileHeld(v *volume, name string, do func()) {
	p.Helper()
	o, ok := v.find(name)
	if !ok {
		do()
		return
	}
	request := name + "_block"
	if v.isShared() {
		request = name + "_vfs"
	}
	id, err := p.cloud.Sim.AddFault(simulator.Fault{Operation: request, Action: simulator.FaultHoldBefore, Times: 1})
	if err != nil {
		p.Fatal(err)
	}
	p.ready(o)
	done := make(chan error, 1)
	go func() { done <- p.once(o) }()
	held, stop := p.held(id)
	defer stop()
	select {
	case <-held:
	case err := <-done:
		p.Fatalf("%s ended early: %v", name, err)
	}
	do()
	p.cloud.Sim.RemoveFault(id)
	if err := <-done; err == nil && name == "detach" {
		p.check(o)
	}
}

// destroy destroys an instance and returns when it is gone.
func (p *point) destroy(instance string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, p.cloud.URL+"/v2/instances/"+instance, nil)
	if err != nil {
		p.Fatal(err)
	}
	resp, err := p.cloud.Client().Do(req)
	if err != nil {
		p.Fatal(err)
	}
	_ = resp.Body.Close() // it has none
	if resp.StatusCode != http.StatusNoContent {
		p.Fatalf("destroying instance %s: %s", instance, resp.Status)
	}
	p.await("the end of the instance", func(v simulator.View) bool {
		for _, i := range v.Instances {
			if i.ID == instance {
				return false
			}
		}
		return true
	})
}
