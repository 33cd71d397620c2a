package election_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/election"
)

// The defaults of controller managers.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

const leaseName = "cloud-controller-manager"

// voter is a process that takes part.
type voter struct {
	*election.Election
	end    func()
	result chan error
}

func join(t *testing.T, client *fake.Clientset, name string) *voter {
	t.Helper()
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "kube-system", leaseName, client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: name})
	if err != nil {
		t.Fatal(err)
	}
	e, err := election.New(election.Config{Lock: lock, Name: leaseName, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	v := &voter{Election: e, end: cancel, result: make(chan error, 1)}
	go func() { v.result <- e.Run(ctx) }()
	t.Cleanup(cancel)
	return v
}

func lease(t *testing.T, client *fake.Clientset) *coordinationv1.Lease {
	t.Helper()
	found, err := client.CoordinationV1().Leases("kube-system").Get(t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func holder(t *testing.T, client *fake.Clientset) string {
	t.Helper()
	if name := lease(t, client).Spec.HolderIdentity; name != nil {
		return *name
	}
	return ""
}

// leadsWithin fails unless the voter leads within this time, which is fake.
func (v *voter) leadsWithin(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-v.Leads():
	case <-time.After(limit):
		t.Fatalf("it does not lead within %s: %+v", limit, v.State())
	}
}

// A process that ends gives its lease back, and the next one leads in a few seconds instead of after the lease's end.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleClientset()
		first := join(t, client, "first")
		first.leadsWithin(t, time.Second)
		second := join(t, client, "second")
		time.Sleep(time.Minute) // of the fake clock
		synctest.Wait()
		if s := first.State(); !s.Leads || s.Holder != "first" || s.Failure != nil || time.Since(s.Renewed) > 2*retryPeriod || s.Since.IsZero() {
			t.Errorf("the first one: %+v", s)
		}
		if s := second.State(); s.Leads || s.Holder != "first" || s.Failure != nil || time.Since(s.Renewed) > 3*retryPeriod {
			t.Errorf("the second one: %+v", s)
		}
		first.end()
		if err := <-first.result; err != nil {
			t.Error(err)
		}
		if got := holder(t, client); got != "" {
			t.Errorf("the lease is %q's", got)
		}
		if first.State().Leads {
			t.Error("the first one still leads")
		}
		second.leadsWithin(t, 5*time.Second) // it looks every 2 to 4.4 s
		if got := holder(t, client); got != "second" || *lease(t, client).Spec.LeaseTransitions != 1 {
			t.Errorf("the lease is %q's after %d transitions", got, *lease(t, client).Spec.LeaseTransitions)
		}
		second.end()
		if err := <-second.result; err != nil {
			t.Error(err)
		}
	})
}

// Who never led gives nothing back.
func TestStandbyLeavesTheLeaseAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleClientset()
		first := join(t, client, "first")
		first.leadsWithin(t, time.Second)
		second := join(t, client, "second")
		time.Sleep(10 * time.Second) // of the fake clock
		second.end()
		if err := <-second.result; err != nil {
			t.Error(err)
		}
		if got := holder(t, client); got != "first" {
			t.Errorf("the lease is %q's", got)
		}
		first.end()
		if err := <-first.result; err != nil {
			t.Error(err)
		}
	})
}

// A lease that can't be renewed is lost within the renew deadline, and is not touched afterwards: the work still goes on.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleClientset()
		down := errors.New("the API server is down")
		var away atomic.Bool
		client.PrependReactor("*", "leases", func(clienttesting.Action) (bool, runtime.Object, error) { return away.Load(), nil, down })
		v := join(t, client, "first")
		v.leadsWithin(t, time.Second)
		time.Sleep(5 * time.Second) // of the fake clock
		synctest.Wait()
		away.Store(true)
		began := time.Now()
		err := <-v.result
		if !errors.Is(err, election.ErrLost) || !strings.Contains(err.Error(), down.Error()) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > renewDeadline+2*retryPeriod {
			t.Errorf("it took %s", took)
		}
		if v.State().Leads {
			t.Error("it still leads")
		}
		away.Store(false)
		time.Sleep(time.Minute) // of the fake clock
		synctest.Wait()
		if got := holder(t, client); got != "first" {
			t.Errorf("the lease was given away, to %q", got)
		}
	})
}

// Giving back meets a renewal of its own that was under way, or another process that was quicker.
func TestReleaseMeetsOthers(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, leaseName, errors.New("it was changed"))
	for name, tt := range map[string]struct {
		// refuse are the errors of the updates after the end, in their order.
		refuse []error
		taken  bool
		holder string
		fails  bool
	}{
		"a late renewal":     {[]error{conflict}, false, "", false},
		"conflicts for ever": {[]error{conflict, conflict, conflict, conflict}, false, "first", true},
		"no right":           {[]error{errors.New("forbidden")}, false, "first", true},
		"taken":              {nil, true, "second", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewSimpleClientset()
				var mu sync.Mutex
				refuses := false
				client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
					mu.Lock()
					defer mu.Unlock()
					if !refuses || len(tt.refuse) == 0 {
						return false, nil, nil
					}
					err := tt.refuse[0]
					tt.refuse = tt.refuse[1:]
					return true, nil, err
				})
				v := join(t, client, "first")
				v.leadsWithin(t, time.Second)
				time.Sleep(5*time.Second + 500*time.Millisecond) // of the fake clock: between two renewals
				synctest.Wait()
				mu.Lock()
				refuses = true
				mu.Unlock()
				if tt.taken {
					other, name := lease(t, client), "second"
					other.Spec.HolderIdentity = &name
					if _, err := client.CoordinationV1().Leases("kube-system").Update(t.Context(), other, metav1.UpdateOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				v.end()
				if err := <-v.result; (err != nil) != tt.fails || errors.Is(err, election.ErrLost) {
					t.Errorf("got %v", err)
				}
				if got := holder(t, client); got != tt.holder {
					t.Errorf("the lease is %q's, want %q", got, tt.holder)
				}
			})
		})
	}
}

// A stand-by that can't read the lease says so, and goes on trying.
func TestStandbyWithoutAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleClientset()
		var away atomic.Bool
		away.Store(true)
		down := errors.New("the API server is down")
		client.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) { return away.Load(), nil, down })
		v := join(t, client, "first")
		time.Sleep(time.Minute) // of the fake clock
		synctest.Wait()
		if s := v.State(); s.Leads || !errors.Is(s.Failure, down) || !s.Renewed.IsZero() {
			t.Errorf("%+v", s)
		}
		away.Store(false)
		v.leadsWithin(t, 5*time.Second)
		synctest.Wait()
		if s := v.State(); !s.Leads || s.Failure != nil || s.Holder != "first" {
			t.Errorf("%+v", s)
		}
		if err := v.Healthy(); err != nil {
			t.Error(err)
		}
		v.end()
		if err := <-v.result; err != nil {
			t.Error(err)
		}
	})
}

func TestBadTimes(t *testing.T) {
	client := fake.NewSimpleClientset()
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "kube-system", leaseName, client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := election.New(election.Config{Lock: lock, LeaseDuration: time.Second, RenewDeadline: time.Minute, RetryPeriod: time.Second}); err == nil {
		t.Error("a lease that is shorter than its renewal was accepted")
	}
}
