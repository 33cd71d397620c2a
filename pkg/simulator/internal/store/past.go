package store

import (
	"slices"
	"time"
)

// grace is how much longer than Keep says versions are kept, for reads that take their time on a busy machine.
const grace = 2 * time.Second

// version is what a record was until a change.
type version[T any] struct {
	until  time.Time
	id     string
	before *record[T] // nil: there was none
}

// past is what the records of a table were before they changed. It is guarded by the store's lock.
type past[T any] struct {
	// all are the versions of all records, oldest first, and of those of one record.
	all []version[T]
	of  map[string][]version[T]
}

func (p *past[T]) add(v version[T]) {
	if p.of == nil {
		p.of = map[string][]version[T]{}
	}
	p.all = append(p.all, v)
	p.of[v.id] = append(p.of[v.id], v)
}

// forget drops what nobody asks for who asks for no moment before oldest. It copies what is left, for a slice of it
// would hold on to what was dropped.
func (p *past[T]) forget(oldest time.Time) {
	n := 0
	for n < len(p.all) && p.all[n].until.Before(oldest) {
		id := p.all[n].id
		p.of[id][0] = version[T]{} // what follows shares its array
		if p.of[id] = p.of[id][1:]; len(p.of[id]) == 0 {
			delete(p.of, id)
		}
		n++
	}
	switch {
	case n == len(p.all):
		*p = past[T]{}
	case n > 0:
		p.all = slices.Clone(p.all[n:])
	}
}

// after returns the versions that ended after a moment.
func after[T any](versions []version[T], moment time.Time) []version[T] {
	first, _ := slices.BinarySearchFunc(versions, moment, func(v version[T], m time.Time) int {
		if v.until.After(m) {
			return 1
		}
		return -1
	})
	return versions[first:]
}

// Keep has the tables remember for that long what their records were, so that At can be asked; 0 ends it. What was
// forgotten before stays forgotten: At then answers with the oldest state that is known. Nothing is remembered over a
// restart.
func (s *Store) Keep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = d
	s.forget()
}

// forgetLater forgets what is kept when its time is up, also if no other change follows. The caller holds the lock.
func (s *Store) forgetLater() {
	if s.keep == 0 || s.forgetting != nil {
		return
	}
	s.forgetting = time.AfterFunc(s.keep+grace, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget()
	})
}

// forget drops what nobody can ask for any more, and comes back for the rest. The caller holds the lock.
func (s *Store) forget() {
	if s.forgetting != nil {
		s.forgetting.Stop()
		s.forgetting = nil
	}
	oldest := time.Now().Add(-s.keep - grace)
	if s.keep == 0 {
		oldest = time.Now().Add(1) // after everything
	}
	left := false
	for _, t := range s.tables {
		left = t.forget(oldest) || left
	}
	if left {
		s.forgetLater()
	}
}

// forget reports whether something is left.
func (t *Table[T]) forget(oldest time.Time) bool {
	t.past.forget(oldest)
	return len(t.past.all) > 0
}

// At returns the table as it was at a moment, for reading only.
func (t *Table[T]) At(moment time.Time) *Table[T] {
	return &Table[T]{name: t.name, store: t.store, of: t, moment: moment}
}

// remember notes what a record is before a transaction changes it. The caller holds the store's lock.
func (t *Table[T]) remember(tx *Tx, id string) {
	if t.store.keep > 0 && !tx.old {
		t.past.add(version[T]{until: tx.applied, id: id, before: t.rows[id]})
	}
}

// row returns a record, nil for none. The caller holds the store's lock.
func (t *Table[T]) row(id string) *record[T] {
	if t.of == nil {
		return t.rows[id]
	}
	if changed := after(t.of.past.of[id], t.moment); len(changed) > 0 {
		return changed[0].before
	}
	return t.of.rows[id]
}

// inOrder returns all records in their order. The caller holds the store's lock.
func (t *Table[T]) inOrder() []*record[T] {
	if t.of == nil {
		return slices.Clone(t.order)
	}
	changed := after(t.of.past.all, t.moment)
	if len(changed) == 0 {
		return slices.Clone(t.of.order)
	}
	before := make(map[string]*record[T], len(changed))
	for _, v := range changed {
		if _, known := before[v.id]; !known {
			before[v.id] = v.before
		}
	}
	return merged(t.of.order, before)
}

// merged returns records in their order, with others in the places of those that changed.
func merged[T any](now []*record[T], before map[string]*record[T]) []*record[T] {
	old := make([]*record[T], 0, len(before))
	for _, r := range before {
		if r != nil {
			old = append(old, r)
		}
	}
	slices.SortFunc(old, compare[T])
	rows := make([]*record[T], 0, len(now)+len(old))
	for _, r := range now {
		if _, changed := before[r.id]; changed {
			continue
		}
		for len(old) > 0 && compare(old[0], r) < 0 {
			rows, old = append(rows, old[0]), old[1:]
		}
		rows = append(rows, r)
	}
	return append(rows, old...)
}
