package blockstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// detached repeats a detach as the attacher does. Its success has to be true: nobody asks again.
func (r *rig) detached(id, instance string) {
	r.t.Helper()
	if err := r.repeat(3*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, id, instance) }); err != nil {
		r.t.Errorf("it could not be detached: %v", err)
	}
	r.settled(id, "")
}

// slowly runs a test on a cloud that takes its time for an attach or a detach, and keeps the past for reads that lag later.
func slowly(t *testing.T, change func(delays *simulator.Delays), f func(t *testing.T, r *rig)) {
	t.Helper()
	delays := simulator.DefaultDelays()
	change(&delays)
	testcloud.Bubble(t, simulator.Config{Delays: delays, ReadLags: keepsThePast}, 10*time.Minute, func(t *testing.T, cloud *simtest.Cloud) {
		addController(cloud)
		f(t, (&rig{cloud: cloud, t: t}).another())
	})
}

// TestDetachThatHangsAfterAListFromBeforeTheAttach: the process has just seen the volume come, and orders it away, for which the platform
// takes its time. A list from before the attach shows the volume free. Whoever publishes it to the same node again must not be told that
// it is attached: the detach would take it from under the pod.
func TestDetachThatHangsAfterAListFromBeforeTheAttach(t *testing.T) {
	for what, c := range map[string]struct {
		lag   simulator.ReadLags
		pause time.Duration
	}{
		"at once, by reads that lag still":              {simulator.ReadLags{"blocks": 20 * time.Second}, 0},
		"later than reads can lag, by reads that don't": {nil, 40 * time.Second},
	} {
		slowly(t, func(delays *simulator.Delays) { delays.Detach = 3 * time.Minute }, func(t *testing.T, r *rig) {
			v, instance := r.create("pvc-1"), r.instance("node-1")
			time.Sleep(time.Minute) // of the fake clock
			r.mustAttach(v.ID, instance)
			time.Sleep(2 * time.Second) // of the fake clock
			time.AfterFunc(500*time.Millisecond, func() { r.lag(simulator.ReadLags{"blocks": 20 * time.Second}) })
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			if err := r.Detach(ctx, v.ID, instance); err != nil {
				t.Fatalf("%s: no list from before was believed: %v", what, err)
			}
			r.lag(c.lag)
			time.Sleep(c.pause) // of the fake clock
			if err := r.repeat(10*time.Minute, func(context.Context) error {
				long, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // as the manifests have it
				defer cancel()
				_, err := r.Attach(long, v.ID, instance)
				return err
			}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			r.settled(v.ID, instance)
			time.Sleep(3 * time.Minute) // of the fake clock
			r.settled(v.ID, instance)
		})
	}
}

// TestAttachThatHangsAfterAListFromBeforeTheDetach: the other way round. The unpublish that follows finds the volume free, and must not
// be over before the attach has come and is undone.
func TestAttachThatHangsAfterAListFromBeforeTheDetach(t *testing.T) {
	for what, lag := range map[string]simulator.ReadLags{"reads are fresh again": nil, "reads lag still": {"blocks": 25 * time.Second}} {
		slowly(t, func(delays *simulator.Delays) { delays.Attach = 3 * time.Minute }, func(t *testing.T, r *rig) {
			v, instance := r.create("pvc-1"), r.instance("node-1")
			time.Sleep(time.Minute) // of the fake clock
			r.mustAttach(v.ID, instance)
			time.Sleep(time.Minute) // of the fake clock
			if err := r.Detach(t.Context(), v.ID, instance); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // of the fake clock
			time.AfterFunc(500*time.Millisecond, func() { r.lag(simulator.ReadLags{"blocks": 25 * time.Second}) })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := r.Attach(ctx, v.ID, instance); err != nil {
				t.Fatalf("%s: no list from before was believed: %v", what, err)
			}
			r.lag(lag)
			if err := r.repeat(10*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, v.ID, instance) }); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			time.Sleep(5 * time.Minute) // of the fake clock
			r.settled(v.ID, "")
		})
	}
}

// TestReadsFromBeforeASlowMove: the platform takes its time for a detach. Reads that lag show the volume where it was for as long after
// it has left as after a quick one: that is not counted from the order.
func TestReadsFromBeforeASlowMove(t *testing.T) {
	for what, f := range map[string]func(r *rig, id, before, now string){
		"from where it was": func(r *rig, id, before, now string) {
			sent := r.cloud.Count("detach_block")
			err := r.repeat(time.Minute, func(ctx context.Context) error { return r.Detach(ctx, id, before) })
			if n := r.cloud.Count("detach_block") - sent; n != 0 {
				r.t.Errorf("%d detaches were sent (%v), and the volume is at another instance", n, err)
			}
			r.settled(id, now)
		},
		"from where it is": func(r *rig, id, _, now string) { r.detached(id, now) },
	} {
		t.Run(what, func(t *testing.T) {
			slowly(t, func(delays *simulator.Delays) { delays.Detach = 40 * time.Second }, func(t *testing.T, r *rig) {
				v, before, now := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
				r.mustAttach(v.ID, before)
				time.Sleep(time.Minute) // of the fake clock
				if err := r.repeat(2*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, v.ID, before) }); err != nil {
					t.Fatal(err)
				}
				r.mustAttach(v.ID, now)
				time.Sleep(2 * time.Second) // of the fake clock: what was just seen would do
				r.lag(simulator.ReadLags{"blocks": 28 * time.Second})
				f(r, v.ID, before, now)
			})
		})
	}
}

// TestAcceptedAttachAfterADetachByHand: a volume was detached in the console from a node that is lost, and is attached elsewhere at once,
// which the platform accepts. Reads from before are no reason to refuse that, and do not end the order.
func TestAcceptedAttachAfterADetachByHand(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 15 * time.Second}, func(t *testing.T, r *rig) {
		v, before, now := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
		r.mustAttach(v.ID, before)
		time.Sleep(time.Minute) // of the fake clock
		if err := r.another().api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		r.await("the detach by hand", func() bool { return r.attachedTo(v.ID) == "" })
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		switch _, err := r.Attach(ctx, v.ID, now); {
		case err == nil:
			t.Fatal("it was over too early for this test")
		case volume.ReasonOf(err) == volume.InUse:
			t.Errorf("the platform accepted the attach, and the caller is told that somebody has to act: %v", err)
		}
		r.detached(v.ID, now) // the pod was deleted
	})
}

// TestAcceptedAttachOfANewLeader: the same by a process that does not know that its predecessor detached the volume.
func TestAcceptedAttachOfANewLeader(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v, before, now := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
		r.mustAttach(v.ID, before)
		time.Sleep(time.Minute) // of the fake clock
		if err := r.Detach(t.Context(), v.ID, before); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Second) // of the fake clock: another one leads
		next := r.another()
		r.lag(simulator.ReadLags{"blocks": 25 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := next.Attach(ctx, v.ID, now); err == nil {
			t.Fatal("it was over too early for this test")
		}
		next.detached(v.ID, now) // the pod was deleted
	})
}

// TestNewLeaderBelievesNoListFromBeforeAMove: a process knows nothing of a volume. That a list shows it elsewhere proves no more
// than that a list shows it nowhere.
func TestNewLeaderBelievesNoListFromBeforeAMove(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v, before, now := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
		r.mustAttach(v.ID, before)
		time.Sleep(time.Minute) // of the fake clock
		if err := r.Detach(t.Context(), v.ID, before); err != nil {
			t.Fatal(err)
		}
		r.mustAttach(v.ID, now)
		time.Sleep(8 * time.Second) // of the fake clock: another one leads
		next := r.another()
		r.lag(simulator.ReadLags{"blocks": 28 * time.Second})
		next.detached(v.ID, now)
	})
}

// TestNewLeaderBelievesNoOlderListInTheQueue: it has seen the volume at the instance, waits for its turn among other detaches of a drain,
// and the list that is read then is of before the attach.
func TestNewLeaderBelievesNoOlderListInTheQueue(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		time.Sleep(time.Minute) // of the fake clock
		r.mustAttach(v.ID, instance)
		time.Sleep(8 * time.Second) // of the fake clock: another one leads
		next := r.another()
		turn, err := next.orders.Enter(t.Context(), instance)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*time.Second, func() {
			r.lag(simulator.ReadLags{"blocks": 25 * time.Second})
			turn.Leave()
		})
		next.detached(v.ID, instance)
	})
}

// TestFoundFreeBeforeAnotherLed: a detach finds the volume free and is cut off when its process loses the lead. Another one leads, orders
// an attach and loses the lead. That the volume was free before does not count when the first one leads again; as little does it for an
// attach that it was at the instance before another one ordered a detach.
func TestFoundFreeBeforeAnotherLed(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 20 * time.Second}, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		time.Sleep(time.Minute) // of the fake clock
		cutOff, cancel := context.WithTimeout(t.Context(), time.Second)
		err := r.Detach(cutOff, v.ID, instance)
		cancel()
		if err == nil {
			t.Fatal("the detach was over too early for this test")
		}
		time.Sleep(40 * time.Second) // of the fake clock: the other one has waited for the window and was asked to attach it again
		if err := r.another().api.AttachVolume(t.Context(), v.ID, instance); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second) // of the fake clock: it was killed, and this one leads
		r.detached(v.ID, instance)
	})
}

// TestFoundAttachedBeforeAnotherLed is the other way round: a publish finds the volume where another process had attached it.
func TestFoundAttachedBeforeAnotherLed(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 20 * time.Second}, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		time.Sleep(time.Minute) // of the fake clock
		next := r.another()
		cutOff, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := next.Attach(cutOff, v.ID, instance)
		cancel()
		if err == nil {
			t.Fatal("the attach was over too early for this test")
		}
		time.Sleep(40 * time.Second) // of the fake clock
		if err := r.api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second) // of the fake clock: it was killed, and the next one leads again
		if err := next.repeat(3*time.Minute, func(ctx context.Context) error {
			_, err := next.Attach(ctx, v.ID, instance)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		r.settled(v.ID, instance)
	})
}

// TestUnprovenOrders: an effect that a look shows which may be of before the order counts, and the order is under way again when a
// later look or the platform's answer to another order says that it was not carried out.
func TestUnprovenOrders(t *testing.T) {
	bubble := func(name string, f func(t *testing.T, l *ledger)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, &ledger{window: 30 * time.Second}) })
		})
	}
	// detachedBy has a volume be at one, and shown free so long after it came there.
	detachedBy := func(l *ledger, later time.Duration) {
		l.order("v", attaching, "one")
		l.saw(at("v", "one"), time.Now())
		time.Sleep(later) // of the fake clock
		l.order("v", detaching, "one")
		l.saw(at("v"), time.Now())
	}
	bubble("refused", func(t *testing.T, l *ledger) {
		detachedBy(l, 29*time.Second)
		if l.refused("v", attaching, "one") {
			t.Error("an attach that was not ordered is under way")
		}
		if l.refused("v", detaching, "two") {
			t.Error("a detach from two is under way")
		}
		if !l.refused("v", detaching, "one") {
			t.Fatal("the platform says that it is attached, and the detach counts as carried out")
		}
		if from, _ := l.detachUnderWay("v"); from != "one" {
			t.Errorf("a detach is under way from %q", from)
		}
		if l.refused("v", detaching, "one") {
			t.Error("it was under way already")
		}
	})
	bubble("proven by the time of the look", func(t *testing.T, l *ledger) {
		detachedBy(l, 30*time.Second)
		if l.refused("v", detaching, "one") {
			t.Error("no look could be of before any more")
		}
	})
	bubble("proven by a later look", func(t *testing.T, l *ledger) {
		detachedBy(l, 10*time.Second)
		time.Sleep(20 * time.Second) // of the fake clock
		l.saw(at("v"), time.Now())
		if l.refused("v", detaching, "one") {
			t.Error("no look could be of before any more")
		}
	})
	bubble("ordered twice", func(t *testing.T, l *ledger) {
		l.order("v", attaching, "one")
		l.saw(at("v", "one"), time.Now())
		for range 2 {
			l.order("v", detaching, "one")
		}
		l.saw(at("v"), time.Now())
		if !l.refused("v", detaching, "one") {
			t.Error("the detach counts as carried out")
		}
	})
	bubble("refuted by a later look", func(t *testing.T, l *ledger) {
		detachedBy(l, time.Second)
		l.saw(at("v", "one"), time.Now())
		if from, _ := l.detachUnderWay("v"); from != "" {
			t.Error("a look that may be of before has it be under way again")
		}
		time.Sleep(31 * time.Second) // of the fake clock
		l.saw(at("v", "one"), time.Now())
		if from, _ := l.detachUnderWay("v"); from != "one" {
			t.Errorf("it is shown at one, and a detach is under way from %q", from)
		}
	})
	bubble("overdue", func(t *testing.T, l *ledger) {
		detachedBy(l, time.Second)
		for range 20 {
			time.Sleep(30 * time.Second) // of the fake clock
			l.isGone("v")                // it is used, and so not forgotten
		}
		if l.refused("v", detaching, "one") {
			t.Error("it may come for ever")
		}
		l.saw(at("v", "one"), time.Now())
		if from, _ := l.detachUnderWay("v"); from != "" {
			t.Errorf("a detach is under way from %q", from)
		}
	})
	bubble("shown elsewhere", func(t *testing.T, l *ledger) {
		l.order("v", detaching, "one")
		l.saw(at("v", "two"), time.Now())
		if !l.refused("v", detaching, "one") {
			t.Error("it may have been there before it came to one")
		}
	})
	bubble("another order since", func(t *testing.T, l *ledger) {
		detachedBy(l, time.Second)
		l.order("v", attaching, "two")
		if l.refused("v", detaching, "one") {
			t.Error("the platform accepted an attach since")
		}
	})
	bubble("another process's attach since", func(t *testing.T, l *ledger) {
		detachedBy(l, time.Second)
		l.join("v", "two")
		l.saw(at("v", "two"), time.Now())
		if !l.refused("v", detaching, "one") {
			t.Error("that the platform refused one for two proves nothing")
		}
	})
	bubble("an attach", func(t *testing.T, l *ledger) {
		detachedBy(l, time.Minute)
		l.order("v", attaching, "one")
		l.saw(at("v", "one"), time.Now())
		if !l.refused("v", attaching, "one") || l.attachUnderWay("v", "one") == 0 {
			t.Error("the platform says that it is not attached, and the attach counts as carried out")
		}
	})
}
