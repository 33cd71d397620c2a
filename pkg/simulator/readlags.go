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
// the kind "all" stands for those that have no key of their own, and the most exact key counts. A list without any
// misses a new object for Delays.ListingLag and shows everything else at once. Reads of what belongs to an object, as
// the attachments of a file system, are reads of its kind.
type ReadLags map[string]time.Duration

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

// of returns the lag of one kind of read of one kind of objects, false if nothing is said of it.
func (l ReadLags) of(kind, read string) (time.Duration, bool) {
	for _, key := range []string{kind + "." + read, kind, allKinds + "." + read, allKinds} {
		if lag, ok := l[key]; ok {
			return lag, true
		}
	}
	return 0, false
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

// SetReadLags replaces all read lags. A read shows nothing older than the first state that had to be kept.
func (s *Simulator) SetReadLags(lags ReadLags) error {
	if err := lags.Validate(); err != nil {
		return err
	}
	s.setReadLags(lags)
	s.news.tell()
	return nil
}

func (s *Simulator) setReadLags(lags ReadLags) {
	if lags = maps.Clone(lags); lags == nil {
		lags = ReadLags{}
	}
	s.store.Keep(s.scaled(lags.longest()))
	s.readLags.Store(&lags)
}

// listingLag is how long a new object is missing from lists that show everything else at once.
func (s *Simulator) listingLag(kind string) time.Duration {
	if _, told := s.readLags.Load().of(kind, readList); told || !s.keeps(quirkListingLag) {
		return 0 // the whole list lags
	}
	return s.scaled(s.cfg.Delays.ListingLag)
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
	lag, _ := s.readLags.Load().of(rt.kind, read)
	return s.scaled(lag)
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
