package blocksnap

import (
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// names is what this process knows of names: what its creates came to.
type names struct {
	// guard knows the creates that got no answer.
	guard *vultr.SettleGuard

	mu   sync.Mutex
	byID map[string]string
	made map[string]made
}

// made is the snapshot of a name.
type made struct {
	id string
	at time.Time
	// answered is set once a caller was told the ID: it is the snapshot of that name from then on.
	answered bool
}

// rememberMade is how long a snapshot is known by its name after the last call about it. Reads may lack it for a part of
// that time, and all of the time the sidecar asks whether it is complete.
const rememberMade = 10 * time.Minute

func newNames(settle time.Duration) *names {
	return &names{guard: vultr.NewAttemptGuard(settle), made: map[string]made{}, byID: map[string]string{}}
}

func (n *names) put(name string, m made) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, old := range n.made {
		if time.Since(old.at) > rememberMade {
			delete(n.made, other)
			delete(n.byID, old.id)
		}
	}
	n.made[name] = m
	n.byID[m.id] = name
}

func (n *names) get(name string) (made, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, ok := n.made[name]
	return m, ok
}

// wasAnswered reports whether a caller was told of the snapshot.
func (n *names) wasAnswered(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, ok := n.made[n.byID[id]]
	return ok && m.id == id && m.answered
}

// forget is called when the snapshot of a name is gone.
func (n *names) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byID, n.made[name].id)
	delete(n.made, name)
}

func (n *names) forgetID(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m, ok := n.made[n.byID[id]]; ok && m.id == id {
		delete(n.made, n.byID[id])
	}
	delete(n.byID, id)
}
