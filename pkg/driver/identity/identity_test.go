package identity

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestPlugin(t *testing.T) {
	s := New("v1", func(context.Context) error { return nil })
	info, err := s.GetPluginInfo(t.Context(), nil)
	if err != nil || info.GetName() != "block.csi.vultr.com" || info.GetVendorVersion() != "v1" {
		t.Errorf("info is %v, %v", info, err)
	}
	caps, err := s.GetPluginCapabilities(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range caps.GetCapabilities() {
		if c.GetService() != nil {
			got = append(got, c.GetService().GetType().String())
		} else {
			got = append(got, "expansion "+c.GetVolumeExpansion().GetType().String())
		}
	}
	slices.Sort(got)
	if want := []string{"CONTROLLER_SERVICE", "VOLUME_ACCESSIBILITY_CONSTRAINTS", "expansion ONLINE"}; !slices.Equal(got, want) {
		t.Errorf("announced are %v", got)
	}
}

func TestProbeAnswersNotReady(t *testing.T) {
	for _, fault := range []error{nil, errors.New("a fault")} {
		resp, err := New("", func(context.Context) error { return fault }).Probe(t.Context(), nil)
		if err != nil || resp.GetReady().GetValue() != (fault == nil) {
			t.Errorf("with %v: %v, %v", fault, resp, err)
		}
	}
}

// account answers as a test tells it.
type account struct {
	calls    atomic.Int32
	answer   atomic.Pointer[answer]
	accepted atomic.Pointer[time.Time]
}

func (a *account) KeyAccepted() time.Time {
	if at := a.accepted.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

type answer struct {
	err   error
	takes time.Duration
}

func newAccount(next answer) *account {
	a := &account{}
	a.answer.Store(&next)
	return a
}

func (a *account) Account(ctx context.Context) (vultr.Account, error) {
	a.calls.Add(1)
	next := a.answer.Load()
	select {
	case <-time.After(next.takes):
		return vultr.Account{}, next.err
	case <-ctx.Done():
		return vultr.Account{}, ctx.Err()
	}
}

func TestAPICheckAsksOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(answer{})
		c := NewAPICheck(a)
		for range 13 { // one more than fit into a minute
			if err := c.Check(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if n := a.calls.Load(); n != 2 {
			t.Errorf("%d calls in a minute", n)
		}
	})
}

// TestOnlyARefusedKeyIsUnhealthy: whatever else the API does is no reason to restart this process.
func TestOnlyARefusedKeyIsUnhealthy(t *testing.T) {
	for name, c := range map[string]struct {
		err       error
		takes     time.Duration
		unhealthy bool
	}{
		"throttled":   {err: &vultr.Error{Status: http.StatusTooManyRequests}},
		"broken":      {err: &vultr.Error{Status: http.StatusBadGateway}},
		"unreachable": {err: &vultr.Error{Err: errors.New("connection refused")}},
		"hanging":     {takes: time.Hour},
		"refused":     {err: &vultr.Error{Status: http.StatusUnauthorized}, unhealthy: true},
		"forbidden":   {err: &vultr.Error{Status: http.StatusForbidden}, unhealthy: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(answer{c.err, c.takes})
				check := NewAPICheck(a)
				began := time.Now()
				if err := check.Check(t.Context()); (err != nil) != c.unhealthy {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took > patience {
					t.Errorf("a probe took %s", took)
				}
				a.answer.Store(&answer{})
				time.Sleep(goodFor)
				if err := check.Check(t.Context()); err != nil {
					t.Errorf("after all went well again: %v", err)
				}
			})
		})
	}
}

// TestOtherCallsProveTheKey: while the driver works no probe costs a call.
func TestOtherCallsProveTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(answer{err: &vultr.Error{Status: http.StatusUnauthorized}})
		c := NewAPICheck(a)
		for range 10 {
			now := time.Now()
			a.accepted.Store(&now)
			time.Sleep(goodFor - time.Second)
			if err := c.Check(t.Context()); err != nil || a.calls.Load() != 0 {
				t.Fatalf("%d calls, %v", a.calls.Load(), err)
			}
		}
		time.Sleep(goodFor)
		if err := c.Check(t.Context()); err == nil {
			t.Error("an old proof was believed")
		}
		now := time.Now().Add(time.Nanosecond)
		a.accepted.Store(&now)
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("after the key was accepted again: %v", err)
		}
	})
}
