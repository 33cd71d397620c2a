package controller_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// lifeOf is one volume's life as the sidecars and the kubelet make it, in fake time.
type lifeOf struct {
	provisioner, attacher *rig // one process, or two when the sidecars lead in different pods
	node                  string
	random                *rand.Rand
	pod                   time.Duration // how long the pod runs at most
}

// between is a random time.
func (l *lifeOf) between(least, most time.Duration) time.Duration {
	return least + time.Duration(l.random.Int64N(int64(most-least)))
}

// live lives a life and returns the time that the driver's calls took.
func (l *lifeOf) live(t *testing.T, name string) (took time.Duration) {
	t.Helper()
	timed := func(do func() error) {
		began := time.Now()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		took += time.Since(began)
	}
	var id string
	timed(func() error { id = l.provisioner.create(name).GetVolumeId(); return nil })
	time.Sleep(l.between(100*time.Millisecond, 2*time.Second)) // until the pod is scheduled; all sleeps are of the fake clock
	for range 2 {                                              // the attacher acts once more before it sees its own record of the first time
		timed(func() error { l.attacher.publish(id, l.node); return nil })
	}
	time.Sleep(l.between(l.pod/4, l.pod)) // the pod starts, runs and ends
	timed(func() error { return l.attacher.unpublish(id, l.node) })
	time.Sleep(l.between(100*time.Millisecond, 8*time.Second)) // until the provisioner tries again
	for range 2 {                                              // it asks again before it sees its own change
		timed(func() error {
			_, err := l.provisioner.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			return err
		})
	}
	return took
}

// lives lives many lives, each at another phase of the clock and of what the processes remember, and holds each to the
// budget. It counts all calls from a life's begin to the next one's, the look for a duplicate included.
func (l *lifeOf) lives(t *testing.T, n, budget int) {
	t.Helper()
	// What nobody can do better: a wait ends when a read shows what the platform has done.
	delays := simulator.DefaultDelays()
	ideal := delays.BlockCreate + delays.Attach + delays.Detach + 3*simulator.DefaultReadLag
	calls, took := 0, time.Duration(0)
	for i := range n {
		before, seen := l.provisioner.calls(), len(l.provisioner.cloud.Requests())
		once := l.live(t, fmt.Sprintf("pvc-%d", i))
		time.Sleep(l.between(time.Second, 2*time.Minute))
		cost, planned := l.provisioner.calls()-before, budget
		if i == 0 {
			planned++ // the first create of a process looks at the other kind of storage as well
		}
		if cost > planned {
			var order []string
			for _, r := range l.provisioner.cloud.Requests()[seen:] {
				order = append(order, fmt.Sprintf("%s %s", r.Began.Format("04:05.00"), r.Operation))
			}
			t.Errorf("life %d cost %d calls, %d are planned:\n%s", i, cost, planned, strings.Join(order, "\n"))
		}
		calls, took = calls+cost, took+once
	}
	perLife, ratio := float64(calls)/float64(n), took.Seconds()/float64(n)/ideal.Seconds()
	t.Logf("%.2f calls a life, the driver's calls took %.3f times the platform's delays and the lag of reads", perLife, ratio)
	if ratio > 1.1 {
		t.Errorf("the driver's calls took %.2f times what the platform and its reads take", ratio)
	}
	if perLife > float64(budget)-0.5 {
		t.Errorf("%.2f calls a life", perLife)
	}
}

// TestBudgetOfALife: reads lag by a second, and a life costs no more calls than planned whatever the phase: the list that
// shows no volume of the name, four orders, three waits, and the looks before the detach and before the delete are 10. One
// more is for the look for a duplicate when no other list comes at its time, or for a wait that ended just too early.
// A fresh process keeps it as well as one that has run for long, but for a list of the other kind of storage at its first create.
func TestBudgetOfALife(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pods   int
		pod    time.Duration
		budget int
	}{
		"one leader":              {1, 20 * time.Second, 11},
		"two leaders":             {2, 20 * time.Second, 11},
		"two leaders, long lives": {2, 5 * time.Minute, 12},
	} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, %d", name, seed), func(t *testing.T) {
				t.Parallel()
				inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
					l := lifeOf{provisioner: r, attacher: r, node: r.instance("node-1"), random: rand.New(rand.NewPCG(seed, 8)), pod: c.pod}
					if c.pods == 2 {
						l.attacher = newRigInBubble(t, r.cloud)
					}
					time.Sleep(l.between(0, time.Minute))
					l.lives(t, 50, c.budget)
				})
			})
		}
	}
}
