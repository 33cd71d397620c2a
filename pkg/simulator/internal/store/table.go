package store

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"time"
)

// Table is one kind of records by ID. Records are values: who changes one puts a new one, and never writes into a slice
// or map of a record that it got.
//
// Records that tell their Sequence are also kept in its order, so that a list of many needs no sorting, and reading one
// copies no record that is not looked at.
type Table[T any] struct {
	name  string
	store *Store
	rows  map[string]*record[T]
	order []*record[T]
	// past is what the records were before they changed; Store.Keep says for how long.
	past past[T]
	// of is the table that this one shows as it was at moment; nil for a table with rows of its own.
	of     *Table[T]
	moment time.Time
}

// record is one of a table; it is replaced and never changed.
type record[T any] struct {
	id    string
	seq   int64
	value T
}

func newRecord[T any](id string, value T) *record[T] {
	r := &record[T]{id: id, value: value}
	if s, ok := any(value).(sequenced); ok {
		r.seq = s.Sequence()
	}
	return r
}

// sequenced is a record with a number that orders it among others. Two may have the same.
type sequenced interface{ Sequence() int64 }

// NewTable makes an empty table; Open fills it.
func NewTable[T any](name string) *Table[T] {
	return &Table[T]{name: name, rows: map[string]*record[T]{}}
}

func (t *Table[T]) bucket() string { return t.name }
func (t *Table[T]) bind(s *Store)  { t.store = s }

func (t *Table[T]) load(id string, raw []byte) error {
	var value T
	if err := json.Unmarshal(raw, &value); err != nil {
		return err
	}
	r := newRecord(id, value)
	t.rows[id] = r
	t.order = append(t.order, r)
	return nil
}

// loaded ends loading.
func (t *Table[T]) loaded() { slices.SortFunc(t.order, compare[T]) }

// fill takes over the rows of a table of the same kind.
func (t *Table[T]) fill(from Kind) {
	if same, ok := from.(*Table[T]); ok {
		t.rows, t.order = maps.Clone(same.rows), slices.Clone(same.order)
	}
}

func compare[T any](a, b *record[T]) int {
	return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.id, b.id))
}

func (t *Table[T]) put(r *record[T]) {
	old := t.rows[r.id]
	if old != nil && compare(old, r) != 0 {
		t.drop(r.id)
		old = nil
	}
	i, _ := slices.BinarySearchFunc(t.order, r, compare[T])
	if old != nil {
		t.order[i] = r
	} else {
		t.order = slices.Insert(t.order, i, r)
	}
	t.rows[r.id] = r
}

func (t *Table[T]) drop(id string) {
	old := t.rows[id]
	if old == nil {
		return
	}
	delete(t.rows, id)
	if i, ok := slices.BinarySearchFunc(t.order, old, compare[T]); ok {
		t.order = slices.Delete(t.order, i, i+1)
	}
}

// Get returns the record as of the last finished transaction.
func (t *Table[T]) Get(id string) (T, bool) {
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	if r := t.row(id); r != nil {
		return r.value, true
	}
	var none T
	return none, false
}

// All returns the records by ID, in their order, as of the last finished transaction before the call.
func (t *Table[T]) All() iter.Seq2[string, T] {
	rows := t.now()
	return func(yield func(string, T) bool) {
		for _, r := range rows {
			if !yield(r.id, r.value) {
				return
			}
		}
	}
}

func (t *Table[T]) now() []*record[T] {
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	return t.inOrder()
}

// Len counts the records.
func (t *Table[T]) Len() int {
	if t.of != nil {
		return len(t.now())
	}
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	return len(t.rows)
}

// GetIn returns the record with the transaction's own changes.
func (t *Table[T]) GetIn(tx *Tx, id string) (T, bool) {
	if o, ok := tx.staged[t.name][id]; ok {
		value, ok := o.value.(T)
		return value, ok
	}
	return t.Get(id)
}

// AllIn returns the records by ID with the transaction's own changes; those that it added come last.
func (t *Table[T]) AllIn(tx *Tx) iter.Seq2[string, T] {
	rows, changes := t.now(), maps.Clone(tx.staged[t.name])
	return func(yield func(string, T) bool) {
		staged := maps.Clone(changes)
		for _, r := range rows {
			value, exists := r.value, true
			if o, changed := staged[r.id]; changed {
				delete(staged, r.id)
				value, exists = o.value.(T)
			}
			if exists && !yield(r.id, value) {
				return
			}
		}
		for _, id := range slices.Sorted(maps.Keys(staged)) {
			if value, exists := staged[id].value.(T); exists && !yield(id, value) {
				return
			}
		}
	}
}

// LenIn counts the records with the transaction's own changes.
func (t *Table[T]) LenIn(tx *Tx) int {
	n := 0
	for range t.AllIn(tx) {
		n++
	}
	return n
}

// Put adds or replaces a record.
func (t *Table[T]) Put(tx *Tx, id string, value T) {
	tx.stage(op{bucket: t.name, id: id, value: value, apply: func() { t.remember(tx, id); t.put(newRecord(id, value)) }})
}

// Delete removes a record; a missing one is not an error.
func (t *Table[T]) Delete(tx *Tx, id string) {
	tx.stage(op{bucket: t.name, id: id, apply: func() { t.remember(tx, id); t.drop(id) }})
}
