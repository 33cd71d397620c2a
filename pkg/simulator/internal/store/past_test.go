package store

import (
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
		if n := len(rows.history); n > 4*(60+10) {
			t.Errorf("%d versions of about a minute are kept", n)
		}
	})
}

// TestNoPast: nothing is kept for tables that nobody asks for their past, or of changes that are to be old.
func TestNoPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rows := open(t, "")
		put := func(id string, old bool) {
			err := s.Update(func(tx *Tx) error {
				rows.Put(tx, id, row{id})
				if old {
					tx.Old()
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		put("a", false)
		began := time.Now()
		time.Sleep(time.Second) // of the bubble
		s.Keep(time.Hour)
		s.Keep(time.Minute)
		put("b", true)
		put("c", false)
		if got := maps.Collect(rows.At(began).All()); len(rows.history) != 1 || len(got) != 2 || got["c"].Name != "" {
			t.Errorf("history %v, at the beginning there was %v", rows.history, got)
		}
		if s.keep != time.Hour {
			t.Errorf("it is kept for %s", s.keep)
		}
	})
}
