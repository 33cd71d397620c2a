package vultr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// patiently waits for an attachment as a sidecar does: in calls of two minutes, with pauses between them.
func patiently(t *testing.T, c *Client, id string) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		_, err := c.WaitVolume(ctx, "attach", id, attachedTo(idB))
		cancel()
		if err == nil {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // of the fake clock
	}
}

// TestWhatHangsIsLookedAtSeldom: over all the calls that wait for it, and is seen within the interval when it ends.
func TestWhatHangsIsLookedAtSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		ready := time.Now().Add(10 * time.Minute)
		p.attached[idA] = ready
		patiently(t, c, idA)
		late := time.Since(ready)
		t.Logf("%d lists, %v late", p.lists, late)
		if most := int(10*time.Minute/slowestInterval) + 35; p.lists > most {
			t.Errorf("%d lists, want %d at most", p.lists, most)
		}
		if late > slowestInterval {
			t.Errorf("it is seen %v late", late)
		}
	})
}

// TestWhatIsSlowIsLookedAtAsEver: reads may lag by half a minute, and nothing hangs then.
func TestWhatIsSlowIsLookedAtAsEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		ready := time.Now().Add(33 * time.Second)
		p.attached[idA] = ready
		if _, err := c.WaitVolume(t.Context(), "attach", idA, attachedTo(idB)); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(ready); late > lastInterval {
			t.Errorf("it is seen %v late", late)
		}
	})
}

// TestAllThatHangsSharesItsLists: however many volumes hang, and whenever they began to.
func TestAllThatHangsSharesItsLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		c := (&cloud{answer: p.answer}).client(t)
		start := time.Now()
		ctx, cancel := context.WithDeadline(t.Context(), start.Add(6*time.Minute))
		defer cancel()
		var wg sync.WaitGroup
		for i := range 20 {
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
			p.mu.Lock()
			p.attached[id] = start.Add(time.Hour)
			p.mu.Unlock()
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 700 * time.Millisecond) // of the fake clock
				if _, err := c.WaitVolume(ctx, "attach", id, attachedTo(idB)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(5 * time.Minute) // of the fake clock
		p.mu.Lock()
		before := p.lists
		p.mu.Unlock()
		wg.Wait()
		if n := p.lists - before; n == 0 || n > int(time.Minute/slowestInterval)+1 {
			t.Errorf("%d lists in a minute", n)
		}
	})
}

// TestAnotherWaitIsNotOverdue: one that begins after the one before has come to its end, or was given up long ago or before it
// was overdue, is looked at as any other.
func TestAnotherWaitIsNotOverdue(t *testing.T) {
	for name, c := range map[string]struct {
		// ends is when the one before comes to its end, and patience for how long it is waited for.
		ends, patience time.Duration
		pause, takes   time.Duration
		atMost         time.Duration
	}{
		// Half a minute is what an operation counts as taking then, and the first look comes after that.
		"it ended":        {100 * time.Second, time.Hour, 3 * time.Second, 31 * time.Second, 32500 * time.Millisecond},
		"it was given up": {time.Hour, 100 * time.Second, sameWait + time.Second, 10 * time.Second, 12500 * time.Millisecond},
		"it did not hang": {time.Hour, 33 * time.Second, 0, 10 * time.Second, 10500 * time.Millisecond},
		"there was none":  {0, time.Hour, 0, 10 * time.Second, 12500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform()
				client := (&cloud{answer: p.answer}).client(t)
				if c.ends > 0 {
					p.attached[idA] = time.Now().Add(c.ends)
					ctx, cancel := context.WithTimeout(t.Context(), c.patience)
					defer cancel()
					if _, err := client.WaitVolume(ctx, "attach", idA, attachedTo(idB)); (err == nil) != (c.ends < c.patience) {
						t.Fatal(err)
					}
				}
				time.Sleep(c.pause) // of the fake clock
				began := time.Now()
				p.attached[idA] = began.Add(c.takes)
				if _, err := client.WaitVolume(t.Context(), "attach", idA, attachedTo(idB)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > c.atMost {
					t.Errorf("it took %v", took)
				}
				if n := len(client.overdue.waits); n != 0 {
					t.Errorf("%d waits are remembered", n)
				}
			})
		})
	}
}

// TestAnotherOrderIsNotOverdue: an order that is accepted is looked at as any other, whatever hung before it.
func TestAnotherOrderIsNotOverdue(t *testing.T) {
	for name, order := range map[string]func(ctx context.Context, c *Client) error{
		"attach": func(ctx context.Context, c *Client) error { return c.AttachVolume(ctx, idA, idB) },
		"detach": func(ctx context.Context, c *Client) error { return c.DetachVolume(ctx, idA) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform()
				c := (&cloud{answer: p.answer}).client(t)
				p.attached[idA] = time.Now().Add(time.Hour)
				p.fail = func(r *http.Request) *http.Response {
					if r.Method == http.MethodPost { // it takes every order
						return reply(http.StatusNoContent, nil)
					}
					return nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
				defer cancel()
				if _, err := c.WaitVolume(ctx, name, idA, attachedTo(idB)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				if err := order(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				p.attached[idA] = began.Add(10 * time.Second)
				if _, err := c.WaitVolume(t.Context(), name, idA, attachedTo(idB)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 10500*time.Millisecond {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
