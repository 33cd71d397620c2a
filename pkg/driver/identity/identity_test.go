package identity

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// TestProbeAnswersNotReady: not ready is an answer; what is wrong can be asked for.
func TestProbeAnswersNotReady(t *testing.T) {
	var fault error
	s := New("", func(context.Context) error { return fault })
	for _, fault = range []error{nil, errors.New("a fault"), errors.New("another fault"), nil} {
		resp, err := s.Probe(t.Context(), nil)
		if err != nil || resp.GetReady().GetValue() != (fault == nil) {
			t.Errorf("with %v: %v, %v", fault, resp, err)
		}
		want := ""
		if fault != nil {
			want = fault.Error()
		}
		if s.Fault() != want {
			t.Errorf("with %v the fault is %q", fault, s.Fault())
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

// accepted returns the value of the metric, "" when there is none.
func accepted(t *testing.T, c *APICheck) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "csi_api_key_accepted" && f.GetHelp() != "" {
			return strconv.FormatFloat(f.GetMetric()[0].GetGauge().GetValue(), 'g', -1, 64)
		}
	}
	return ""
}

// TestOnlyARefusedKeyIsNotReady: a 403 proves that the key is accepted, and whatever else the API does says nothing
// about it.
func TestOnlyARefusedKeyIsNotReady(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		takes  time.Duration
		says   string // what the check answers, "" when it is content
		metric string
	}{
		"throttled":     {err: &vultr.Error{Status: http.StatusTooManyRequests}},
		"broken":        {err: &vultr.Error{Status: http.StatusBadGateway}},
		"unreachable":   {err: &vultr.Error{Err: errors.New("connection refused")}},
		"hanging":       {takes: time.Hour},
		"accepted":      {metric: "1"},
		"forbidden":     {err: &vultr.Error{Status: http.StatusForbidden, Message: "Forbidden"}, metric: "1"},
		"wrong key":     {err: &vultr.Error{Status: http.StatusUnauthorized, Message: "Invalid API token."}, says: "refuses the API key", metric: "0"},
		"wrong address": {err: &vultr.Error{Status: http.StatusUnauthorized, Message: "Unauthorized IP address: 203.0.113.9"}, says: "access control list", metric: "0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(answer{c.err, c.takes})
				check := NewAPICheck(a)
				if got := accepted(t, check); got != "" {
					t.Errorf("before anything was asked the metric is %s", got)
				}
				began := time.Now()
				err := check.Check(t.Context())
				if (err != nil) != (c.says != "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
					t.Errorf("got %v", err)
				}
				if got := accepted(t, check); got != c.metric {
					t.Errorf("the metric is %q", got)
				}
				if took := time.Since(began); took > patience {
					t.Errorf("a probe took %s", took)
				}
				a.answer.Store(&answer{})
				time.Sleep(goodFor) // of the bubble's clock, as all sleeps here
				if err := check.Check(t.Context()); err != nil {
					t.Errorf("after all went well again: %v", err)
				}
				if got := accepted(t, check); got != "1" {
					t.Errorf("after all went well again the metric is %q", got)
				}
			})
		})
	}
}

// TestARefusedKeyIsAskedForSoon: a replaced key heals within seconds, and one that is being refused costs few calls.
func TestARefusedKeyIsAskedForSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(answer{err: &vultr.Error{Status: http.StatusUnauthorized}})
		check := NewAPICheck(a)
		for range 6 {
			if err := check.Check(t.Context()); err == nil {
				t.Error("a refused key is ready")
			}
			time.Sleep(5 * time.Second)
		}
		if n := a.calls.Load(); n != 3 {
			t.Errorf("%d calls in 30 s", n)
		}
		a.answer.Store(&answer{err: &vultr.Error{Status: http.StatusBadGateway}})
		if err := check.Check(t.Context()); err == nil {
			t.Error("an API that fails proves the key")
		}
		a.answer.Store(&answer{})
		time.Sleep(badFor)
		if err := check.Check(t.Context()); err != nil {
			t.Errorf("a replaced key: %v", err)
		}
	})
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
