package vultr

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// platform attaches volumes some time after it was asked to.
type platform struct {
	mu       sync.Mutex
	attached map[string]time.Time
	// unlisted volumes are missing from lists until then.
	unlisted map[string]time.Time
	lists    int
	gets     int
	fail     func(r *http.Request) *http.Response
}

func newPlatform() *platform {
	return &platform{attached: map[string]time.Time{}, unlisted: map[string]time.Time{}}
}

func (p *platform) answer(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		if resp := p.fail(r); resp != nil {
			return resp, nil
		}
	}
	now := time.Now()
	show := func(id string) map[string]any {
		if now.Before(p.attached[id]) {
			return block(id, "active", "")
		}
		return block(id, "active", idB)
	}
	if id, ok := strings.CutPrefix(r.URL.Path, blocksPath+"/"); ok {
		p.gets++
		if _, exists := p.attached[id]; !exists {
			return refusal(404, "Invalid block storage ID."), nil
		}
		return reply(200, map[string]any{"block": show(id)}), nil
	}
	p.lists++
	var list []map[string]any
	for id := range p.attached {
		if !now.Before(p.unlisted[id]) {
			list = append(list, show(id))
		}
	}
	return reply(200, blocks(list...)), nil
}

func attachedTo(instance string) func(Volume) (bool, error) {
	return func(v Volume) (bool, error) { return v.AttachedTo == instance, nil }
}

func TestWaitForOneVolumeTakesOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		start := time.Now()
		p.attached[idA] = start.Add(5 * time.Second) // of which the last one is the lag of reads
		v, err := c.WaitVolume(t.Context(), "attach", idA, attachedTo(idB))
		if err != nil || v.AttachedTo != idB {
			t.Fatalf("got %+v, %v", v, err)
		}
		if took := time.Since(start); p.lists != 1 || took > 5300*time.Millisecond {
			t.Errorf("%d lists, %v", p.lists, took)
		}
	})
}

// TestShortWaitsLook: what is waited for usually takes longer than a caller has time. Each of its calls looks all the same:
// it may have begun long before.
func TestShortWaitsLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		p.attached[idA] = time.Now().Add(25 * time.Second)
		if _, err := c.WaitVolume(t.Context(), "attach", idA, attachedTo(idB)); err != nil { // by which it learns
			t.Fatal(err)
		}
		lists := p.lists
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if v, err := c.WaitVolume(ctx, "attach", idA, attachedTo(idB)); err != nil || v.AttachedTo != idB || p.lists != lists+1 {
			t.Errorf("got %+v, %v, by %d lists", v, err, p.lists-lists)
		}
	})
}

func TestFiveHundredWaitersCostOneListPerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t, func(cfg *Config) { cfg.StartRate, cfg.MaxRate = 10, 20 })
		start := time.Now()
		var late time.Duration
		var wg sync.WaitGroup
		for i := range 500 {
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
			asked := start.Add(rand.N(3 * time.Second))
			ready := asked.Add(2*time.Second + rand.N(20*time.Second))
			p.mu.Lock()
			p.attached[id] = ready
			p.mu.Unlock()
			wg.Go(func() {
				time.Sleep(time.Until(asked)) // fake time
				if _, err := c.WaitVolume(t.Context(), "attach", id, attachedTo(idB)); err != nil {
					t.Error(err)
				}
				p.mu.Lock()
				late += time.Since(ready)
				p.mu.Unlock()
			})
		}
		wg.Wait()
		seconds := time.Since(start).Seconds()
		t.Logf("%d lists in %.1f s, on average %v late", p.lists, seconds, late/500)
		if float64(p.lists) > seconds+2 || p.gets != 0 {
			t.Errorf("%d lists and %d gets in %.1f s", p.lists, p.gets, seconds)
		}
		if late/500 > 2500*time.Millisecond {
			t.Errorf("on average %v late", late/500)
		}
	})
}

func TestWaitForAVolumeThatListsLack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		p.attached[idA] = time.Now().Add(6 * time.Second)
		p.unlisted[idA] = time.Now().Add(time.Minute)
		if _, err := c.WaitVolume(t.Context(), "attach", idA, attachedTo(idB)); err != nil || p.gets == 0 {
			t.Errorf("got %v after %d gets", err, p.gets)
		}
		if _, err := c.WaitVolume(t.Context(), "attach", idB, attachedTo(idB)); !IsNotFound(err) {
			t.Errorf("a volume that does not exist: %v", err)
		}
	})
}

func TestWaitEndsAsItsCheckSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		p.attached[idA] = time.Now()
		wrong := errors.New("attached elsewhere")
		v, err := c.WaitVolume(t.Context(), "attach", idA, func(Volume) (bool, error) { return false, wrong })
		if !errors.Is(err, wrong) || v.ID != idA {
			t.Errorf("got %v, %v", v, err)
		}
	})
}

func TestWaitOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		back := time.Now().Add(time.Minute)
		p.attached[idA] = time.Now()
		p.fail = func(*http.Request) *http.Response {
			if time.Now().Before(back) {
				return refusal(503, "down")
			}
			return nil
		}
		if _, err := c.WaitVolume(t.Context(), "attach", idA, attachedTo(idB)); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		back = time.Now().Add(time.Hour)
		_, err := c.WaitVolume(ctx, "attach", idA, attachedTo(idB))
		if !errors.Is(err, context.DeadlineExceeded) || !hasStatus(err, 0) || !strings.Contains(err.Error(), "503") {
			t.Errorf("got %v: want the deadline and what the API said last", err)
		}
		p.fail = func(*http.Request) *http.Response { return refusal(401, "Invalid API token.") }
		if _, err := c.WaitVolume(t.Context(), "attach", idA, attachedTo(idB)); !IsUnauthorized(err) {
			t.Errorf("a refused key: %v", err)
		}
	})
}

func TestWaitersWhoGiveUpLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		p.attached[idA] = time.Now().Add(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.WaitVolume(ctx, "attach", idA, attachedTo(idB)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		lists := p.lists
		time.Sleep(time.Minute) // fake time
		if p.lists != lists || c.waiting.Load() != 0 {
			t.Errorf("%d lists afterwards, %d waiters", p.lists-lists, c.waiting.Load())
		}
	})
}

func TestTimeScaleStretchesTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t, func(cfg *Config) { cfg.TimeScale = 0.02 })
		start := time.Now()
		p.attached[idA] = start.Add(100 * time.Millisecond)
		if _, err := c.WaitVolume(t.Context(), "attach", idA, attachedTo(idB)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 130*time.Millisecond || p.lists != 1 {
			t.Errorf("%v, %d lists", took, p.lists)
		}
	})
}
