package vultr

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// source is a list that shows the version it had when it began.
type source struct {
	version atomic.Int64
	running atomic.Int64
	starts  []time.Time
	ended   atomic.Int64 // by their context
	takes   func() time.Duration
	fails   func() bool
}

var errSource = errors.New("the list failed")

func (s *source) fetch(t *testing.T) func(ctx context.Context) ([]int64, error) {
	t.Helper()
	return func(ctx context.Context) ([]int64, error) {
		if s.running.Add(1) > 1 {
			t.Error("two lists at once")
		}
		defer s.running.Add(-1)
		s.starts = append(s.starts, time.Now())
		version := s.version.Load()
		timer := time.NewTimer(s.takes())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			s.ended.Add(1)
			return nil, ctx.Err()
		}
		if s.fails != nil && s.fails() {
			return nil, errSource
		}
		return []int64{version}, nil
	}
}

func fixed(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func TestReadersOfOneMomentShareOneList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{takes: fixed(time.Second)}
		s := newShared(src.fetch(t), listSpacing, func(string) {})
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				if _, err := s.fresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(src.starts) != 1 {
			t.Errorf("%d lists", len(src.starts))
		}
	})
}

func TestWhoComesWhileAListRunsGetsTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{takes: fixed(time.Second)}
		s := newShared(src.fetch(t), listSpacing, func(string) {})
		var wg sync.WaitGroup
		wg.Go(func() {
			if l, err := s.fresh(t.Context()); err != nil || l.Items[0] != 0 {
				t.Errorf("the first reader got %v, %v", l, err)
			}
		})
		time.Sleep(500 * time.Millisecond) // fake time
		src.version.Add(1)
		for range 10 {
			wg.Go(func() {
				asked := time.Now()
				if l, err := s.fresh(t.Context()); err != nil || l.Items[0] != 1 || l.Began.Before(asked) {
					t.Errorf("a later reader got %v, %v", l, err)
				}
			})
		}
		// Who accepts what is running joins it.
		wg.Go(func() {
			if l, err := s.since(t.Context(), time.Now().Add(-time.Second)); err != nil || l.Items[0] != 0 {
				t.Errorf("a reader who accepts a second of age got %v, %v", l, err)
			}
		})
		wg.Wait()
		if len(src.starts) != 2 {
			t.Errorf("%d lists", len(src.starts))
		}
		if l, err := s.within(t.Context(), time.Minute); err != nil || l.Items[0] != 1 || len(src.starts) != 2 {
			t.Errorf("cached: %v, %v", l, err)
		}
		time.Sleep(time.Minute) // fake time
		if _, err := s.within(t.Context(), time.Minute); err != nil || len(src.starts) != 3 {
			t.Errorf("after a minute: %d lists, %v", len(src.starts), err)
		}
	})
}

func TestAReaderWhoLeavesDoesNotEndTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{takes: fixed(10 * time.Second)}
		s := newShared(src.fetch(t), listSpacing, func(string) {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.fresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
		wg.Go(func() {
			if _, err := s.fresh(t.Context()); err != nil {
				t.Errorf("the one who stayed got %v", err)
			}
		})
		wg.Wait()
		if src.ended.Load() != 0 {
			t.Error("the list was ended")
		}
	})
}

func TestTheLastWhoLeavesEndsTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{takes: fixed(time.Hour)}
		s := newShared(src.fetch(t), listSpacing, func(string) {})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := s.fresh(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(time.Second) // fake time
		// These wait for the next list, which now is not needed either.
		wg.Go(func() { _, _ = s.fresh(ctx) })
		synctest.Wait()
		cancel()
		wg.Wait()
		synctest.Wait()
		if src.ended.Load() != 1 || src.running.Load() != 0 || len(src.starts) != 1 {
			t.Errorf("%d lists, %d ended, %d running", len(src.starts), src.ended.Load(), src.running.Load())
		}
		src.takes = fixed(0)
		if _, err := s.fresh(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestNobodyJoinsAListThatWasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		s := newShared(func(ctx context.Context) ([]int, error) {
			lists++
			time.Sleep(10 * time.Second) // it takes its time to end
			return []int{lists}, ctx.Err()
		}, listSpacing, func(string) {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.fresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if l, err := s.within(t.Context(), time.Minute); err != nil || lists != 2 {
			t.Errorf("got %v, %v after %d lists", l, err, lists)
		}
	})
}

func TestAFailedListIsNobodysAnswerLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := true
		src := &source{takes: fixed(time.Second), fails: func() bool { return failing }}
		s := newShared(src.fetch(t), listSpacing, func(string) {})
		if _, err := s.within(t.Context(), time.Hour); !errors.Is(err, errSource) {
			t.Errorf("got %v", err)
		}
		failing = false
		if l, err := s.within(t.Context(), time.Hour); err != nil || len(l.Items) != 1 {
			t.Errorf("got %v, %v", l, err)
		}
	})
}

// TestSharedReadsAgainstTheirModel lets readers come and go at random. Each writes before it reads: what it then reads
// must hold that write.
func TestSharedReadsAgainstTheirModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { modelRun(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func modelRun(t *testing.T, r *rand.Rand) {
	t.Helper()
	var mu sync.Mutex // for r
	random := func(d time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(r.Int64N(int64(d)))
	}
	src := &source{
		takes: func() time.Duration { return random(2 * time.Second) },
		fails: func() bool { return random(10) == 0 },
	}
	s := newShared(src.fetch(t), listSpacing, func(string) {})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			time.Sleep(random(30 * time.Second)) // fake time
			ctx, cancel := context.WithTimeout(t.Context(), random(5*time.Second))
			defer cancel()
			modelReader(ctx, t, s, src, random)
		})
	}
	wg.Wait()
	synctest.Wait()
	if s.running != nil || s.next != nil || src.running.Load() != 0 {
		t.Error("a list runs or waits for nobody")
	}
	for i := 1; i < len(src.starts); i++ {
		if d := src.starts[i].Sub(src.starts[i-1]); d < listSpacing {
			t.Errorf("two lists within %v", d)
		}
	}
}

func modelReader(ctx context.Context, t *testing.T, s *shared[int64], src *source, random func(time.Duration) time.Duration) {
	t.Helper()
	mine := src.version.Add(1)
	asked := time.Now()
	age := time.Duration(0)
	if random(3) == 0 {
		age = 1 + random(3*time.Second)
	}
	list, err := s.within(ctx, age)
	switch {
	case errors.Is(err, errSource):
	case err != nil && (!errors.Is(err, context.DeadlineExceeded) || ctx.Err() == nil):
		t.Errorf("got %v, own context %v", err, ctx.Err())
	case err == nil && list.Began.Before(asked.Add(-age)):
		t.Errorf("a list of %v before the reader, who accepts %v", asked.Sub(list.Began), age)
	case err == nil && age == 0 && list.Items[0] < mine:
		t.Errorf("a reader wrote %d and read %d", mine, list.Items[0])
	}
}
