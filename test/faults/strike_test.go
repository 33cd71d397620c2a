package faults

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// kind is a kind of fault at an API call.
type kind struct {
	name   string
	action simulator.FaultAction
	status int
	// kills is set when the controller is killed while it waits for the answer.
	kills bool
	// late is set when the platform does the work only after the next controller has begun.
	late bool
	// writes is set when there is no such fault of a read.
	writes bool
}

// kinds are the faults at API calls. After a kill there is always another process.
var kinds = []kind{
	{name: "killed before the work", action: simulator.FaultHang, kills: true},
	{name: "killed after the work", action: simulator.FaultHangAfter, kills: true},
	{name: "killed, done late", action: simulator.FaultHoldBefore, kills: true, late: true, writes: true},
	{name: "request lost", action: simulator.FaultResetBefore},
	{name: "answer lost", action: simulator.FaultResetAfter},
	{name: "502 after the work", action: simulator.FaultStatusAfter, status: http.StatusBadGateway, writes: true},
	{name: "done twice", action: simulator.FaultDuplicate, writes: true},
}

// The faults at system calls.
const (
	killedAtCall = "killed at a system call"
	failedCall   = "a system call fails"
)

// faultNames are those of all kinds, first those at API calls.
func faultNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return append(names, killedAtCall, failedCall)
}

// fault is one fault of an operation: of a kind, at the nth call.
type fault struct {
	kind string
	n    int
}

// strike does an operation once, with the fault. hit is false when it came to its end before the nth call. next is what is
// asked for after it.
func (p *point) strike(o, next op, f fault) (hit bool) {
	p.Helper()
	p.ready(o)
	switch f.kind {
	case killedAtCall:
		return p.strikeNode(o, f.n)
	case failedCall:
		return p.failCall(o, f.n)
	}
	for _, k := range kinds {
		if k.name == f.kind {
			if k.kills {
				return p.strikeController(o, next, k, f.n)
			}
			return p.disturb(o, k, f.n)
		}
	}
	p.Fatalf("there is no fault %q", f.kind)
	return false
}

// inject puts a fault at the nth API call in force. The call is found by its operation, and by how many of those came
// before it: how often something is looked at until it has come about differs.
func (p *point) inject(k kind, n int) (id string) {
	p.Helper()
	operation, nth := p.calls[n-1].Operation, 0
	for _, r := range p.calls[:n] {
		if r.Operation == operation {
			nth++
		}
	}
	id, err := p.cloud.Sim.AddFault(simulator.Fault{Operation: operation, Action: k.action, Status: k.status, Nth: nth, Times: 1})
	if err != nil {
		p.Fatal(err)
	}
	return id
}

// disturb does an operation with a fault that its process survives.
func (p *point) disturb(o op, k kind, n int) (hit bool) {
	p.Helper()
	id := p.inject(k, n)
	defer p.cloud.Sim.RemoveFault(id)
	if err := p.once(o); err == nil {
		p.check(o)
	}
	for _, f := range p.cloud.Sim.Faults() {
		hit = hit || f.ID == id && f.Hit > 0
	}
	return hit
}

// strikeController kills the controller at the nth API call of an operation. Where the work is to be done late, the next
// controller has begun with what is asked for then.
func (p *point) strikeController(o, next op, k kind, n int) (hit bool) {
	p.Helper()
	id := p.inject(k, n)
	defer p.cloud.Sim.RemoveFault(id) // which releases what it holds
	done := make(chan error, 1)
	go func() { done <- p.once(o) }()
	held, stop := p.held(id)
	defer stop()
	select {
	case <-held:
	case err := <-done:
		if err == nil {
			p.check(o)
		}
		return false
	}
	p.killController(p)
	if err := <-done; !isCut(err) {
		p.Fatalf("%s of a killed controller: %v", o.name, err)
	}
	if k.late {
		p.reserve = reserve
		p.onceAlso(next, func() { p.cloud.Sim.RemoveFault(id) })
	}
	return true
}

// onceAlso does an operation by a new process, once, and something else when its first API call has ended.
func (p *point) onceAlso(o op, also func()) {
	p.Helper()
	p.ready(o)
	before := len(p.cloud.Requests())
	done := make(chan error, 1)
	go func() { done <- p.once(o) }()
	for ended := false; !ended && len(p.cloud.Requests()) <= before; {
		select {
		case err := <-done:
			done <- err
			ended = true
		case <-p.cloud.Sim.Changed():
		case <-time.After(100 * time.Millisecond): // a change between the look and the wait is seen here
		}
	}
	also()
	if err := <-done; err == nil {
		p.check(o)
	}
}

// held returns a channel that is closed when the fault holds a request, and what ends the wait.
func (p *point) held(id string) (<-chan struct{}, func()) {
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	held, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if p.cloud.Sim.WaitHeld(ctx, id) == nil {
			close(held)
		}
	}()
	return held, func() { cancel(); <-ended }
}

// strikeNode kills the node plugin and all that it runs right before the nth system call that changes the machine.
func (p *point) strikeNode(o op, n int) (hit bool) {
	p.Helper()
	tracer := p.node(0).tracer
	tracer.KillAt(n)
	struck := tracer.Struck()
	err := p.once(o) // which ends when the process does
	tracer.Stop()    // and returns after a strike that is under way
	select {
	case <-struck:
	default:
		if err == nil {
			p.check(o)
		}
		return false
	}
	if strike := tracer.Err(); strike != nil {
		p.Fatal(strike)
	}
	if !isCut(err) {
		p.Fatalf("%s of a killed node plugin: %v", o.name, err)
	}
	p.killNode(p, 0) // of which nothing runs any more
	return true
}

// failCall has the nth system call that changes the machine fail, as a disk does that is sick for a moment.
func (p *point) failCall(o op, n int) (hit bool) {
	p.Helper()
	tracer := p.node(0).tracer
	tracer.FailAt(n, unix.EIO)
	struck := tracer.Struck()
	err := p.once(o)
	tracer.Stop()
	if err == nil {
		p.check(o)
	}
	select {
	case <-struck:
		return true
	default:
		return false
	}
}

// count does an operation undisturbed and returns its API calls, and the system calls by which it changes the machine.
func (p *point) count(o op) (api []simulator.Request, calls []string) {
	p.Helper()
	p.ready(o)
	before := len(p.cloud.Requests())
	if o.node {
		p.node(0).tracer.Count()
	}
	if err := p.once(o); err != nil {
		p.Fatalf("%s without a fault: %v", o.name, err)
	}
	p.check(o)
	if o.node {
		for _, s := range p.node(0).tracer.Stop() {
			calls = append(calls, s.String())
		}
		return nil, calls
	}
	return p.cloud.Requests()[before:], nil
}
