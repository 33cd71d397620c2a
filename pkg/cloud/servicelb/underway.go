package servicelb

import (
	"slices"
	"sync"
)

// underWay are the Services that workers are busy with right now, and with whose sync. The queue keeps two workers from one load
// balancer; this keeps them from the Services that share one, and is for whoever is about to take a load balancer away from a
// Service that is gone.
type underWay struct {
	mu  sync.Mutex
	all map[key]key
}

// begin takes all of these for a sync of the first one or, if one is taken already, none, and reports which.
func (u *underWay) begin(names ...key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := func(name key) bool { _, is := u.all[name]; return is }
	if slices.ContainsFunc(names, taken) {
		return false
	}
	for _, name := range names {
		u.all[name] = names[0]
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

// keeps reports whether the sync of own has taken a Service.
func (u *underWay) keeps(own, name key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	whose, taken := u.all[name]
	return taken && whose == own
}

// besides reports whether another sync than that of own is busy with a Service.
func (u *underWay) besides(own, name key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	whose, taken := u.all[name]
	return taken && whose != own
}
