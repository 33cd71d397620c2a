package vultr

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errNo = errors.New("it moved")

// TestPreconditionBeforeEachAttempt: whatever makes a write be sent again, what must hold is asked again first.
func TestPreconditionBeforeEachAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		answers []*http.Response
		call    func(ctx context.Context, c *Client, p Precondition) error
	}{
		"a detach refused for its rate": {
			[]*http.Response{refusal(429, "rate limit exceeded"), refusal(429, "rate limit exceeded"), reply(204, nil)},
			func(ctx context.Context, c *Client, p Precondition) error { return c.DetachVolume(ctx, idA, p) },
		},
		"a delete after a server error": {
			[]*http.Response{refusal(500, "oops"), refusal(503, "oops"), reply(204, nil)},
			func(ctx context.Context, c *Client, p Precondition) error { return c.DeleteVolume(ctx, idA, p) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			for holdsFor := range 4 {
				synctest.Test(t, func(t *testing.T) {
					sent, asked := 0, 0
					net := &cloud{answer: func(*http.Request) (*http.Response, error) {
						sent++
						if sent != asked {
							t.Errorf("attempt %d was sent after the precondition was asked %d times", sent, asked)
						}
						return c.answers[sent-1], nil
					}}
					err := c.call(t.Context(), net.client(t), func(context.Context) error {
						if asked++; asked > holdsFor {
							return errNo
						}
						return nil
					})
					if holdsFor == 3 && (err != nil || sent != 3) {
						t.Errorf("%d requests, %v", sent, err)
					}
					if holdsFor < 3 && (!errors.Is(err, errNo) || sent != holdsFor) {
						t.Errorf("it held for %d attempts: %d requests, %v", holdsFor, sent, err)
					}
				})
			}
		})
	}
}

// TestFailedPreconditionSays: a call that was not sent is no call without an answer, and one that may have taken effect
// before stays one of unknown outcome.
func TestFailedPreconditionSays(t *testing.T) {
	net := &cloud{answer: func(*http.Request) (*http.Response, error) { return refusal(500, "oops"), nil }}
	no := func(context.Context) error { return errNo }
	err := net.client(t).DetachVolume(t.Context(), idA, no)
	if want := "detach block storage " + idA + ": not sent: it moved"; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if IsOutcomeUnknown(err) || IsNotFound(err) {
		t.Errorf("%v: unknown %t, not found %t", err, IsOutcomeUnknown(err), IsNotFound(err))
	}
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		once := func(context.Context) error {
			if asked++; asked > 1 {
				return errNo
			}
			return nil
		}
		err := net.client(t).DeleteVolume(t.Context(), idA, once)
		if !errors.Is(err, errNo) || !IsOutcomeUnknown(err) || !strings.Contains(err.Error(), "500") {
			t.Errorf("after an attempt that may have worked: %v", err)
		}
	})
}

// TestResizeNeverShrinks: somebody else grows the file system while our request waits to be repeated.
func TestResizeNeverShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := 10
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut {
				size = 50 // by somebody else
				return refusal(503, "oops"), nil
			}
			return reply(200, map[string]any{"id": idA, "storage_size": map[string]int{"gb": size}}), nil
		}}
		if err := net.client(t).ResizeFileSystem(t.Context(), idA, 20); err != nil {
			t.Error(err)
		}
		if n := net.count(http.MethodPut, "/v2/vfs/"+idA); n != 1 {
			t.Errorf("%d changes were sent, the second one would shrink it", n)
		}
	})
}

// TestVolumeNow: a lone reader asks for the one volume, many share lists, and what a list lacks is read directly.
func TestVolumeNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second) // of the fake clock: how long an answer takes
			if r.URL.Path == blocksPath {
				return reply(200, map[string]any{"blocks": []any{map[string]any{"id": idA}}}), nil
			}
			return reply(200, map[string]any{"block": map[string]any{"id": strings.TrimPrefix(r.URL.Path, blocksPath+"/")}}), nil
		}}
		c := net.client(t)
		began := time.Now()
		if v, at, err := c.VolumeNow(t.Context(), idA, 0); err != nil || v.ID != idA || at.Before(began) {
			t.Errorf("got %+v as of %s, %v", v, at, err)
		}
		if n := net.count(http.MethodGet, blocksPath); n != 0 {
			t.Errorf("a lone reader took %d lists", n)
		}
		const readers = 50
		done := make(chan error, readers)
		began = time.Now()
		for i := range readers {
			id := idA
			if i == 0 {
				id = idB
			}
			go func() {
				v, at, err := c.VolumeNow(t.Context(), id, 0)
				if v.ID != id || at.Before(began) {
					t.Errorf("asked for %s, got %+v as of %s", id, v, at)
				}
				done <- err
			}()
			synctest.Wait()
		}
		for range readers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		before := len(net.requests())
		if v, _, err := c.VolumeNow(t.Context(), idA, time.Minute); err != nil || v.ID != idA || len(net.requests()) != before {
			t.Errorf("with a list at hand: %+v, %v", v, err)
		}
		time.Sleep(2 * time.Minute)
		if v, _, err := c.VolumeNow(t.Context(), idA, time.Minute); err != nil || v.ID != idA || len(net.requests()) != before+1 {
			t.Errorf("with an old list at hand: %+v, %v", v, err)
		}
		if lists, all := net.count(http.MethodGet, blocksPath), len(net.requests())-1; lists == 0 || all > manyReaders+2 {
			t.Errorf("%d readers took %d requests, %d of them lists", readers, all, lists)
		}
	})
}

// TestWaitListed: only a list that shows the volume ends the wait, and a direct 404 only after the time in which reads
// may lack it.
func TestWaitListed(t *testing.T) {
	for name, c := range map[string]struct {
		shownAfter time.Duration
		gone       bool
	}{"shown late": {20 * time.Second, false}, "gone": {time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
					if r.URL.Path != blocksPath {
						return refusal(404, "Invalid block storage ID."), nil
					}
					blocks := []any{}
					if time.Since(began) >= c.shownAfter {
						blocks = append(blocks, map[string]any{"id": idA, "status": "active"}, map[string]any{"id": idB})
					}
					return reply(200, map[string]any{"blocks": blocks}), nil
				}}
				const missing = time.Minute
				v, list, err := net.client(t).WaitListed(t.Context(), "create", idA, missing, func(v Volume) (bool, error) { return v.Active(), nil })
				took := time.Since(began)
				switch {
				case c.gone && (!IsNotFound(err) || took < missing):
					t.Errorf("after %s: %v", took, err)
				case !c.gone && (err != nil || v.ID != idA || len(list.Items) != 2 || took < c.shownAfter):
					t.Errorf("after %s: %+v, a list of %d, %v", took, v, len(list.Items), err)
				}
			})
		})
	}
}

// TestAllPreconditions: each of several must hold, and none is asked after one that does not.
func TestAllPreconditions(t *testing.T) {
	for failing := range 3 {
		asked, sent := 0, 0
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			sent++
			return reply(204, nil), nil
		}}
		var all []Precondition
		for i := range 3 {
			all = append(all, func(context.Context) error {
				if asked++; i == failing {
					return errNo
				}
				return nil
			})
		}
		if err := net.client(t).DetachVolume(t.Context(), idA, all...); !errors.Is(err, errNo) || asked != failing+1 || sent != 0 {
			t.Errorf("%d does not hold: %d were asked, %d requests, %v", failing, asked, sent, err)
		}
	}
}

// TestVolumeListed: one volume is looked at by a list, one that is new enough does, and only what lists lack is read
// directly.
func TestVolumeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == blocksPath {
				return reply(200, map[string]any{"blocks": []any{map[string]any{"id": idA}}}), nil
			}
			return reply(200, map[string]any{"block": map[string]any{"id": strings.TrimPrefix(r.URL.Path, blocksPath+"/")}}), nil
		}}
		c := net.client(t)
		for _, step := range []struct {
			id           string
			maxAge       time.Duration
			lists, reads int
		}{{idA, 0, 1, 0}, {idA, 2 * time.Second, 1, 0}, {idB, 2 * time.Second, 1, 1}, {idA, 0, 2, 1}} {
			time.Sleep(time.Second)
			v, at, err := c.VolumeListed(t.Context(), step.id, step.maxAge)
			if err != nil || v.ID != step.id || time.Since(at) > step.maxAge {
				t.Errorf("%+v: got %+v as of %s, %v", step, v, at, err)
			}
			if lists, reads := net.count(http.MethodGet, blocksPath), net.count(http.MethodGet, blocksPath+"/"+idB); lists != step.lists || reads != step.reads {
				t.Errorf("%+v: %d lists and %d reads by now", step, lists, reads)
			}
		}
		if _, _, err := c.VolumeListed(t.Context(), "", time.Hour); err == nil {
			t.Error("an empty ID was looked for")
		}
	})
}
