package roster

import (
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// sightings remembers when instances were not there yet. Clocks of machines and of the platform may be wrong, the order
// of what this process reads is not. What was shown once is never forgotten: an instance that is missing from lists for
// a while would be taken for a new one.
type sightings struct {
	began  time.Time            // when the newest list began
	shown  map[string]bool      // what it shows
	lacked map[string]time.Time // by ID, when the list began that was read before the first one that shows it
}

// note learns from a list. What it shows for the first time is new only if the list before was of the same account, which
// one instance that both show proves.
//
// All Nodes of a round share a list, and each brings it here.
func (s *sightings) note(list vultr.List[vultr.Instance]) {
	if s.shown != nil && list.Began.Equal(s.began) {
		return // it is the one that was noted last
	}
	if s.lacked == nil {
		s.lacked = make(map[string]time.Time, len(list.Items))
	}
	shown, related := make(map[string]bool, len(list.Items)), false
	for _, instance := range list.Items {
		id := strings.ToLower(instance.ID)
		shown[id] = true
		related = related || s.shown[id]
	}
	later := list.Began.After(s.began)
	for id := range shown {
		if _, known := s.lacked[id]; known {
			continue
		}
		s.lacked[id] = time.Time{}
		if related && later { // lists may overtake one another
			s.lacked[id] = s.began
		}
	}
	if later {
		s.began, s.shown = list.Began, shown
	}
}

// Lacked returns when a list of this account began that did not show the instance, as the last one before it was shown
// first. It is zero if this process has read no such list, for example because its first one shows the instance.
func (r *Roster) Lacked(id string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sightings.lacked[strings.ToLower(id)]
}
