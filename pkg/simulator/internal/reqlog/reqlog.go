// Package reqlog remembers the last requests and counts all of them.
package reqlog

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Entry is one request. A request that got no answer has status 0.
type Entry struct {
	Seq       int64         `json:"seq"`
	Began     time.Time     `json:"began"`
	Took      time.Duration `json:"took_ns"`
	Method    string        `json:"method"`
	Path      string        `json:"path"`
	Query     string        `json:"query,omitempty"`
	Operation string        `json:"operation"`
	Status    int           `json:"status"`
	Error     string        `json:"error,omitempty"` // the API's text
	Source    string        `json:"source"`
	UserAgent string        `json:"user_agent,omitempty"`
	Faults    []string      `json:"faults,omitempty"`
}

// Counter counts the requests of one operation, failed attempts included.
type Counter struct {
	Total  int `json:"total"`
	Failed int `json:"failed"` // status 4xx, 5xx or no answer
	// ByStatus counts per status; 0 is "no answer".
	ByStatus map[int]int `json:"by_status"`
}

// Log is a ring of the last requests with counters. New gives one.
type Log struct {
	mu       sync.Mutex
	ring     []Entry
	next     int // where the next entry goes once the ring is full
	seq      int64
	counters map[string]*Counter
}

const (
	ringSize = 10000
	// maxText bounds what is kept of each text that the client chose, for a head may have 64 KB.
	maxText = 512
)

// New makes an empty log.
func New() *Log { return &Log{counters: map[string]*Counter{}} }

// Add records a finished request. Long texts are cut off.
func (l *Log) Add(e Entry) {
	for _, text := range []*string{&e.Method, &e.Path, &e.Query, &e.Error, &e.UserAgent} {
		*text = short(*text)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq = l.seq
	if len(l.ring) < ringSize {
		l.ring = append(l.ring, e)
	} else {
		l.ring[l.next] = e
		l.next = (l.next + 1) % ringSize
	}
	c := l.counters[e.Operation]
	if c == nil {
		c = &Counter{ByStatus: map[int]int{}}
		l.counters[e.Operation] = c
	}
	c.Total++
	c.ByStatus[e.Status]++
	if e.Status == 0 || e.Status >= 400 {
		c.Failed++
	}
}

// short returns at most maxText bytes, in memory of their own: the rest, and what else the text is a part of, is released.
func short(text string) string {
	if len(text) <= maxText {
		return strings.Clone(text)
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..." // a new string
}

// Last returns up to n of the last requests that ended, oldest first; n <= 0 returns all that are remembered.
func (l *Log) Last(n int) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := append(slices.Clone(l.ring[l.next:]), l.ring[:l.next]...)
	if n > 0 && len(out) > n {
		out = out[len(out)-n:]
	}
	return out
}

// Counters returns a copy of the counters by operation.
func (l *Log) Counters() map[string]Counter {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]Counter, len(l.counters))
	for op, c := range l.counters {
		out[op] = Counter{Total: c.Total, Failed: c.Failed, ByStatus: maps.Clone(c.ByStatus)}
	}
	return out
}

// Reset forgets all requests and counts.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.next, l.counters = nil, 0, map[string]*Counter{}
}
