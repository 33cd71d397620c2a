package servicelb

import (
	"slices"
	"sync"
)

// underWay are the Services that a worker is busy with right now. The queue keeps two workers from one load balancer; this keeps
// them from the Services that share one, and is for whoever is about to take a load balancer away from a Service that is gone.
type underWay struct {
	mu  sync.Mutex
	all map[key]bool
}

// begin takes all of these or, if one is taken already, none, and reports which.
func (u *underWay) begin(names ...key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.ContainsFunc(names, func(name key) bool { return u.all[name] }) {
		return false
	}
	for _, name := range names {
		u.all[name] = true
	}
	return true
}

func (u *underWay) end(names ...key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, name := range names {
		delete(u.all, name)
	}
}

func (u *underWay) has(name key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all[name]
}
