package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/election"
)

// ending is a process whose library and work are the test's, in a bubble of fake time.
type ending struct {
	*process
	client  *fake.Clientset
	tell    func()        // tells the process to end
	work    chan struct{} // closed when what is under way has ended
	started bool          // whether the controllers were started
	result  chan error
}

// newEnding starts one that takes part in an election, in which another process may hold the lease already.
func newEnding(t *testing.T, other string) *ending {
	t.Helper()
	stop := make(chan struct{})
	e := &ending{process: newProcess(stop), client: fake.NewSimpleClientset(), tell: func() { close(stop) }, work: make(chan struct{}), result: make(chan error, 1)}
	lock := func(name string) resourcelock.Interface {
		lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "kube-system", "ccm", e.client.CoreV1(), e.client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: name})
		if err != nil {
			t.Fatal(err)
		}
		return lock
	}
	if other != "" {
		now := metav1.Now()
		if err := lock(other).Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: other, LeaseDurationSeconds: 3600, AcquireTime: now, RenewTime: now}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if e.election, err = election.New(election.Config{Lock: lock("me"), Name: "ccm", LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	return e
}

// run runs the library as it is: it waits to lead, starts the controllers, and returns when it is told to end.
func (e *ending) run() {
	library := func() error {
		e.lead()
		e.started = true
		e.process.work.Go(func() { <-e.work })
		<-e.stop
		return nil
	}
	go func() { e.result <- e.process.run(library) }()
}

func (e *ending) holder(t *testing.T) string {
	t.Helper()
	lease, err := e.client.CoordinationV1().Leases("kube-system").Get(t.Context(), "ccm", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *lease.Spec.HolderIdentity
}

func (e *ending) ended() bool {
	synctest.Wait()
	return len(e.result) > 0
}

// The lease is given back after what is under way, and not before: whoever leads next must not meet it.
func TestTheLeaseOutlastsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t, "")
		e.run()
		time.Sleep(time.Minute) // of the fake clock
		synctest.Wait()
		if !e.started || e.holder(t) != "me" {
			t.Fatalf("started %v, the lease is %q's", e.started, e.holder(t))
		}
		e.tell()
		time.Sleep(workTimeout - time.Second) // of the fake clock
		if e.ended() || e.holder(t) != "me" {
			t.Fatalf("ended %v, the lease is %q's while work is under way", e.ended(), e.holder(t))
		}
		close(e.work)
		if !e.ended() || e.holder(t) != "" {
			t.Fatalf("ended %v, the lease is %q's", e.ended(), e.holder(t))
		}
		if err := <-e.result; err != nil {
			t.Error(err)
		}
	})
}

// What does not end keeps the lease from the others, which get it when it runs out, and not the process from its end.
func TestWorkThatHangsKeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t, "")
		e.run()
		time.Sleep(time.Minute) // of the fake clock
		e.tell()
		time.Sleep(workTimeout) // of the fake clock
		if !e.ended() || e.holder(t) != "me" {
			t.Errorf("ended %v, the lease is %q's", e.ended(), e.holder(t))
		}
		close(e.work) // the process is over with that; here the goroutines have to end too
		e.letGo()
	})
}

// A stand-by ends at once, starts nothing any more, and leaves the lease alone. The library can't be told, and is left waiting:
// no bubble of fake time could end with that.
func TestStandbyEnds(t *testing.T) {
	e := newEnding(t, "other")
	e.run()
	eventually(t, "it has seen the lease", func() bool { return e.election.State().Holder == "other" })
	e.tell()
	if err := <-e.result; err != nil || e.started || e.holder(t) != "other" {
		t.Errorf("%v, started %v, the lease is %q's", err, e.started, e.holder(t))
	}
}

// What the library can't do is a failure at once, and no lease is kept.
func TestLibraryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t, "")
		failure := errors.New("address already in use")
		if err := e.process.run(func() error { return failure }); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	})
}
