package soak

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// action is what a step does.
type action int

const (
	act      action = iota // begins an operation on a volume, or goes on with it
	snapshot               // the same of a snapshot
	read                   // asks for something that changes nothing
	misuse                 // asks for something that must be refused
	write                  // writes to a volume
	fault                  // has some calls of the API go wrong
	lag                    // has reads lag otherwise
	failover               // gives the lead to the other controller
	freeze                 // the same, because the one that leads stands still
	thaw                   // lets it go on
	kill                   // ends a controller, and starts it again
	destroy                // replaces an instance
	restart                // restarts a node plugin
	pass                   // lets time go by
)

var actionNames = [...]string{
	"act", "snapshot", "read", "misuse", "write", "fault", "lag", "failover", "freeze", "thaw", "kill", "destroy", "restart", "pass",
}

func (a action) String() string { return actionNames[a] }

// weights says how often each action is in a plan.
var weights = [...]int{
	act: 70, snapshot: 8, read: 8, misuse: 3, write: 8, fault: 14, lag: 3, failover: 4, freeze: 4, thaw: 6, kill: 4, destroy: 1, restart: 2, pass: 3,
}

// step is one step of a plan. The numbers choose among what there is at the time.
type step struct {
	do      action
	a, b, c int
	pause   time.Duration // until the next step
}

// String is for logs.
func (s step) String() string { return fmt.Sprintf("%s %d %d %d, %s", s.do, s.a, s.b, s.c, s.pause) }

// setup is what stays the same during a plan.
type setup struct {
	attach, detach time.Duration
	// maxLag bounds how far reads lag.
	maxLag time.Duration
	// alone is set where one controller leads all the time, as when the platform is slower than a successor waits for.
	alone bool
}

// setups are the platforms that plans run on. What one controller ordered before it lost the lead its successor believes
// to show within half a minute (blockstore.Options.AttachWindow), and so it is for an attach without an answer; where a
// detach takes longer nobody takes over.
var setups = []setup{
	{attach: 4 * time.Second, detach: 4 * time.Second, maxLag: time.Second},
	{attach: 4 * time.Second, detach: 4 * time.Second, maxLag: 20 * time.Second},
	{attach: 12 * time.Second, detach: 9 * time.Second, maxLag: 5 * time.Second},
	{attach: 4 * time.Second, detach: 4 * time.Second, maxLag: 30 * time.Second, alone: true},
	{attach: 18 * time.Second, detach: 3 * time.Minute, maxLag: 10 * time.Second, alone: true},
}

type plan struct {
	setup
	steps []step
}

// planOf makes the plan of a seed.
func planOf(seed uint64, steps int) plan {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable, no secret
	p := plan{setup: setups[seed%uint64(len(setups))]}
	total := 0
	for _, w := range weights {
		total += w
	}
	for range steps {
		s := step{a: random.IntN(1 << 16), b: random.IntN(1 << 16), c: random.IntN(1 << 16)}
		at := random.IntN(total)
		for at >= weights[s.do] {
			at -= weights[s.do]
			s.do++
		}
		// Often the next step comes while this one is under way, now and then much later.
		s.pause = time.Duration(random.IntN([]int{100, 1000, 4000, 30000}[random.IntN(4)])) * time.Millisecond
		p.steps = append(p.steps, s)
	}
	return p
}

// keep is the plan with some of its steps only.
func (p plan) keep(steps []int) plan {
	kept := plan{setup: p.setup}
	for _, i := range steps {
		kept.steps = append(kept.steps, p.steps[i])
	}
	return kept
}
