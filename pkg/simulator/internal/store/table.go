package store

import (
	"encoding/json"
	"maps"
)

// Table is one kind of records by ID. Records are values: who changes one puts a new one, and never writes into a slice
// or map of a record that it got.
type Table[T any] struct {
	name  string
	store *Store
	rows  map[string]T
}

// NewTable makes an empty table; Open fills it.
func NewTable[T any](name string) *Table[T] {
	return &Table[T]{name: name, rows: map[string]T{}}
}

func (t *Table[T]) bucket() string { return t.name }
func (t *Table[T]) bind(s *Store)  { t.store = s }

func (t *Table[T]) load(id string, raw []byte) error {
	var row T
	if err := json.Unmarshal(raw, &row); err != nil {
		return err
	}
	t.rows[id] = row
	return nil
}

// fill takes over the rows of a table of the same kind.
func (t *Table[T]) fill(from Kind) {
	if same, ok := from.(*Table[T]); ok {
		t.rows = maps.Clone(same.rows)
	}
}

// Get gives the record as of the last finished transaction.
func (t *Table[T]) Get(id string) (T, bool) {
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	row, ok := t.rows[id]
	return row, ok
}

// All gives a copy of the table as of the last finished transaction.
func (t *Table[T]) All() map[string]T {
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	return maps.Clone(t.rows)
}

// Len counts the records.
func (t *Table[T]) Len() int {
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	return len(t.rows)
}

// GetIn gives the record with the transaction's own changes.
func (t *Table[T]) GetIn(tx *Tx, id string) (T, bool) {
	if o, ok := tx.staged[t.name][id]; ok {
		row, ok := o.value.(T)
		return row, ok
	}
	return t.Get(id)
}

// AllIn gives a copy of the table with the transaction's own changes.
func (t *Table[T]) AllIn(tx *Tx) map[string]T {
	rows := t.All()
	for id, o := range tx.staged[t.name] {
		if row, ok := o.value.(T); ok {
			rows[id] = row
		} else {
			delete(rows, id)
		}
	}
	return rows
}

// Put adds or replaces a record.
func (t *Table[T]) Put(tx *Tx, id string, row T) {
	tx.stage(op{bucket: t.name, id: id, value: row, apply: func() { t.rows[id] = row }})
}

// Delete removes a record; a missing one is no error.
func (t *Table[T]) Delete(tx *Tx, id string) {
	tx.stage(op{bucket: t.name, id: id, apply: func() { delete(t.rows, id) }})
}
