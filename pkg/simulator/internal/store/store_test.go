package store

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
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
			if got, ok := rows.GetIn(tx, "a"); !ok || got.Name != "1" || rows.LenIn(tx) != 2 {
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
			if _, ok := rows.GetIn(tx, "a"); ok || rows.LenIn(tx) != 1 {
				t.Errorf("a transaction sees what it deleted")
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("error %v", err)
		}
		if got, _ := rows.Get("b"); rows.Len() != 2 || got.Name != "2" {
			t.Errorf("a failed transaction changed something: %v", maps.Collect(rows.All()))
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

// TestDamagedState cuts the file off at every page, and overwrites every page: that is said, nothing panics, and the file
// is not kept open.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	s, rows := open(t, dir)
	err := s.Update(func(tx *Tx) error {
		for i := range 500 {
			rows.Put(tx, strconv.Itoa(i), row{strings.Repeat("x", 100+i)})
		}
		rows.Put(tx, "large", row{strings.Repeat("y", 64<<10)}) // over several pages
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, text []byte) (damaged bool) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		rows := NewTable[row]("rows")
		for range 2 { // the second would wait for a lock that the first did not give back
			s, err := Open(dir, rows)
			switch {
			case err == nil:
				if n := rows.Len(); n != 501 {
					t.Errorf("%s: %d records and no error", what, n)
				}
				if err := s.Close(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				return false
			case !strings.Contains(err.Error(), fileName) || strings.Contains(err.Error(), "another process"):
				t.Errorf("%s: %v", what, err)
			}
		}
		return true
	}
	const page = 4096
	cut, overwritten := 0, 0
	for at := page / 2; at < len(whole); at += page / 2 {
		if try(fmt.Sprint("cut off at ", at), whole[:at]) {
			cut++
		}
	}
	for at := 2 * page; at < len(whole); at += page {
		text := append([]byte(nil), whole...)
		for i := at; i < at+page; i++ {
			text[i] ^= 0x55
		}
		if try(fmt.Sprint("overwritten at ", at), text) {
			overwritten++
		}
	}
	if cut < 10 || overwritten < 10 {
		t.Errorf("%d and %d damages were found", cut, overwritten)
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

type numbered struct {
	Seq  int64 `json:"seq"`
	Name string
}

func (n numbered) Sequence() int64 { return n.Seq }

// TestOrder compares a table after many random changes with one that is sorted again, also after it was read again and
// in a fork.
func TestOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	rows := NewTable[numbered]("rows")
	s, err := Open(dir, rows)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]numbered{}
	compare := func(what string, got iter.Seq2[string, numbered], length int) {
		t.Helper()
		var last numbered
		n := 0
		for id, r := range got {
			if r != want[id] || r.Seq < last.Seq {
				t.Fatalf("%s: %s is %+v, want %+v, after %+v", what, id, r, want[id], last)
			}
			last = r
			n++
		}
		if n != len(want) || length != len(want) {
			t.Fatalf("%s: %d records, counted %d, want %d", what, n, length, len(want))
		}
	}
	for range 100 {
		err := s.Update(func(tx *Tx) error {
			for range 1 + random.IntN(5) {
				id := strconv.Itoa(random.IntN(40))
				if random.IntN(3) == 0 {
					rows.Delete(tx, id)
					delete(want, id)
				} else {
					r := numbered{Seq: random.Int64N(30), Name: id}
					rows.Put(tx, id, r)
					want[id] = r
				}
			}
			if rows.LenIn(tx) != len(want) {
				t.Fatalf("%d records in the transaction, want %d", rows.LenIn(tx), len(want))
			}
			for id, r := range rows.AllIn(tx) {
				if r != want[id] {
					t.Fatalf("in the transaction %s is %+v, want %+v", id, r, want[id])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		compare("now", rows.All(), rows.Len())
	}
	forked := NewTable[numbered]("rows")
	s.Fork(forked)
	again := NewTable[numbered]("rows")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, again); err != nil {
		t.Fatal(err)
	}
	compare("read again", again.All(), again.Len())
	compare("forked", forked.All(), forked.Len())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
