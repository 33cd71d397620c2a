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
	// attachWithin is how long an attach that was ordered may still become visible; it usually takes four seconds.
	attachWithin = 30 * time.Second
)

// attachments remembers for a short while what this process ordered and saw of volumes.
type attachments struct {
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
		if time.Since(e.at) > attachWithin {
			delete(a.byID, other)
		}
	}
	a.byID[id] = entry
}

// ordered notes that an attach was or may have been accepted.
func (a *attachments) ordered(id, instance string) {
	a.put(id, attachment{instance: instance, at: time.Now()})
}

// saw notes that the volume is where it was ordered to be.
func (a *attachments) saw(v volume.Volume) {
	a.put(v.ID, attachment{instance: v.AttachedTo, at: time.Now(), seen: &v})
}

// forget is called before anything is ordered that ends an attachment.
func (a *attachments) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byID, id)
}

// justSeen gives the volume if it was seen at the instance a moment ago.
func (a *attachments) justSeen(id, instance string) (volume.Volume, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.byID[id]
	if !ok || e.seen == nil || e.instance != instance || time.Since(e.at) > repeatWithin {
		return volume.Volume{}, false
	}
	return *e.seen, true
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
	return max(0, attachWithin-time.Since(e.at))
}
