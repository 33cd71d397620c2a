package balancer

// The balancing algorithms, as the API calls them.
const (
	roundRobin = "roundrobin"
	leastConn  = "leastconn"
)

// pool is the backends as one decision sees them.
type pool []candidate

// candidate is one backend.
type candidate struct {
	id          string
	healthy     bool
	connections int
	// tried is set for a backend that has just refused this very connection.
	tried bool
}

func (c candidate) usable() bool { return c.healthy && !c.tried }

// pick chooses the backend for one connection and returns its index. turn counts connections; sticky is the backend
// that the client already belongs to, "" for none.
func (p pool) pick(algorithm string, turn uint64, sticky string) (int, bool) {
	var usable []int
	for i, c := range p {
		if !c.usable() {
			continue
		}
		if sticky != "" && c.id == sticky {
			return i, true
		}
		usable = append(usable, i)
	}
	if len(usable) == 0 {
		return 0, false
	}
	first := int(turn % uint64(len(usable))) //nolint:gosec // smaller than the length
	best := usable[first]
	if algorithm != leastConn {
		return best, true
	}
	// Ties go to whose turn it is: idle backends share the load instead of the first one getting all of it.
	for i := range usable {
		next := usable[(first+i)%len(usable)]
		if p[next].connections < p[best].connections {
			best = next
		}
	}
	return best, true
}
