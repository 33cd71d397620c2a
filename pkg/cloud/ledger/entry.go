package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// MaxAhead is how far ahead of now an attempt may be written down: it is the time until which a request may be under way.
const MaxAhead = 2 * time.Minute

// Entry is what is known of the load balancer of one Service, or that one has left. Times are in UTC, in whole seconds.
type Entry struct {
	// Service is the Service as namespace/name, for people.
	Service string `json:"service"`
	// ID is the load balancer, "" while none is known.
	ID string `json:"id,omitempty"`
	// Tried is when a request to make one left, or one got the label that proves whose it is, and no read has shown it yet.
	// Zero if there is none.
	Tried time.Time `json:"tried,omitzero"`
	// Made is when the request that made it was answered. Zero for one that was found.
	Made time.Time `json:"made,omitzero"`
	// Shown is set when a read has shown it: from then on, not being shown means something.
	Shown bool `json:"shown,omitempty"`
	// Adopted is set for one that was not made for the Service: it is kept when the Service goes.
	Adopted bool `json:"adopted,omitempty"`
	// Unseen is set for one that was taken over until its owner was told what will change.
	Unseen bool `json:"unseen,omitempty"`
	// Asked tells what it was last brought to, where what differs from that is told only and left.
	Asked string `json:"asked,omitempty"`
	// Deleted is when the platform accepted its deletion. Zero before.
	Deleted time.Time `json:"deleted,omitzero"`
	// Noted is the ID that was written into the Service's annotation, where it proves nothing.
	Noted string `json:"noted,omitempty"`
	// Address is the last one in the Service's status.
	Address string `json:"address,omitempty"`
	// Certificate tells which certificate it was given, "" for none of ours.
	Certificate string `json:"certificate,omitempty"`
	// Certifier is the Service for which it was given that, "" for the one that the entry is of.
	Certifier types.UID `json:"certifier,omitempty"`
	// Firewall is set when its firewall rules come from the Service, so that they go when the Service names none.
	Firewall bool `json:"firewall,omitempty"`
	// Regions is set when it has, or may have, parts in other regions because the Service asked for them, so that they go when the
	// Service names none.
	Regions bool `json:"regions,omitempty"`
	// Late is when the last request to make one was under way, if the Service had a load balancer before or was released soon
	// after it: should the request have been delivered twice, reads may be late to show the second one.
	Late time.Time `json:"late,omitzero"`
	// Guests are further Services that it serves, "" for none.
	Guests Members `json:"guests,omitempty"`
	// Group is the label by which they came to share it.
	Group string `json:"group,omitempty"`
	// Left is the Service that had it, where it is left as it is without one. Such an entry is under the load balancer's own ID: that
	// Service may have another one meanwhile.
	Left types.UID `json:"left,omitempty"`
}

// Released reports whether the Service has no load balancer any more, and only what reads may be late to show is left to look
// for.
func (e Entry) Released() bool { return e.ID == "" && e.Tried.IsZero() && !e.Late.IsZero() }

// Second returns t as entries hold times, so that an entry that was read equals the one that was written.
func Second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// capped returns the entry without times that cannot be true yet. A process whose clock was wrong may have written them,
// and whoever waited for such a time would wait for years.
func (e Entry) capped(now time.Time) Entry {
	e.Tried = earlier(e.Tried, now.Add(MaxAhead))
	e.Late = earlier(e.Late, now.Add(MaxAhead))
	e.Made = earlier(e.Made, now)
	e.Deleted = earlier(e.Deleted, now)
	return e
}

func earlier(t, limit time.Time) time.Time {
	if t.After(limit) {
		return Second(limit)
	}
	return t
}

// encode returns the entry as it is stored, "" for the zero Entry, which is not.
func encode(uid types.UID, entry Entry) (string, error) {
	if entry == (Entry{}) {
		return "", nil
	}
	text, err := json.Marshal(entry)
	if err != nil {
		return "", fmt.Errorf("entry %s: %w", uid, err)
	}
	return string(text), nil
}

func decode(uid, text string) (Entry, error) {
	var entry Entry
	if err := json.Unmarshal([]byte(text), &entry); err != nil {
		return Entry{}, fmt.Errorf("entry %s: %w; mend the entry, or delete it to have the load balancer looked for by its label", uid, err)
	}
	return entry, nil
}
