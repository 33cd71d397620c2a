package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// ordered returns the records of a table in its order, and checks that Get and Len say the same.
func ordered(t *testing.T, rows *Table[numbered]) []numbered {
	t.Helper()
	var all []numbered
	for id, r := range rows.All() {
		if got, ok := rows.Get(id); !ok || got != r {
			t.Errorf("Get(%s) returns %+v, %v, All %+v", id, got, ok, r)
		}
		all = append(all, r)
	}
	if rows.Len() != len(all) {
		t.Errorf("Len is %d, All has %d", rows.Len(), len(all))
	}
	return all
}

// TestPast compares a table as it was at many moments with what it really was then.
func TestPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		rows := NewTable[numbered]("rows")
		s, err := Open("", rows)
		if err != nil {
			t.Fatal(err)
		}
		s.Keep(time.Minute)
		was := map[time.Time][]numbered{}
		for range 200 {
			err := s.Update(func(tx *Tx) error {
				for range random.IntN(4) {
					id := strconv.Itoa(random.IntN(20))
					if random.IntN(3) == 0 {
						rows.Delete(tx, id)
					} else {
						rows.Put(tx, id, numbered{Seq: random.Int64N(30), Name: id})
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			was[now] = ordered(t, rows)
			for moment, want := range was {
				if now.Sub(moment) > time.Minute {
					delete(was, moment)
				} else if got := ordered(t, rows.At(moment)); !slices.Equal(got, want) {
					t.Fatalf("%s ago there were %v, At says %v", now.Sub(moment), want, got)
				}
			}
			time.Sleep(time.Duration(random.IntN(3)) * time.Second) // of the bubble
		}
		if n, _ := kept(rows, ""); n > 3*2*62 {
			t.Errorf("%d versions of about a minute are kept", n)
		}
	})
}

// changed returns a function that puts records in one transaction.
func changed[T any](t *testing.T, s *Store, rows *Table[T]) func(value T, old bool, ids ...string) {
	return func(value T, old bool, ids ...string) {
		t.Helper()
		err := s.Update(func(tx *Tx) error {
			for _, id := range ids {
				rows.Put(tx, id, value)
			}
			if old {
				tx.Old()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// kept returns how many versions, or records with some, a table keeps, for all records or for one of them, and how many
// it has room for.
func kept[T any](rows *Table[T], id string) (versions, room int) {
	rows.store.mu.RLock()
	defer rows.store.mu.RUnlock()
	return max(len(rows.past.all), len(rows.past.of), len(rows.past.of[id])), max(cap(rows.past.all), cap(rows.past.of[id]))
}

// TestThePastPasses: of 10,000 records that all changed nothing is kept when the time is up, though no change follows,
// and of records that change for ever only what can still be asked for.
func TestThePastPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rows := open(t, "")
		put := changed(t, s, rows)
		s.Keep(time.Second)
		ids := make([]string, 10_000)
		for i := range ids {
			ids[i] = strconv.Itoa(i)
		}
		put(row{"a"}, false, ids...)
		time.Sleep(time.Second) // of the bubble
		put(row{"b"}, false, ids...)
		if got := maps.Collect(rows.At(time.Now().Add(-time.Nanosecond)).All()); len(got) != len(ids) || got["77"].Name != "a" {
			t.Errorf("before the change there were %d records, one of them %v", len(got), got["77"])
		}
		time.Sleep(2 * (time.Second + grace))
		if n, room := kept(rows, "77"); n != 0 || room != 0 {
			t.Errorf("%d versions are kept, with room for %d", n, room)
		}
		put(row{"c"}, false, ids...)
		time.Sleep(time.Second + grace + time.Millisecond)
		put(row{"d"}, false, "1")
		time.Sleep(time.Second + grace)
		if n, room := kept(rows, "1"); n != 1 || room > 100 {
			t.Errorf("%d versions are kept, with room for %d, want that of the last change", n, room)
		}
		for i := range 15_000 { // records come and go
			id := fmt.Sprint("new-", i)
			put(row{"e"}, false, "1", id)
			time.Sleep(time.Millisecond)
			if n, _ := kept(rows, "1"); n > 2*2*3_000+2 {
				t.Fatalf("%d versions of 1 s, and 2 s more, are kept: two came each millisecond", n)
			}
		}
		if _, room := kept(rows, "1"); room > 4*12_000 {
			t.Errorf("there is room for %d versions", room)
		}
	})
}

// TestKeepIsLowered: what was kept for an hour goes when an hour is not asked for any more.
func TestKeepIsLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rows := open(t, "")
		put := changed(t, s, rows)
		s.Keep(time.Hour)
		put(row{"1"}, false, "a")
		time.Sleep(time.Minute) // of the bubble
		put(row{"2"}, false, "a")
		s.Keep(time.Second)
		if n, _ := kept(rows, "a"); n != 1 {
			t.Errorf("%d versions are kept, want that of now", n)
		}
		if got, _ := rows.At(time.Now().Add(-time.Second)).Get("a"); got.Name != "1" {
			t.Errorf("a second ago it was %v", got)
		}
		time.Sleep(time.Minute)
		if n, _ := kept(rows, "a"); n != 0 || s.forgetting != nil {
			t.Errorf("%d versions are kept a minute later, the timer is %v", n, s.forgetting)
		}
		put(row{"3"}, false, "a")
		s.Keep(0)
		put(row{"4"}, false, "a")
		if n, _ := kept(rows, "a"); n != 0 || s.forgetting != nil {
			t.Errorf("%d versions are kept for nobody, the timer is %v", n, s.forgetting)
		}
	})
}

// TestNothingIsOlderThanTheStart: a store that is opened again shows what it was closed with, whatever is asked for.
func TestNothingIsOlderThanTheStart(t *testing.T) {
	dir := t.TempDir()
	s, rows := open(t, dir)
	s.Keep(time.Hour)
	put := changed(t, s, rows)
	put(row{"1"}, false, "a")
	put(row{"2"}, false, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, rows := open(t, dir)
	again.Keep(time.Hour)
	if got, _ := rows.At(time.Now().Add(-time.Hour)).Get("a"); got.Name != "2" {
		t.Errorf("an hour ago, before the start, it was %v", got)
	}
	changed(t, again, rows)(row{"3"}, false, "a")
	if got, _ := rows.At(time.Now().Add(-time.Hour)).Get("a"); got.Name != "2" {
		t.Errorf("after a change the hour before the start has %v", got)
	}
}

// TestNoPast: nothing is kept for tables that nobody asks for their past, or of changes that are to be old.
func TestNoPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rows := open(t, "")
		put := changed(t, s, rows)
		put(row{"a"}, false, "a")
		began := time.Now()
		time.Sleep(time.Second) // of the bubble
		s.Keep(time.Hour)
		put(row{"b"}, true, "b")
		put(row{"c"}, false, "c")
		if got := maps.Collect(rows.At(began).All()); len(rows.past.all) != 1 || len(got) != 2 || got["c"].Name != "" {
			t.Errorf("versions %v, at the beginning there was %v", rows.past.all, got)
		}
	})
}
