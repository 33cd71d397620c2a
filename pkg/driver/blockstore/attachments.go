package blockstore

import (
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// repeatWithin is how long an attachment that was just seen is taken as it was. The attacher asks for every
	// attachment twice, the second time at once, because it acts before it sees its own record of the first.
	repeatWithin = 2 * time.Second
	// freeWithin is how long a volume that was just seen to be free is taken as free by a delete. The provisioner
	// deletes as soon as the attacher has detached, and never while anybody wants the volume attached.
	freeWithin = 10 * time.Second
)

// attachments remembers for a short while what this process ordered and saw of volumes.
type attachments struct {
	// window is how long an attach that was ordered may take to become visible.
	window time.Duration

	mu   sync.Mutex
	byID map[string]attachment
}

type attachment struct {
	instance string
	// at is when the attach was ordered or, once it was seen, when that was.
	at   time.Time
	seen *volume.Volume
}

func (a *attachments) put(id string, entry attachment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID == nil {
		a.byID = map[string]attachment{}
	}
	for other, e := range a.byID {
		if time.Since(e.at) > max(a.window, freeWithin) {
			delete(a.byID, other)
		}
	}
	a.byID[id] = entry
}

// ordered notes that an attach was or may have been accepted.
func (a *attachments) ordered(id, instance string) {
	a.put(id, attachment{instance: instance, at: time.Now()})
}

// saw notes where the volume is, now that nothing is under way.
func (a *attachments) saw(v volume.Volume) {
	a.put(v.ID, attachment{instance: v.AttachedTo, at: time.Now(), seen: &v})
}

// forget is called before anything is ordered that changes where the volume is. What was ordered before and not seen
// yet may still come, whatever becomes of the next order.
func (a *attachments) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID[id].seen != nil {
		delete(a.byID, id)
	}
}

// seenAt gives the volume if it was the last thing known of it that it was seen at the instance, "" for at none, and
// how long ago that was.
func (a *attachments) seenAt(id, instance string) (v volume.Volume, ago time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.byID[id]
	if !ok || e.seen == nil || e.instance != instance {
		return volume.Volume{}, 0, false
	}
	return *e.seen, time.Since(e.at), true
}

// underWay tells for how long an attach to the instance, "" for any, that was ordered and not seen yet may still
// become visible; 0 when there is none.
func (a *attachments) underWay(id, instance string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.byID[id]
	if !ok || e.seen != nil || (instance != "" && e.instance != instance) {
		return 0
	}
	return max(0, a.window-time.Since(e.at))
}
