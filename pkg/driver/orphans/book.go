package orphans

import (
	"strings"
	"time"
)

// thing is a volume or a snapshot, as the rules see it.
type thing struct {
	id string
	// ours is set if the platform's own words prove that it is the cluster's.
	ours bool
	made time.Time
}

// book is what is known of volumes, or of snapshots, from look to look. The zero value knows nothing.
type book struct {
	// named is when each was last named by an object of the cluster, as far as this process has seen.
	named map[string]time.Time
	// unnamed are those that were named by none at the last look.
	unnamed map[string]bool
}

// judge notes what the lists show, and returns since when each orphan is one. It is one if nothing named it at the look before
// as well: what is just moved from one object to another is none.
func (b *book) judge(all []thing, handles []string, age time.Duration, now time.Time) (orphans map[string]time.Time) {
	inUse := make(map[string]bool, len(handles))
	for _, h := range handles {
		inUse[strings.ToLower(h)] = true
	}
	named, unnamed := map[string]time.Time{}, map[string]bool{}
	orphans = map[string]time.Time{}
	for _, v := range all {
		id := strings.ToLower(v.id)
		last, known := b.named[id]
		if inUse[id] {
			named[id] = now
			continue
		}
		if known {
			named[id] = last
		}
		if !known && !v.ours {
			continue // it may be anybody's
		}
		unnamed[id] = true
		since := v.made
		if last.After(since) {
			since = last
		}
		if b.unnamed[id] && !since.IsZero() && now.Sub(since) >= age {
			orphans[id] = since
		}
	}
	b.named, b.unnamed = named, unnamed
	return orphans
}

// forgetAfter is how long a name is remembered of which no list of the platform shows whether it still exists.
const forgetAfter = 30 * 24 * time.Hour

// remember notes what is named.
func (b *book) remember(handles []string, now time.Time) {
	if b.named == nil {
		b.named = map[string]time.Time{}
	}
	for _, h := range handles {
		b.named[strings.ToLower(h)] = now
	}
	for id, last := range b.named {
		if now.Sub(last) > forgetAfter {
			delete(b.named, id)
		}
	}
}
