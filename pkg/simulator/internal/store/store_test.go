package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type row struct{ Name string }

func open(t *testing.T, dir string) (*Store, *Table[row]) {
	t.Helper()
	rows := NewTable[row]("rows")
	s, err := Open(dir, rows)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, rows
}

func TestChangesAreAllOrNothing(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		s, rows := open(t, dir)
		put := func(tx *Tx) error {
			rows.Put(tx, "a", row{"1"})
			rows.Put(tx, "b", row{"2"})
			if _, ok := rows.Get("a"); ok {
				t.Errorf("a reader sees what is not committed")
			}
			if got, ok := rows.GetIn(tx, "a"); !ok || got.Name != "1" || len(rows.AllIn(tx)) != 2 {
				t.Errorf("a transaction does not see its own changes")
			}
			return nil
		}
		if err := s.Update(put); err != nil {
			t.Fatal(err)
		}
		failed := errors.New("no")
		err := s.Update(func(tx *Tx) error {
			rows.Delete(tx, "a")
			rows.Put(tx, "b", row{"3"})
			if _, ok := rows.GetIn(tx, "a"); ok || len(rows.AllIn(tx)) != 1 {
				t.Errorf("a transaction sees what it deleted")
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("error %v", err)
		}
		if got, _ := rows.Get("b"); rows.Len() != 2 || got.Name != "2" {
			t.Errorf("a failed transaction changed something: %v", rows.All())
		}
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s, rows := open(t, dir)
	err := s.Update(func(tx *Tx) error {
		for i := range 100 {
			rows.Put(tx, fmt.Sprint(i), row{fmt.Sprint(i)})
		}
		rows.Delete(tx, "7")
		rows.Delete(tx, "never there")
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(func(tx *Tx) error { rows.Put(tx, "late", row{}); return nil }); err == nil {
		t.Error("a closed store takes changes")
	}
	_, again := open(t, dir)
	if got, ok := again.Get("42"); again.Len() != 99 || !ok || got.Name != "42" {
		t.Errorf("%d rows, 42 = %v", again.Len(), got)
	}
}

func TestUnreadableState(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("this is no database, but it is long enough to be looked at"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), fileName) {
		t.Errorf("error %v does not name the file", err)
	}
	if _, err := Open(filepath.Join(dir, fileName)); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("error %v", err)
	}
	other := t.TempDir()
	s, rows := open(t, other)
	if err := errors.Join(s.Update(func(tx *Tx) error { rows.Put(tx, "a", row{"text"}); return nil }), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(other, NewTable[int]("rows")); err == nil || !strings.Contains(err.Error(), `rows "a"`) {
		t.Errorf("error %v does not name the row", err)
	}
}

// The cost of one change must not depend on how much there is: here, in bytes that are written.
func TestAChangeCostsTheSameInALargeState(t *testing.T) {
	dir := t.TempDir()
	s, rows := open(t, dir)
	written := func() int64 { stats := s.db.Stats(); return stats.TxStats.GetWrite() }
	pages := func() int64 {
		before := written()
		if err := s.Update(func(tx *Tx) error { rows.Put(tx, "one", row{"x"}); return nil }); err != nil {
			t.Fatal(err)
		}
		return written() - before
	}
	small := pages()
	err := s.Update(func(tx *Tx) error {
		for i := range 5000 {
			rows.Put(tx, fmt.Sprint("row-", i), row{strings.Repeat("x", 100)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	pages() // the free pages of the large change
	if large := pages(); large > 3*small+10 {
		t.Errorf("a change writes %d pages in a large state, %d in an empty one", large, small)
	}
}
