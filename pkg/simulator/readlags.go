package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/faults"
)

// ReadLags is how far reads lag behind writes, scaled as other delays are. A read that lags shows what there was that
// long ago: a new object is missing (404), a changed one has its old fields, a deleted one is still there. Writes
// always act on the truth.
//
// The keys are kinds of objects with the kind of read, "blocks.get" or "load_balancers.list", or without it for both;
// the kind "all" stands for those that have no key of their own, and the most exact key counts. A read without any lags
// by DefaultReadLag. Reads of what belongs to an object, as the attachments of a file system, are reads of its kind.
// What no request changes, such as the regions and plans, and the account itself never lag.
type ReadLags map[string]time.Duration

// DefaultReadLag is how far reads lag that ReadLags does not speak of. A second is what was seen of the platform's lists
// of new objects; what else was seen (instances without their sub-resources, file systems that are attached after their
// detach) is of seconds, too.
const DefaultReadLag = time.Second

// NoReadLag has every read show the truth.
func NoReadLag() ReadLags { return ReadLags{allKinds: 0} }

// MaxReadLag bounds a ReadLag, before scaling: what is overwritten has to be kept for that long.
const MaxReadLag = time.Hour

const (
	allKinds = "all"
	readList = "list"
	readGet  = "get"
)

// ReadKinds are the kinds of objects whose reads can lag.
func ReadKinds() []string {
	var kinds []string
	for _, res := range resources {
		if res.kind != "" {
			kinds = append(kinds, res.kind)
		}
	}
	return kinds
}

// Validate lists everything that is wrong.
func (l ReadLags) Validate() error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(l)) {
		kind, read, both := strings.Cut(key, ".")
		if kind != allKinds && !slices.Contains(ReadKinds(), kind) {
			errs = append(errs, fmt.Errorf("read lag %q: unknown kind %q, there are %s and %v", key, kind, allKinds, ReadKinds()))
		}
		if both && read != readList && read != readGet {
			errs = append(errs, fmt.Errorf("read lag %q: unknown read %q, there are %s and %s", key, read, readList, readGet))
		}
		if l[key] < 0 || l[key] > MaxReadLag {
			errs = append(errs, fmt.Errorf("read lag %q: %s is not from 0 to %s", key, l[key], MaxReadLag))
		}
	}
	return errors.Join(errs...)
}

// of returns the lag of one kind of read of one kind of objects.
func (l ReadLags) of(kind, read string) time.Duration {
	for _, key := range []string{kind + "." + read, kind, allKinds + "." + read, allKinds} {
		if lag, ok := l[key]; ok {
			return lag
		}
	}
	return DefaultReadLag
}

// WithDefault returns them with a key for those that have none.
func (l ReadLags) WithDefault() ReadLags {
	all := ReadLags{allKinds: DefaultReadLag}
	maps.Copy(all, l)
	return all
}

// longest is the longest of them.
func (l ReadLags) longest() time.Duration {
	var longest time.Duration
	for _, lag := range l {
		longest = max(longest, lag)
	}
	return longest
}

// MarshalJSON writes durations as Go does: {"blocks.get": "1.5s"}.
func (l ReadLags) MarshalJSON() ([]byte, error) {
	texts := map[string]string{}
	for key, lag := range l {
		texts[key] = lag.String()
	}
	return json.Marshal(texts)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *ReadLags) UnmarshalJSON(raw []byte) error {
	var texts map[string]string
	if err := json.Unmarshal(raw, &texts); err != nil {
		return err
	}
	parsed, err := ParseReadLags(texts)
	if err == nil {
		*l = parsed
	}
	return err
}

// ParseReadLags reads durations such as "1.5s", and judges everything.
func ParseReadLags(texts map[string]string) (ReadLags, error) {
	lags := ReadLags{}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		lag, err := time.ParseDuration(texts[key])
		if err != nil {
			errs = append(errs, fmt.Errorf("read lag %q: %w", key, err))
		}
		lags[key] = lag
	}
	return lags, errors.Join(append(errs, lags.Validate())...)
}

// ReadLags returns how far reads lag behind now.
func (s *Simulator) ReadLags() ReadLags { return maps.Clone(*s.readLags.Load()) }

// SetReadLags replaces all read lags; nil are the defaults. A read shows nothing older than the first state that had to
// be kept.
func (s *Simulator) SetReadLags(lags ReadLags) error {
	if err := lags.Validate(); err != nil {
		return err
	}
	s.storeReadLags(lags)
	s.keepThePast()
	s.news.tell()
	return nil
}

func (s *Simulator) storeReadLags(lags ReadLags) {
	lags = lags.WithDefault()
	s.readLags.Store(&lags)
}

// keepThePast has the store remember what reads can ask for.
func (s *Simulator) keepThePast() {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	longest := s.scaled(s.readLags.Load().longest())
	for _, f := range s.faults.List() {
		longest = max(longest, f.Lag())
	}
	s.store.Keep(longest)
}

// tellReaders wakes those who wait for news when a change comes in sight of reads that lag.
func (s *Simulator) tellReaders() {
	told := map[time.Duration]bool{0: true}
	for _, lag := range *s.readLags.Load() {
		if lag = s.scaled(lag); !told[lag] {
			told[lag] = true
			time.AfterFunc(lag, s.news.tell)
		}
	}
}

// CaughtUp returns a channel that is closed when reads show all that was written before the call.
func (s *Simulator) CaughtUp() <-chan struct{} {
	caughtUp := make(chan struct{})
	time.AfterFunc(s.scaled(s.readLags.Load().longest()), func() { close(caughtUp) })
	return caughtUp
}

// readLag is how far the answers of a route are behind; 0 for writes.
func (s *Simulator) readLag(rt route) time.Duration {
	if rt.method != http.MethodGet || rt.kind == "" {
		return 0
	}
	read := readGet
	if strings.HasPrefix(rt.operation, "list_") {
		read = readList
	}
	if !s.keeps(quirkLateRead(rt.kind, read)) {
		return 0
	}
	return s.scaled(s.readLags.Load().of(rt.kind, read))
}

// seenBy is the cloud as a request sees it: as it is, or as it was.
func (s *Simulator) seenBy(rt route, hits []*faults.Hit) *Simulator {
	lag := s.readLag(rt)
	var stopped *Simulator // where time stands still
	for _, h := range hits {
		if past, ok := h.Past.(*Simulator); ok {
			stopped = past
		}
		lag = max(lag, h.Rule.Lag())
	}
	switch {
	case stopped != nil:
		return stopped
	case lag > 0:
		return s.at(time.Now().Add(-lag))
	}
	return s
}

// at is the cloud as it was at a moment, for reading.
func (s *Simulator) at(moment time.Time) *Simulator {
	past := &Simulator{
		cfg: s.cfg, log: s.log, store: s.store,
		blocks: s.blocks.At(moment), instances: s.instances.At(moment), metals: s.metals.At(moment),
		balancers: s.balancers.At(moment), jobs: s.jobs.At(moment),
		accountTables: s.accountTables.at(moment), storageTables: s.storageTables.at(moment),
	}
	s.lendTo(past)
	return past
}

// lendTo gives a past cloud what the present one is told.
func (s *Simulator) lendTo(past *Simulator) {
	s.quirksOff.Range(func(q, off any) bool {
		past.quirksOff.Store(q, off)
		return true
	})
	past.keys.Store(s.keys.Load())
	past.sources.Store(s.sources.Load())
	past.readLags.Store(s.readLags.Load())
}
