// Package election decides which process of a cluster works: the one that holds a Lease. The election is client-go's. What
// is added: the lease is given back when the work has ended, so that the next process need not wait until it runs out, and
// it can be asked how the election stands.
//
// The library of cloud controller managers has an election of its own, which never gives a lease back
// (kubernetes/kubernetes#119905; the gate ControllerManagerReleaseLeaderElectionLockOnExit concerns kube-controller-manager
// alone), nor does it end the work before the process ends.
package election

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// stuckAfter is how long after its end a lease that this process holds may not have been renewed until it counts as hanging.
const stuckAfter = 20 * time.Second

// ErrLost is returned when the lease could not be renewed in time: another process may hold it, so the work has to end at
// once.
var ErrLost = errors.New("the lease was lost")

// Config is what an election needs.
type Config struct {
	// Lock is the lease, and under which name this process holds it.
	Lock resourcelock.Interface
	// Name is the lease's name in metrics.
	Name string
	// LeaseDuration, RenewDeadline and RetryPeriod are those of every controller manager.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

// State is how an election stands.
type State struct {
	// Leads is set while this process holds the lease, and Since is when that began.
	Leads bool
	Since time.Time
	// Holder is the name of the process that holds the lease; "" is nobody, or not known.
	Holder string
	// Renewed is when the lease was last seen to be changed, by whomever; the zero time if it never was.
	Renewed time.Time
	// Failure is why the lease could not be read or changed when that was tried last.
	Failure error
}

// Election is the part that this process takes in an election.
type Election struct {
	config   Config
	elector  *leaderelection.LeaderElector
	watchdog *leaderelection.HealthzAdaptor
	leads    chan struct{}

	mu    sync.Mutex
	state State
	seen  string // the lease as it was read last
	ended bool
	done  <-chan struct{} // closed when Run is to end
}

// New makes one; Run takes part.
func New(config Config) (*Election, error) {
	e := &Election{config: config, watchdog: leaderelection.NewLeaderHealthzAdaptor(stuckAfter), leads: make(chan struct{})}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          watched{config.Lock, e},
		LeaseDuration: config.LeaseDuration,
		RenewDeadline: config.RenewDeadline,
		RetryPeriod:   config.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { e.lead() },
			OnStoppedLeading: func() {},
		},
		Name: config.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	e.elector = elector
	e.watchdog.SetLeaderElection(elector)
	return e, nil
}

// Leads is closed when this process begins to lead.
func (e *Election) Leads() <-chan struct{} { return e.leads }

// State returns how the election stands.
func (e *Election) State() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}

// Healthy returns an error if this process holds a lease that it has not renewed long after its end. It should have
// ended itself by then, so something hangs that only a restart helps.
func (e *Election) Healthy() error {
	return e.watchdog.Check(&http.Request{})
}

// Run waits for the lease, and holds it until ctx ends, which must be after all work that it guards: then the lease is given
// back. It returns ErrLost if the lease can't be held until then.
func (e *Election) Run(ctx context.Context) error {
	e.begin(ctx)
	e.elector.Run(ctx)
	e.stop()
	if ctx.Err() == nil {
		return fmt.Errorf("%w: lease %s could not be renewed for %s: %w", ErrLost, e.config.Lock.Describe(), e.config.RenewDeadline, e.failure())
	}
	// The elector has ended: nobody renews what is given back here.
	released, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.config.RenewDeadline)
	defer cancel()
	if err := e.release(released); err != nil {
		return fmt.Errorf("giving back lease %s, which runs out in %s: %w", e.config.Lock.Describe(), e.config.LeaseDuration, err)
	}
	return nil
}

// releases is how often giving back is tried: a renewal that was under way when the elector ended may come in between.
const releases = 3

func (e *Election) release(ctx context.Context) error {
	var err error
	for range releases {
		var record *resourcelock.LeaderElectionRecord
		record, _, err = e.config.Lock.Get(ctx)
		if apierrors.IsNotFound(err) || err == nil && record.HolderIdentity != e.config.Lock.Identity() {
			return nil // it is nobody's, or another's
		}
		if err != nil {
			return err
		}
		now := metav1.Now()
		err = e.config.Lock.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaderTransitions: record.LeaderTransitions, LeaseDurationSeconds: 1, RenewTime: now, AcquireTime: now,
		})
		if err == nil {
			klog.FromContext(ctx).Info("Released the lease", "lease", e.config.Lock.Describe())
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
}

func (e *Election) begin(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done = ctx.Done()
}

func (e *Election) lead() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return // client-go calls this in a goroutine of its own, which may come too late
	}
	e.state.Leads, e.state.Since = true, time.Now()
	close(e.leads)
}

func (e *Election) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended, e.state.Leads = true, false
}

// failure is why the lease was lost.
func (e *Election) failure() error {
	if err := e.State().Failure; err != nil {
		return err
	}
	return errTaken
}

var errTaken = errors.New("another process has taken it")

// watched is a lock whose use is noted.
type watched struct {
	resourcelock.Interface

	election *Election
}

// Get notes what the lease says.
func (w watched) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := w.Interface.Get(ctx)
	holder := ""
	if record != nil {
		holder = record.HolderIdentity
	}
	w.election.note(holder, string(raw), err)
	return record, raw, err
}

// Create notes that this process holds the lease.
func (w watched) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := w.Interface.Create(ctx, record)
	w.election.note(record.HolderIdentity, record.RenewTime.String(), err)
	return err
}

// Update notes that this process holds the lease.
func (w watched) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := w.Interface.Update(ctx, record)
	w.election.note(record.HolderIdentity, record.RenewTime.String(), err)
	return err
}

// RecordEvent makes an Event. At the end of the process nobody takes one any more, and it would be a fault in the log.
func (w watched) RecordEvent(what string) {
	w.election.mu.Lock()
	done := w.election.done
	w.election.mu.Unlock()
	select {
	case <-done:
	default:
		w.Interface.RecordEvent(what)
	}
}

// note keeps what a use of the lease showed. That there is no lease yet is no failure: it is made next.
func (e *Election) note(holder, seen string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if apierrors.IsNotFound(err) {
		e.state.Holder, e.state.Failure = "", nil
		return
	}
	e.state.Failure = err
	if err != nil {
		return
	}
	e.state.Holder = holder
	if seen != e.seen {
		e.seen, e.state.Renewed = seen, time.Now()
	}
}
