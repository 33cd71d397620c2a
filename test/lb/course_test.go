package lb

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// action is what a step does.
type action int

const (
	create  action = iota // adds a Service
	edit                  // changes what one asks for
	remove                // deletes one
	retype                // makes one a ClusterIP, or a LoadBalancer again
	node                  // adds a node
	flap                  // has a node fail, or be ready again
	drain                 // excludes a node from load balancers, or takes that back
	destroy               // destroys an instance; its Node goes later
	renew                 // writes another certificate, or one that has expired
	rules                 // writes other firewall rules, or none that can be read
	drift                 // changes a load balancer on the platform
	wipe                  // deletes one there
	fault                 // has some calls of the API go wrong
	lag                   // has reads lag otherwise
	kill                  // ends the controller; another one starts after a while
	overlap               // starts another controller while this one goes on
	pass                  // lets time go by
)

var actionNames = [...]string{
	"create", "edit", "remove", "retype", "node", "flap", "drain", "destroy", "renew", "rules", "drift", "wipe", "fault", "lag", "kill", "overlap", "pass",
}

func (a action) String() string { return actionNames[a] }

// weights says how often each action is in a course.
var weights = [...]int{
	create: 14, edit: 30, remove: 9, retype: 5, node: 2, flap: 6, drain: 3, destroy: 2, renew: 5, rules: 4, drift: 6, wipe: 2,
	fault: 16, lag: 4, kill: 7, overlap: 2, pass: 5,
}

// step is one step of a course. The numbers choose among what there is at the time.
type step struct {
	do      action
	a, b, c int
	pause   time.Duration // until the next step
}

// String is for logs.
func (s step) String() string { return fmt.Sprintf("%s %d %d %d, %s", s.do, s.a, s.b, s.c, s.pause) }

// course is the steps of a seed.
type course []step

// courseOf makes the course of a seed.
func courseOf(seed uint64, steps int) course {
	random := rand.New(rand.NewPCG(seed, 0))
	total := 0
	for _, w := range weights {
		total += w
	}
	var p course
	for range steps {
		s := step{a: random.IntN(1 << 16), b: random.IntN(1 << 16), c: random.IntN(1 << 16)}
		at := random.IntN(total)
		for at >= weights[s.do] {
			at -= weights[s.do]
			s.do++
		}
		// Often the next step comes while this one is under way, now and then much later.
		s.pause = time.Duration(random.IntN([]int{200, 2000, 10000, 40000}[random.IntN(4)])) * time.Millisecond
		p = append(p, s)
	}
	return p
}

// keep is the course with some of its steps only.
func (p course) keep(steps []int) course {
	var kept course
	for _, i := range steps {
		kept = append(kept, p[i])
	}
	return kept
}
