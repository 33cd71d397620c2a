package servicelb_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8stesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testpoints"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var errKilled = errors.New("the process was killed")

// life is that of a process: it ends at its n-th step, and nothing that it does after that has any effect.
type life struct {
	servicelb.API
	steps atomic.Int64
	ends  int64
	late  bool // whether the last step still has its effect, though nobody learns of it
	dead  atomic.Bool
}

// step counts a step. It reports whether that has an effect, and an error once the process is dead.
func (l *life) step() (effect bool, err error) {
	if l.dead.Load() {
		return false, errKilled
	}
	if l.steps.Add(1) != l.ends {
		return true, nil
	}
	l.dead.Store(true)
	return l.late, errKilled
}

func (l *life) LoadBalancers(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.LoadBalancer], error) {
	if l.dead.Load() {
		return vultr.List[vultr.LoadBalancer]{}, errKilled
	}
	return l.API.LoadBalancers(ctx, maxAge)
}

func (l *life) CreateLoadBalancer(ctx context.Context, region string, s vultr.LoadBalancerSettings) (vultr.LoadBalancer, error) {
	effect, dead := l.step()
	if !effect {
		return vultr.LoadBalancer{}, dead
	}
	lb, err := l.API.CreateLoadBalancer(ctx, region, s)
	return lb, errors.Join(err, dead)
}

func (l *life) UpdateLoadBalancer(ctx context.Context, id string, s vultr.LoadBalancerSettings) error {
	effect, dead := l.step()
	if !effect {
		return dead
	}
	return errors.Join(l.API.UpdateLoadBalancer(ctx, id, s), dead)
}

func (l *life) DeleteLoadBalancer(ctx context.Context, id string) error {
	effect, dead := l.step()
	if !effect {
		return dead
	}
	return errors.Join(l.API.DeleteLoadBalancer(ctx, id), dead)
}

// react makes the writes to the API server steps of this life.
func (l *life) react(w *world) {
	w.react("*", "*", func(action k8stesting.Action) (bool, runtime.Object, error) {
		if verb := action.GetVerb(); verb != "patch" && (verb != "create" || action.GetResource().Resource != "configmaps") {
			return false, nil, nil
		}
		effect, dead := l.step()
		if dead == nil {
			return false, nil, nil
		}
		if effect {
			_, _, err := k8stesting.ObjectReaction(w.client.Tracker())(action)
			return true, nil, errors.Join(err, dead)
		}
		return true, nil, dead
	})
}

// A process that is killed at any step, before or after what it asked for was done: one load balancer is made, and none is left.
func TestKilledAtAnyStep(t *testing.T) {
	for _, lag := range []time.Duration{time.Millisecond, 100 * time.Second} {
		for _, late := range []bool{false, true} {
			for n := range testpoints.All(t) {
				steps := int64(0)
				t.Run(fmt.Sprintf("step %d, late %t, lag %s", n, late, lag), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { steps = killedAt(t, n, late, lag) })
				})
				if steps < n || t.Failed() {
					break
				}
			}
		}
	}
}

func killedAt(t *testing.T, n int64, late bool, lag time.Duration) int64 {
	w := newCluster(t, drifting, lagging(simulator.ReadLags{"all": lag}))
	l := &life{API: w.newClient(w.cloud.Key), ends: n, late: late}
	l.react(w)
	w.startWith(l)
	revive := func() bool {
		if !l.dead.Load() {
			return false
		}
		w.later(2 * time.Second)
		w.stop()
		l.dead.Store(false)
		w.start()
		return true
	}
	s := w.service("web", with(settings.Label, "www"))
	for range 60 {
		if w.later(30 * time.Second); revive() {
			break
		}
	}
	w.settled(s)
	lb := w.only()
	w.deleting(s)
	for range 60 {
		if w.later(10 * time.Second); revive() {
			break
		}
	}
	w.later(20 * time.Minute)
	if len(w.fresh(s).Finalizers) > 0 {
		t.Errorf("the finalizer stays; %+v, events %q", w.entry(s), w.events())
	}
	w.none()
	if posts := w.posts(); posts != 1 {
		t.Errorf("%d requests to make one, the first was %s", posts, lb.ID)
	}
	if entry := w.entry(s); entry.Service != "" {
		t.Errorf("the ledger keeps %+v", entry)
	}
	return l.steps.Load()
}

// A write to the API server that fails once, before or after it was done, or by a conflict, costs a repetition.
func TestFailingAPIServer(t *testing.T) {
	failures := map[string]struct {
		err   error
		after bool
	}{
		"refused":             {err: apierrors.NewInternalError(errors.New("injected"))},
		"done, then an error": {err: apierrors.NewInternalError(errors.New("injected")), after: true},
		"done, then late":     {err: apierrors.NewTimeoutError("injected", 1), after: true},
		"conflict":            {err: apierrors.NewConflict(schema.GroupResource{Resource: "services"}, "web", errors.New("injected"))},
	}
	for name, failure := range failures {
		for n := range testpoints.All(t) {
			writes := int64(0)
			t.Run(fmt.Sprintf("%s at write %d", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newCluster(t, lagging(simulator.ReadLags{"all": 20 * time.Second}))
					var count atomic.Int64
					w.react("*", "*", func(action k8stesting.Action) (bool, runtime.Object, error) {
						verb := action.GetVerb()
						if verb != "patch" && (verb != "create" || action.GetResource().Resource != "configmaps") || count.Add(1) != n {
							return false, nil, nil
						}
						if failure.after {
							_, _, err := k8stesting.ObjectReaction(w.client.Tracker())(action)
							return true, nil, errors.Join(failure.err, err)
						}
						return true, nil, failure.err
					})
					w.start()
					s := w.service("web", with(settings.Label, "www"))
					w.settled(s)
					w.only()
					w.deleting(s)
					w.later(20 * time.Minute)
					if len(w.fresh(s).Finalizers) > 0 {
						t.Errorf("the finalizer stays; %+v, events %q", w.entry(s), w.events())
					}
					w.none()
					if posts := w.posts(); posts != 1 {
						t.Errorf("%d requests to make one", posts)
					}
					writes = count.Load()
				})
			})
			if writes < n || t.Failed() {
				break
			}
		}
	}
}
