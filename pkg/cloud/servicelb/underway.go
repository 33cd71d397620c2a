package servicelb

import "sync"

// underWay are the load balancers that a worker is busy with right now. The queue keeps two workers from one load balancer;
// this is for whoever is about to take a load balancer away from a Service that is gone.
type underWay struct {
	mu  sync.Mutex
	all map[key]bool
}

func (u *underWay) begin(name key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all[name] = true
}

func (u *underWay) end(name key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, name)
}

func (u *underWay) has(name key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all[name]
}
