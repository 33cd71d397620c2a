package vultr

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// lateList shows its only object from a time on.
func lateList(shown time.Time, looks *int) func(context.Context) (List[string], error) {
	return func(context.Context) (List[string], error) {
		*looks++
		list := List[string]{Items: []string{"other"}, Began: time.Now()}
		if !list.Began.Before(shown) {
			list.Items = append(list.Items, "mine", "mine")
		}
		return list, nil
	}
}

func isMine(s string) bool { return s == "mine" }

func TestSearchFindsWhatShowsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const settle = 5 * time.Second
		guard := NewAttemptGuard(settle)
		absent := func(began time.Time) error { return guard.Absent("mine", began) }
		never := time.Now().Add(time.Hour)

		looks := 0
		start := time.Now()
		if found, err := (Search[string]{lateList(never, &looks), isMine, absent}).Run(t.Context()); found != nil || err != nil || looks != 1 || time.Since(start) != 0 {
			t.Errorf("nobody tried: %v, %v after %d looks and %v", found, err, looks, time.Since(start))
		}

		guard.AttemptEnded("mine")
		looks, start = 0, time.Now()
		if found, err := (Search[string]{lateList(start.Add(settle), &looks), isMine, absent}).Run(t.Context()); !slices.Equal(found, []string{"mine", "mine"}) || err != nil || looks != 2 {
			t.Errorf("shown late: %v, %v after %d looks", found, err, looks)
		}

		guard.AttemptEnded("mine")
		looks, start = 0, time.Now()
		if found, err := (Search[string]{lateList(never, &looks), isMine, absent}).Run(t.Context()); found != nil || err != nil || time.Since(start) < settle {
			t.Errorf("never made: %v, %v after %v", found, err, time.Since(start))
		}
	})
}

func TestSearchEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := NewAttemptGuard(time.Hour)
		guard.AttemptEnded("mine")
		looks := 0
		search := Search[string]{lateList(time.Now().Add(time.Hour), &looks), isMine, func(began time.Time) error { return guard.Absent("mine", began) }}

		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := search.Run(short); !errors.Is(err, ErrSettling) || time.Since(start) != 0 {
			t.Errorf("a deadline before the proof: %v after %v", err, time.Since(start))
		}

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := search.Run(ctx); !errors.Is(err, ErrSettling) || time.Since(start) != time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(start))
		}

		search.List = func(context.Context) (List[string], error) { return List[string]{}, errSource }
		if _, err := search.Run(t.Context()); !errors.Is(err, errSource) {
			t.Errorf("a failed list: %v", err)
		}

		// A reason that names no time is asked about again after a while.
		search.List = lateList(time.Now().Add(10*time.Second), &looks)
		search.Absent = func(time.Time) error { return errSource }
		if found, err := search.Run(t.Context()); err != nil || len(found) != 2 {
			t.Errorf("found late: %v, %v", found, err)
		}
	})
}
