package faults

import (
	"sync"
	"testing"
)

// processes are those of the driver, a new one wherever one was killed.
type processes struct {
	// t is the test with which they end.
	t   *testing.T
	rig *rig

	mu         sync.Mutex
	controller *controller
	// reserve makes a controller that begins more patient.
	reserve float64
	nodes   [2]*nodePlugin
}

// control is the controller, a new process if need be.
func (p *processes) control() *controller {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.controller == nil {
		p.controller = p.rig.startController(p.t, scale*max(1, p.reserve))
	}
	return p.controller
}

// node is the node plugin of a machine, a new process if need be.
func (p *processes) node(i int) *nodePlugin {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes[i] == nil {
		p.nodes[i] = p.rig.startNode(p.t, p.rig.hosts[i])
	}
	return p.nodes[i]
}

// killController kills the controller, if there is one.
func (p *processes) killController(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.controller != nil {
		p.controller.process.Kill(t)
		p.controller = nil
	}
}

// killNode kills a node plugin and its children, if there is one.
func (p *processes) killNode(t testing.TB, i int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[i]; n != nil {
		if err := n.tracer.KillAll(); err != nil {
			t.Fatal(err)
		}
		n.process.Kill(t)
		p.nodes[i] = nil
	}
}

// killAll kills the processes that there are.
func (p *processes) killAll(t testing.TB) {
	t.Helper()
	p.killController(t)
	for i := range p.nodes {
		p.killNode(t, i)
	}
}
