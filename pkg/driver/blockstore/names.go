package blockstore

import (
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// names is what this process knows of names: what its creates came to. Its rule is that a name is never created while
// an earlier create of it may have made something.
type names struct {
	// guard knows the creates that got no answer.
	guard *vultr.SettleGuard

	mu   sync.Mutex
	made map[string]made
}

// made is what a create of a name made.
type made struct {
	id string
	at time.Time
	// spec is what this process created it for, nil if somebody else may have created it.
	spec *volume.Spec
	// late is set if so much time passed until the create was answered that another process may have led meanwhile, and have made a
	// volume of another kind.
	late bool
	// answered is set once a caller was told the ID: it is the volume of that name from then on.
	answered bool
	// wrong says what is wrong with it, if it is to be deleted again; nil if it is what was asked for.
	wrong error
	// deleted is when a wrong one was deleted.
	deleted time.Time
}

const (
	// rememberMade is how long a made volume is known by its name. Reads may lack it for a part of that time.
	rememberMade = 5 * time.Minute
	// mistakeFor is how long the platform is not asked again for what it made wrongly: each try makes and deletes a
	// volume, and its next answer is most likely the same.
	mistakeFor = 10 * time.Minute
	// failedFor is the same for a volume that failed: the next one may well succeed.
	failedFor = time.Minute
)

// pause is how long after its delete the name of a wrong volume is not created again.
func (m made) pause() time.Duration {
	if volume.ReasonOf(m.wrong) == volume.Busy {
		return failedFor
	}
	return mistakeFor
}

func newNames(settle time.Duration) *names {
	return &names{guard: vultr.NewAttemptGuard(settle), made: map[string]made{}}
}

func (n *names) put(name string, m made) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for other, old := range n.made {
		if now.Sub(old.at) > rememberMade && (old.wrong == nil || (!old.deleted.IsZero() && now.Sub(old.deleted) > mistakeFor)) {
			delete(n.made, other)
		}
	}
	n.made[name] = m
}

func (n *names) get(name string) (made, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, ok := n.made[name]
	return m, ok
}

// forget is called when the volume of a name is gone or another one has the name.
func (n *names) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.made, name)
}
