// Package faults decides which requests go wrong, and how: rules that match requests, and requests that are held until
// somebody releases them.
package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Action is what a rule does to a request.
type Action string

// The actions. "Before" means that the work is not done (hold: not yet), "after" that it is done.
const (
	Status      Action = "status"       // answer Status and Body instead of doing the work
	StatusAfter Action = "status-after" // do the work, then answer Status and Body
	Latency     Action = "latency"      // wait, then go on
	ResetBefore Action = "reset-before" // reset the connection, the work is not done
	ResetAfter  Action = "reset-after"  // do the work, then reset the connection: the answer is lost
	HoldBefore  Action = "hold-before"  // wait for the release, then do the work, also when the asker is gone
	HoldAfter   Action = "hold-after"   // do the work, wait for the release, then answer
	Hang        Action = "hang"         // never answer, the work is not done; ends when the asker gives up
	HangAfter   Action = "hang-after"   // do the work and never answer
	Truncate    Action = "truncate"     // do the work, send half of the answer, cut the connection
	NotJSON     Action = "not-json"     // do the work, answer with Body that is no JSON: a proxy's page, by default
	Stale       Action = "stale"        // answer reads from the state as it was when the rule was added, or LagMS ago
	Duplicate   Action = "duplicate"    // do the work twice, as if delivered twice; the answer that Answer names goes back
)

// Actions are all that there are.
var Actions = []Action{
	Status, StatusAfter, Latency, ResetBefore, ResetAfter, HoldBefore, HoldAfter, Hang, HangAfter, Truncate, NotJSON, Stale, Duplicate,
}

// Answer is one of the two answers of a request that was delivered twice.
type Answer string

// The answers.
const (
	AnswerFirst  Answer = "first"
	AnswerSecond Answer = "second"
)

// Rule is one fault. Empty conditions match everything.
type Rule struct {
	// ID is given by Add when empty.
	ID string `json:"id"`
	// Method and Path (a regular expression) and Operation ("create_block") say which requests match.
	Method    string `json:"method,omitempty"`
	Path      string `json:"path,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Nth is the first matching request that is hit, counted from 1 since the rule was added; 0 means 1.
	Nth int `json:"nth,omitempty"`
	// Times is how many requests are hit at most; 0 means no bound.
	Times int `json:"times,omitempty"`
	// Probability is the chance of each matching request from the nth on to be hit; 0 means 1. The same Seed hits the
	// same ones again; Add chooses one when it is 0.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`

	Action Action `json:"action"`
	// Status, Body and RetryAfter (seconds) are the answer of the status actions. An empty body is made of the status.
	// not-json takes Status (0: that of the work) and Body too.
	Status     int    `json:"status,omitempty"`
	Body       string `json:"body,omitempty"`
	RetryAfter int    `json:"retry_after,omitempty"`
	// ContentType of Body; "" means application/json for JSON, else text/html.
	ContentType string `json:"content_type,omitempty"`
	// LatencyMS is the wait of the latency action; it is not scaled.
	LatencyMS int `json:"latency_ms,omitempty"`
	// Answer says which answer of the duplicate action the client gets; "" means AnswerSecond.
	Answer Answer `json:"answer,omitempty"`
	// LagMS is how far behind the reads of the stale action are; 0 means that they stay at the time when the rule was
	// added. It is not scaled.
	LagMS int `json:"lag_ms,omitempty"`

	// Matched, Hit and Held are counted by the Set.
	Matched int `json:"matched"`
	Hit     int `json:"hit"`
	Held    int `json:"held"`
}

// Validate lists everything that is wrong with a rule.
func (r Rule) Validate() error {
	var errs []error
	if !slices.Contains(Actions, r.Action) {
		errs = append(errs, fmt.Errorf("action %q is none of %v", r.Action, Actions))
	}
	if _, err := regexp.Compile(r.Path); err != nil {
		errs = append(errs, fmt.Errorf("path: %w", err))
	}
	if r.Nth < 0 || r.Times < 0 || r.LatencyMS < 0 || r.LagMS < 0 || r.RetryAfter < 0 {
		errs = append(errs, errors.New("nth, times, latency_ms, lag_ms and retry_after must not be negative"))
	}
	if !(r.Probability >= 0 && r.Probability <= 1) { // NaN too
		errs = append(errs, fmt.Errorf("probability %v is not between 0 and 1", r.Probability))
	}
	return errors.Join(append(errs, r.validateAnswer()...)...)
}

// validateAnswer judges what only some actions take.
func (r Rule) validateAnswer() (errs []error) {
	answers := r.Action == Status || r.Action == StatusAfter
	if (answers || r.Status != 0) && (r.Status < 200 || r.Status > 599) {
		errs = append(errs, fmt.Errorf("status %d is not between 200 and 599", r.Status))
	}
	if r.Action == NotJSON && json.Valid([]byte(r.Body)) {
		errs = append(errs, errors.New("the body of not-json is JSON"))
	}
	if r.Action == Latency && r.LatencyMS == 0 {
		errs = append(errs, errors.New("latency_ms is missing"))
	}
	return append(errs, r.validateOthers()...)
}

// validateOthers judges what one action alone takes.
func (r Rule) validateOthers() (errs []error) {
	if r.Answer != "" && (r.Action != Duplicate || r.Answer != AnswerFirst && r.Answer != AnswerSecond) {
		errs = append(errs, fmt.Errorf("answer %q: the action %s takes %s or %s, others take none", r.Answer, Duplicate, AnswerFirst, AnswerSecond))
	}
	if r.LagMS > 0 && r.Action != Stale {
		errs = append(errs, fmt.Errorf("lag_ms is for the action %s, not for %s", Stale, r.Action))
	}
	if r.Lag() > MaxLag {
		errs = append(errs, fmt.Errorf("lag_ms %d is above %d", r.LagMS, MaxLag.Milliseconds()))
	}
	return errs
}

// Latency is the wait of the latency action.
func (r Rule) Latency() time.Duration { return time.Duration(r.LatencyMS) * time.Millisecond }

// Lag is how far behind the reads of the stale action are; 0 means that they stay where they were.
func (r Rule) Lag() time.Duration { return time.Duration(r.LagMS) * time.Millisecond }

// MaxLag bounds Lag: what is overwritten has to be kept for that long.
const MaxLag = time.Hour

type entry struct {
	rule     Rule
	random   *rand.Rand
	past     any
	path     *regexp.Regexp
	released chan struct{}
	changed  chan struct{} // closed and replaced when the counts change
}

// Set is the rules in force, in the order in which they were added. New gives one.
type Set struct {
	mu      sync.Mutex
	entries []*entry
	next    int
	closed  chan struct{}
}

// New makes an empty set.
func New() *Set { return &Set{closed: make(chan struct{})} }

// Close releases everything that is held, for good.
func (s *Set) Close() { close(s.closed) }

// Add puts a rule in force and returns its ID. Every Hit of it carries past.
func (s *Set) Add(r Rule, past any) (string, error) {
	if err := r.Validate(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ID == "" {
		s.next++
		r.ID = "fault-" + strconv.Itoa(s.next)
	}
	if s.find(r.ID) != nil {
		return "", fmt.Errorf("there is a fault %q already", r.ID)
	}
	r.Matched, r.Hit, r.Held = 0, 0, 0
	if r.Probability > 0 && r.Seed == 0 {
		r.Seed = rand.Uint64() //nolint:gosec // a repeatable fault, no secret
	}
	s.entries = append(s.entries, &entry{
		rule: r, path: regexp.MustCompile(r.Path), past: past, random: rand.New(rand.NewPCG(r.Seed, 0)), //nolint:gosec // a repeatable fault, no secret
		released: make(chan struct{}), changed: make(chan struct{}),
	})
	return r.ID, nil
}

// Remove ends a rule and releases what it holds.
func (s *Set) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(id)
	if e == nil {
		return false
	}
	s.entries = slices.DeleteFunc(s.entries, func(o *entry) bool { return o == e })
	close(e.released)
	return true
}

// Clear removes all rules and releases what they hold.
func (s *Set) Clear() {
	for _, r := range s.List() {
		s.Remove(r.ID)
	}
}

// Release releases the requests that the rule holds now. The rule stays in force for others.
func (s *Set) Release(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(id)
	if e == nil {
		return false
	}
	close(e.released)
	e.released = make(chan struct{})
	return true
}

// List returns the rules with their counts.
func (s *Set) List() []Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Rule, 0, len(s.entries))
	for _, e := range s.entries {
		out = append(out, e.rule)
	}
	return out
}

// Get returns one rule with its counts and a channel that is closed at the next change of them.
func (s *Set) Get(id string) (Rule, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(id)
	if e == nil {
		return Rule{}, nil, false
	}
	return e.rule, e.changed, true
}

// Match counts the request against every rule and returns those that hit it.
func (s *Set) Match(r *http.Request, operation string) []*Hit {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hits []*Hit
	for _, e := range s.entries {
		if !e.matches(r, operation) {
			continue
		}
		e.rule.Matched++
		if e.strikes() {
			e.rule.Hit++
			hits = append(hits, &Hit{Rule: e.rule, Past: e.past, set: s, entry: e})
		}
		e.notify()
	}
	return hits
}

func (e *entry) matches(r *http.Request, operation string) bool {
	return (e.rule.Method == "" || e.rule.Method == r.Method) &&
		(e.rule.Action != Stale || r.Method == http.MethodGet) &&
		(e.rule.Operation == "" || e.rule.Operation == operation) &&
		e.path.MatchString(r.URL.Path)
}

// strikes reports whether the request that was just counted is hit.
func (e *entry) strikes() bool {
	if e.rule.Matched < e.rule.Nth {
		return false
	}
	// Drawn for each, so that what one request meets does not depend on what others met.
	lucky := e.rule.Probability > 0 && e.random.Float64() >= e.rule.Probability
	return !lucky && (e.rule.Times == 0 || e.rule.Hit < e.rule.Times)
}

func (e *entry) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (s *Set) find(id string) *entry {
	for _, e := range s.entries {
		if e.rule.ID == id {
			return e
		}
	}
	return nil
}

// Hit is a rule that has to be applied to one request.
type Hit struct {
	Rule Rule
	// Past is what was given to Add.
	Past  any
	set   *Set
	entry *entry
}

// Hold waits until the rule is released or removed or the set is closed. The asker's going away does not end it: a
// request that reached the cloud is worked on whether or not somebody still waits for the answer.
func (h *Hit) Hold() { h.HoldUntil(nil) }

// Delay waits as long as the rule's latency, or until the rule is removed or released or the set is closed.
func (h *Hit) Delay() {
	ctx, cancel := context.WithTimeout(context.Background(), h.Rule.Latency())
	defer cancel()
	h.HoldUntil(ctx.Done())
}

// HoldUntil is Hold that also ends when gone is closed.
func (h *Hit) HoldUntil(gone <-chan struct{}) {
	h.set.mu.Lock()
	released := h.entry.released
	h.entry.rule.Held++
	h.entry.notify()
	h.set.mu.Unlock()
	select {
	case <-released:
	case <-h.set.closed:
	case <-gone:
	}
	h.set.mu.Lock()
	defer h.set.mu.Unlock()
	h.entry.rule.Held--
	h.entry.notify()
}
