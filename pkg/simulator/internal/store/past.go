package store

import (
	"slices"
	"time"
)

// grace is how much longer than Keep says versions are kept, for reads that take their time.
const grace = 10 * time.Second

// version is what a record was until a change.
type version[T any] struct {
	until  time.Time
	id     string
	before *record[T] // nil: there was none
}

// Keep makes the tables remember what their records were for that long, so that At can be asked. It is never lowered,
// and what was forgotten before stays forgotten: At then answers with the oldest state that is known. Nothing is
// remembered over a restart.
func (s *Store) Keep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = max(s.keep, d)
}

// At returns the table as it was at a moment, for reading only.
func (t *Table[T]) At(moment time.Time) *Table[T] {
	return &Table[T]{name: t.name, store: t.store, of: t, moment: moment}
}

// remember notes what a record is before a transaction changes it. The caller holds the store's lock.
func (t *Table[T]) remember(tx *Tx, id string) {
	if t.store.keep == 0 || tx.old {
		return
	}
	now := tx.applied
	oldest := now.Add(-t.store.keep - grace)
	past := 0
	for past < len(t.history) && t.history[past].until.Before(oldest) {
		t.history[past] = version[T]{}
		past++
	}
	t.history = append(t.history[past:], version[T]{until: now, id: id, before: t.rows[id]})
}

// undone returns, by ID, what the records that changed after a moment were at it. The caller holds the store's lock.
func (t *Table[T]) undone(moment time.Time) map[string]*record[T] {
	first, _ := slices.BinarySearchFunc(t.history, moment, func(v version[T], m time.Time) int {
		if v.until.After(m) {
			return 1
		}
		return -1
	})
	before := map[string]*record[T]{}
	for _, v := range t.history[first:] {
		if _, known := before[v.id]; !known {
			before[v.id] = v.before
		}
	}
	return before
}

// row returns a record, nil for none. The caller holds the store's lock.
func (t *Table[T]) row(id string) *record[T] {
	if t.of == nil {
		return t.rows[id]
	}
	if before, changed := t.of.undone(t.moment)[id]; changed {
		return before
	}
	return t.of.rows[id]
}

// inOrder returns all records in their order. The caller holds the store's lock.
func (t *Table[T]) inOrder() []*record[T] {
	if t.of == nil {
		return slices.Clone(t.order)
	}
	before := t.of.undone(t.moment)
	rows := make([]*record[T], 0, len(t.of.order))
	for _, r := range t.of.order {
		if _, changed := before[r.id]; !changed {
			rows = append(rows, r)
		}
	}
	for _, r := range before {
		if r != nil {
			i, _ := slices.BinarySearchFunc(rows, r, compare[T])
			rows = slices.Insert(rows, i, r)
		}
	}
	return rows
}
