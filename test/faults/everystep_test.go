package faults

import (
	"cmp"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testpoints"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// row is an operation under faults, and what goes before it.
type row struct {
	name string
	// op is the operation of the ladder, name when it is unset.
	op  string
	use use
	// filled has the data written before the operation.
	filled bool
	// givenUp has the orchestrator undo the operation after the fault, instead of trying again. A volume that is free then
	// goes to another machine.
	givenUp bool
	// killed leaves out faults that the process survives: no orchestrator gives up a detach while it can still ask the one
	// that began it, and that one refuses to attach before the detach is over.
	killed bool
	// byHand has a person do what the driver's error advises, should it refuse what a tool left that was cut off.
	byHand bool
	// before is what is done to a volume right before it, on its rung or one below.
	before func(p *point, v *volume)
	// still is set when it may change nothing on the machine, so that there is no call to strike at.
	still bool
	// of makes what it is about, nil for a volume.
	of func(p *point, s *sources) *ladder
}

// sources are what snapshots, restores and clones are made from: they are there once for all points of a row.
type sources struct {
	volume   *volume
	snapshot *snapshot
	kept     int
}

var (
	remote       = use{remote: true}
	remoteShared = use{fs: shared, remote: true}
)

// rows are all operations. Encrypted volumes are rows with another use.
var rows = []row{
	{name: "create", use: remote},
	{name: "attach", use: remote},
	{name: "attach, given up", op: "attach", use: remote, givenUp: true},
	{name: "expand", use: remote, filled: true},
	{name: "detach", use: remote, filled: true},
	{name: "detach, given up", op: "detach", use: remote, filled: true, givenUp: true, killed: true},
	{name: "delete", use: remote},
	{name: "snapshot", of: func(p *point, s *sources) *ladder { return p.newSnapshot(s.volume).ladder }},
	{name: "delete snapshot", of: func(p *point, s *sources) *ladder { return p.newSnapshot(s.volume).ladder }},
	{name: "restore", op: "create", of: func(p *point, s *sources) *ladder { return p.restored(s.snapshot.id, s.volume).ladder }},
	{name: "clone", op: "create", of: func(p *point, s *sources) *ladder { return p.cloned(s.volume).ladder }},
	{name: "vfs create", op: "create", use: remoteShared},
	{name: "vfs attach", op: "attach", use: remoteShared},
	{name: "vfs attach, given up", op: "attach", use: remoteShared, givenUp: true},
	{name: "vfs detach", op: "detach", use: remoteShared, filled: true},
	{name: "vfs delete", op: "delete", use: remoteShared},

	{name: "ext4 stage", op: "stage", use: use{fs: "ext4"}},
	{name: "xfs stage", op: "stage", use: use{fs: "xfs"}},
	{name: "btrfs stage", op: "stage", use: use{fs: "btrfs"}},
	{name: "ext4 stage, given up", op: "stage", use: use{fs: "ext4"}, givenUp: true},
	{name: "ext4 stage again", op: "stage", use: use{fs: "ext4"}, filled: true},
	{name: "xfs stage again", op: "stage", use: use{fs: "xfs"}, filled: true},
	{name: "btrfs stage again", op: "stage", use: use{fs: "btrfs"}, filled: true},
	{name: "ext4 stage larger", op: "stage", use: use{fs: "ext4"}, filled: true, before: expand, byHand: true},
	{name: "block stage", op: "stage", use: use{}},
	{name: "vfs stage", op: "stage", use: use{fs: shared}},
	{name: "ext4 publish", op: "publish", use: use{fs: "ext4"}},
	{name: "ext4 publish, given up", op: "publish", use: use{fs: "ext4"}, givenUp: true},
	{name: "block publish", op: "publish", use: use{}},
	{name: "vfs publish", op: "publish", use: use{fs: shared}},
	{name: "xfs grow", op: "grow", use: use{fs: "xfs"}, filled: true, before: expand},
	{name: "btrfs grow", op: "grow", use: use{fs: "btrfs"}, filled: true, before: expand},
	{name: "ext4 unpublish", op: "unpublish", use: use{fs: "ext4"}, filled: true},
	{name: "block unpublish", op: "unpublish", use: use{}, filled: true},
	{name: "vfs unpublish", op: "unpublish", use: use{fs: shared}, filled: true},
	{name: "ext4 unstage", op: "unstage", use: use{fs: "ext4"}, filled: true},
	{name: "ext4 unstage, given up", op: "unstage", use: use{fs: "ext4"}, filled: true, givenUp: true},
	{name: "xfs unstage", op: "unstage", use: use{fs: "xfs"}, filled: true},
	{name: "btrfs unstage", op: "unstage", use: use{fs: "btrfs"}, filled: true},
	{name: "block unstage", op: "unstage", use: use{}, filled: true},
	{name: "vfs unstage", op: "unstage", use: use{fs: shared}, filled: true},

	// Where a row stands says which of its points are tried: what is new comes last.
	{name: "modify", use: remote, filled: true},
	{name: "vfs modify", op: "modify", use: remoteShared, filled: true},
	{name: "vfs expand", op: "expand", use: remoteShared, filled: true},
	{name: "block grow", op: "grow", use: use{}, filled: true, before: expand, still: true},
	{name: "ext4 unstage without a record", op: "unstage", use: use{fs: "ext4"}, filled: true, before: forget},
	{name: "vfs unstage without a record", op: "unstage", use: use{fs: shared}, filled: true, before: forget},
	{name: "vfs unpublish without a record", op: "unpublish", use: use{fs: shared}, filled: true, before: forget},
}

// forget has the machine have no record of a volume, as of one that the official driver staged.
func forget(p *point, v *volume) {
	p.Helper()
	if err := os.Remove(filepath.Join(v.host().state, v.id+".staged.json")); err != nil {
		p.Fatal(err)
	}
}

// expand makes a volume larger by the platform, which shows it to the machine a moment later.
func expand(p *point, v *volume) {
	p.Helper()
	o, _ := v.find("expand")
	p.until(o)
	for began := time.Now(); ; {
		size, err := v.disk().bytes()
		if err != nil {
			p.Fatal(err)
		}
		if size == 2*v.size() {
			return
		}
		if time.Since(began) > patience {
			p.Fatalf("the disk has %d bytes, not %d", size, 2*v.size())
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// atOnce is how many rows are worked on at a time: most of it is waiting.
const atOnce = 8

// TestEveryStep carries out each operation with each fault at each point.
func TestEveryStep(t *testing.T) {
	t.Parallel()
	need(t)
	sideBySide(t, rows, func(w row) string { return w.name }, func(t *testing.T, w row) { w.run(t) })
	if missing := found.missing(); len(missing) > 0 && !selected() && !testpoints.AreFew() && !t.Failed() {
		t.Errorf("no point was hit of: %s", strings.Join(missing, "; "))
	}
}

// selected reports whether somebody asked for some of the points only.
func selected() bool {
	return strings.Contains(flag.Lookup("test.run").Value.String(), "/") || strings.Contains(flag.Lookup("test.skip").Value.String(), "/")
}

// operation is the name that the operation has on the ladder.
func (w row) operation() string { return cmp.Or(w.op, w.name) }

// session is a row's cloud.
type session struct {
	row
	sources

	t   *testing.T
	rig *rig
	// processes are kept from point to point where only those of the node plugin are struck, and only those that were
	// killed are new. They are nil in the rows of the controller: what one still looks at in the background would be
	// taken for what the next point asks for.
	processes *processes
	// calls are the API calls of the operation when it was undisturbed.
	calls []simulator.Request
}

// run counts the points of the row and tries them.
func (w row) run(t *testing.T) {
	s := &session{row: w, t: t}
	points := s.points(t)
	for kind, runs := range points {
		found.has(w.name, kind, runs)
	}
	if w.still && len(points) == 0 {
		s.tryBetween()
		return
	}
	failed := 0
	for _, f := range testpoints.Of(choose(points, place(w.name), os.Getenv("FAULTS") == "all")) {
		passed := s.try(f)
		if passed {
			continue
		}
		if s.processes != nil {
			s.processes.killAll(t)
		}
		s.rig, s.processes = nil, nil // what it left is not for the next one
		if failed++; failed == 3 {
			t.Log("the other points of this operation are left out after three failures")
			break
		}
	}
}

// try runs a point. An operation can need a call less than when they were counted, where it waits or where two of its
// parts run side by side: then the one before is tried, so that the end of the operation is not left out.
func (s *session) try(f fault) (passed bool) {
	for range 4 {
		var ran, hit bool
		name := strings.ReplaceAll(fmt.Sprintf("%s/%d", f.kind, f.n), " ", "_")
		passed = s.t.Run(name, func(t *testing.T) { ran = true; hit = s.run(t, f) })
		if !ran {
			return true // another one was asked for
		}
		if passed && !hit && f.n > 1 {
			f.n--
			continue
		}
		found.note(s.name, f.kind, passed, hit)
		return passed
	}
	found.note(s.name, f.kind, passed, false)
	return passed
}

// killedBetween is the fault of an operation that changes nothing on the machine: the process is killed before it and after,
// and who does not know asks again.
const killedBetween = "killed before and after"

func (s *session) tryBetween() {
	found.has(s.name, killedBetween, []run{{first: 1, last: 1}})
	ran := false
	passed := s.t.Run(strings.ReplaceAll(killedBetween, " ", "_"), func(t *testing.T) {
		ran = true
		p := s.begin(t)
		l, o := s.arrive(p)
		for range 2 {
			p.killNode(p, 0)
			p.until(o)
		}
		l.rung = o.to
		s.leave(p, l, o)
	})
	if ran {
		found.note(s.name, killedBetween, passed, true)
	}
}

// begin gives a point its cloud.
func (s *session) begin(t *testing.T) *point {
	t.Helper()
	if s.rig == nil {
		s.rig, s.sources = newRig(s.t, simulator.Config{}), sources{}
	}
	if s.of != nil && s.volume == nil {
		p := newPoint(t, s.rig)
		s.make(p)
		p.killAll(p)
	}
	p := newPoint(t, s.rig)
	if s.isNodes() {
		if s.processes == nil {
			s.processes = &processes{t: s.t, rig: s.rig}
		}
		p.processes = s.processes
	}
	if s.givenUp && !s.isNodes() {
		p.reserve = reserve // an attach of which no answer came is waited for by time alone
	}
	p.calls = s.calls
	if s.byHand {
		p.byHand = s.name
	}
	if s.volume != nil {
		s.volume.p, s.snapshot.p = p, p
	}
	return p
}

// isNodes reports whether it is the node plugin that the row strikes.
func (s *session) isNodes() bool { return s.of == nil && !s.use.remote }

// make makes the sources.
func (s *session) make(p *point) {
	p.Helper()
	s.volume = p.newVolume(remote)
	p.climb(s.volume.ladder, s.volume.top())
	s.volume.whole()
	p.climb(s.volume.ladder, created)
	s.snapshot = p.newSnapshot(s.volume)
	p.climb(s.snapshot.ladder, s.snapshot.top())
	p.await("the snapshot's completion", func(v simulator.View) bool {
		return slices.ContainsFunc(v.Snapshots, func(snap simulator.SnapshotView) bool {
			return snap.ID == s.snapshot.id && snap.State == "COMPLETE"
		})
	})
	p.cloud.AwaitReads()
	s.kept = 2
}

// arrive brings what the row is about to the operation.
func (s *session) arrive(p *point) (*ladder, op) {
	p.Helper()
	var l *ladder
	var v *volume
	if s.of != nil {
		l = s.of(p, &s.sources)
	} else {
		v = p.newVolume(s.use)
		l = v.ladder
	}
	o, ok := l.find(s.operation())
	if !ok {
		p.Fatalf("there is no operation %q", s.operation())
	}
	if s.filled {
		p.climb(l, l.top())
		l.whole()
	}
	if o.from > o.to && !s.filled {
		p.climb(l, o.from)
	}
	p.climb(l, o.from)
	if s.before != nil {
		s.before(p, v)
	}
	return l, o
}

// counts are the API calls of an operation when it was undisturbed, and the system calls.
type counts struct {
	once     sync.Once
	requests []simulator.Request
	calls    []string
	counted  bool
}

// counted has the counts of operations: rows that differ in what comes after the fault share them.
var counted sync.Map

// points counts the points of the operation. It is not a subtest: a single point needs it too.
func (s *session) points(t *testing.T) map[string][]run {
	t.Helper()
	key := strings.TrimSuffix(s.name, ", given up")
	shared, _ := counted.LoadOrStore(key, &counts{})
	c, _ := shared.(*counts)
	c.once.Do(func() {
		c.requests, c.calls = s.undisturbed(t)
		c.counted = true
	})
	if !c.counted {
		t.Fatalf("%s failed without a fault, in another row", key)
	}
	s.calls = c.requests
	points := map[string][]run{}
	if runs := runsOf(c.calls); len(runs) > 0 {
		points[killedAtCall], points[failedCall] = runs, runs
	}
	var operations []string
	for _, r := range c.requests {
		operations = append(operations, r.Operation)
	}
	for _, r := range runsOf(operations) {
		t.Log(r)
		r.most = ofReads
		for _, k := range kinds {
			if (!k.writes || c.requests[r.first-1].Method != http.MethodGet) && (k.kills || !s.killed) {
				points[k.name] = append(points[k.name], r)
			}
		}
	}
	return points
}

// undisturbed lives a life without faults, and returns the calls of the operation.
func (s *session) undisturbed(t *testing.T) ([]simulator.Request, []string) {
	t.Helper()
	p := s.begin(t)
	l, o := s.arrive(p)
	requests, calls := p.count(o)
	l.rung = o.to
	s.down(p, l)
	if s.processes == nil {
		p.killAll(p) // they would outlive it
	}
	for _, r := range runsOf(calls) {
		t.Log(strings.NewReplacer(p.cloud.DisksDir, "", p.dir, "").Replace(r.String()))
	}
	return requests, calls
}

// run lives a life with one fault.
func (s *session) run(t *testing.T, f fault) (hit bool) {
	p := s.begin(t)
	l, o := s.arrive(p)
	next := o
	if s.givenUp {
		next = l.opposite(o)
	}
	hit = p.strike(o, next, f)
	p.until(next)
	l.rung = o.to
	if s.givenUp {
		l.rung = o.from
	}
	if s.givenUp && l.rung == created {
		l.move() // the pod starts elsewhere
	}
	s.leave(p, l, o)
	return hit
}

// leave proves that the data is whole, and takes everything down.
func (s *session) leave(p *point, l *ladder, o op) {
	p.Helper()
	if l.rung > nowhere || s.givenUp {
		p.climb(l, l.top())
		l.whole()
		if o.node {
			p.climb(l, attached)
		} else {
			p.climb(l, min(created, l.top()))
		}
		p.climb(l, l.top())
		l.whole()
	}
	s.down(p, l)
}

// down takes everything down.
func (s *session) down(p *point, l *ladder) {
	p.Helper()
	p.climb(l, nowhere)
	s.swept(p)
	p.nothingIsLeft(s.kept)
}

// swept takes away what is left to a later sweep.
func (s *session) swept(p *point) {
	if n := p.sweep(); n > 0 {
		found.left(s.name, n)
	}
}
