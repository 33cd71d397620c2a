package roster_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

type account struct {
	fails error
	calls int
	ages  []time.Duration
}

func (a *account) Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	a.calls++
	a.ages = append(a.ages, maxAge)
	if err := ctx.Err(); err != nil {
		return vultr.List[vultr.Instance]{}, err
	}
	return vultr.List[vultr.Instance]{Items: []vultr.Instance{{ID: "x"}}}, a.fails
}

func TestFailuresAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := &vultr.Error{Op: "list instances", Status: 401}
		a := &account{fails: refused}
		r := roster.New(a)
		for range 50 {
			if _, err := r.Instances(t.Context(), 0); !errors.Is(err, refused) {
				t.Fatalf("got %v", err)
			}
		}
		if a.calls != 1 {
			t.Errorf("%d calls", a.calls)
		}
		a.fails = nil
		time.Sleep(roster.FailureAge) // of the fake clock
		for range 2 {
			if list, err := r.Instances(t.Context(), time.Minute); err != nil || len(list.Items) != 1 {
				t.Errorf("after the key was put right: %v, %v", list, err)
			}
		}
		if a.calls != 3 || a.ages[2] != time.Minute {
			t.Errorf("%d calls, ages %v", a.calls, a.ages)
		}
	})
}

// A time-out of the client is a failure of the API; that of a caller is the caller's.
func TestWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &account{}
		r := roster.New(a)
		left, leave := context.WithCancel(t.Context())
		leave()
		if _, err := r.Instances(left, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := r.Instances(t.Context(), 0); err != nil {
			t.Errorf("another's end was shared: %v", err)
		}
		a.fails = context.DeadlineExceeded
		for range 3 {
			if _, err := r.Instances(t.Context(), 0); err == nil {
				t.Error("no error")
			}
		}
		if a.calls != 3 {
			t.Errorf("%d calls", a.calls)
		}
	})
}
