package recovery_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// An instance in whatever state is there, whether lists show it or only the question for its ID.
func TestOddStatesAreThere(t *testing.T) {
	for name, in := range map[string]vultr.Instance{
		"suspended":      {Status: "suspended", PowerStatus: "stopped"},
		"locked":         {Status: "active", PowerStatus: "running", ServerStatus: "locked"},
		"installing":     {Status: "pending", PowerStatus: "stopped", ServerStatus: "installingbooting"},
		"resizing":       {Status: "resizing"},
		"nothing":        {},
		"something new":  {Status: "entangled", PowerStatus: "unknown", ServerStatus: "?"},
		"suspended bare": {Kind: vultr.KindBareMetal, Status: "suspended"},
	} {
		for _, shown := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScene(t)
					s.cloud.set(func() {
						in.ID = idA
						s.cloud.instances[idA] = in
						if !shown {
							s.cloud.listed = func() []vultr.Instance {
								return slices.DeleteFunc(slices.Collect(maps.Values(s.cloud.instances)), func(in vultr.Instance) bool { return in.ID == idA })
							}
						}
					})
					s.ready("a", v1.ConditionUnknown)
					for range 30 {
						after(20 * time.Second)
						if s.marked("a") || s.departed("a") {
							t.Fatal("declared dead")
						}
					}
					if shown != (s.cloud.looked() == 0) {
						t.Errorf("it was asked for %d times", s.cloud.looked())
					}
				})
			})
		}
	}
}

// Of hundreds of Nodes that are not ready, those that lists show cost their part of the lists, and only what they lack is asked
// for.
func TestSuspectedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all, gone = 300, 12
		s := bareScene(t)
		names, ids := s.crowd(all)
		s.startOn(&sharingAccount{account: s.cloud})
		s.destroy(names[:gone], ids[:gone])
		for _, name := range names[gone:] {
			s.ready(name, v1.ConditionUnknown)
		}
		s.cloud.set(func() { s.cloud.looks, s.cloud.lists = 0, 0 })
		after(2 * proof)
		if n := s.marks(names); n != gone {
			t.Errorf("%d of %d destroyed nodes are marked", n, gone)
		}
		s.stop()
		after(time.Second) // whoever waits for a list gets it
		s.cloud.mu.Lock()
		looks, lists := s.cloud.looks, s.cloud.lists
		s.cloud.mu.Unlock()
		if looks < 3*gone || looks > 6*gone {
			t.Errorf("%d questions for %d instances that are suspected of %d", looks, gone, all)
		}
		if rounds := int(2*proof/(5*time.Second)) + 1; lists > 5*rounds {
			t.Errorf("%d lists in %d rounds", lists, rounds)
		}
	})
}

// slowLists takes its time for every list, as for one of thousands of instances.
type slowLists struct {
	*account
	takes time.Duration
}

func (a slowLists) Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	select {
	case <-time.After(a.takes):
		return a.account.Instances(ctx, maxAge)
	case <-ctx.Done():
		return vultr.List[vultr.Instance]{}, ctx.Err()
	}
}

// In a large account a look takes two lists of many pages. It has the time for them.
func TestSlowLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		s.startOn(slowLists{s.cloud, 15 * time.Second})
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		after(3 * time.Minute)
		if !s.marked("a") {
			t.Error("not marked")
		}
		s.wantEvents("InstanceDeleted")
	})
}
