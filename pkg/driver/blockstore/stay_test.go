package blockstore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// settled checks where the volume is in truth, now and after everything that is under way.
func (r *rig) settled(id, instance string) {
	r.t.Helper()
	for range 2 {
		if now := r.attachedTo(id); now != instance {
			r.t.Errorf("volume %s is at %q, not at %q", id, now, instance)
		}
		time.Sleep(time.Minute) // of the fake clock
	}
}

// TestAttachAfterAKilledDetach: a controller was killed while its detach was under way, at any time of it, and its
// successor attaches the volume to the same instance. It must not take what is still shown for its own success.
func TestAttachAfterAKilledDetach(t *testing.T) {
	for _, later := range []time.Duration{0, time.Second, 3 * time.Second, 4500 * time.Millisecond, 6 * time.Second} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			v, instance := r.create("pvc-1"), r.instance("node-1")
			r.mustAttach(v.ID, instance)
			next := r.another()
			if err := r.api.DetachVolume(t.Context(), v.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(later) // of the fake clock
			next.mustAttach(v.ID, instance)
			r.settled(v.ID, instance)
		})
	}
}

// TestAttachWithoutAnswerAfterAKilledDetach: the same, and the successor's first attach gets no answer. That it shows at the
// instance afterwards does not prove that this attach brought it there.
func TestAttachWithoutAnswerAfterAKilledDetach(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		next := r.another()
		if err := r.api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		r.cloud.Fault(simulator.Fault{Operation: "attach_block", Action: simulator.FaultResetBefore, Times: 1})
		if err := next.repeat(2*time.Minute, func(ctx context.Context) error {
			_, err := next.Attach(ctx, v.ID, instance)
			return err
		}); err != nil {
			t.Error(err)
		}
		r.settled(v.ID, instance)
	})
}

// TestAttachAfterAKilledSlowDetach: the same with a detach that takes most of the time that one may take.
func TestAttachAfterAKilledSlowDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delays := simulator.DefaultDelays()
		delays.Detach = 25 * time.Second
		cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{Delays: delays}})
		t.Cleanup(func() { time.Sleep(5 * time.Minute) }) // of the fake clock: what is to be looked at later is
		addController(cloud)
		first := (&rig{cloud: cloud, t: t}).another()
		v, instance := first.create("pvc-1"), first.instance("node-1")
		first.mustAttach(v.ID, instance)
		if err := first.api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		next := first.another()
		// Each call is too short to see the end of it, and goes on where the one before was cut off.
		began := time.Now()
		if err := next.repeat(time.Minute, func(ctx context.Context) error {
			_, err := next.Attach(ctx, v.ID, instance)
			if time.Since(began) < delays.Detach && (err == nil || !strings.Contains(err.Error(), "stays at instance "+instance)) {
				t.Errorf("after %s: got %v", time.Since(began), err)
			}
			return err
		}); err != nil {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		next.settled(v.ID, instance)
	})
}

// TestAttachUnseenAfterAKilledDetach: the same when reads are so old that they do not show the volume at the instance yet: the
// attach that the platform says was made before is another process's, and its detach may be under way.
func TestAttachUnseenAfterAKilledDetach(t *testing.T) {
	delays := simulator.DefaultDelays()
	delays.Detach = 25 * time.Second
	testcloud.Bubble(t, simulator.Config{Delays: delays, ReadLags: keepsThePast}, 5*time.Minute, func(t *testing.T, cloud *simtest.Cloud) {
		addController(cloud)
		r := (&rig{cloud: cloud, t: t}).another()
		v, instance := r.create("pvc-1"), r.instance("node-1")
		time.Sleep(time.Minute) // of the fake clock
		if err := r.api.AttachVolume(t.Context(), v.ID, instance); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delays.Attach + time.Second) // of the fake clock
		if err := r.api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		r.lag(simulator.ReadLags{"blocks": 10 * time.Second})
		r.another().mustAttach(v.ID, instance)
		time.Sleep(delays.Attach + time.Second) // of the fake clock: reads as old as these show the attach that follows too early
		r.settled(v.ID, instance)
	})
}

// TestForeignAttachIsNotOwned: however often a publish is repeated while another process's attach does not show.
func TestForeignAttachIsNotOwned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second}
		l.order("v", attaching, "one")
		if !l.isOwn("v", "one") || l.isOwn("v", "two") {
			t.Error("what this process ordered is not its own, or to another instance")
		}
		l.join("v", "one")
		if !l.isOwn("v", "one") {
			t.Error("asked again it is not its own any more")
		}
		l.join("v", "two")
		l.join("v", "two")
		if l.isOwn("v", "two") || l.attachUnderWay("v", "two") != overdueAfter {
			t.Error("another process's attach counts as own, or not as under way")
		}
		l.saw(at("v", "two"), time.Now())
		if left := l.leaving("v", "two"); left != l.window {
			t.Errorf("what came by it may be detached for %s", left)
		}
		l.order("v", attaching, "one")
		l.saw(at("v", "one"), time.Now())
		if left := l.leaving("v", "one"); left != 0 {
			t.Errorf("what came by an own one may be detached for %s", left)
		}
	})
}

// TestAttachOfAnotherProcess: volumes whose attach a killed controller saw to are waited for by its successor, all
// together, once, and holding up nobody. Later ones cost nothing.
func TestAttachOfAnotherProcess(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		const n = 12
		instance, fresh := r.instance("node-1"), r.create("pvc-new")
		var ids []string
		for i := range n {
			ids = append(ids, r.create(fmt.Sprintf("pvc-%d", i)).ID)
			r.mustAttach(ids[i], instance)
		}
		next := r.another()
		lists, attaches, began := r.cloud.Count("list_blocks"), r.cloud.Count("attach_block"), time.Now()
		done := make(chan error, n)
		for _, id := range ids {
			go func() {
				_, err := next.Attach(t.Context(), id, instance)
				done <- err
			}()
		}
		time.Sleep(time.Second) // of the fake clock: they are waiting
		next.mustAttach(fresh.ID, instance)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("another attach to the instance took %s", took)
		}
		for range n {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		window := next.opts.AttachWindow
		if took := time.Since(began); took < window || took > window+5*time.Second {
			t.Errorf("they took %s, an order may take %s", took, window)
		}
		if g, a := r.cloud.Count("list_blocks")-lists, r.cloud.Count("attach_block")-attaches; g > 50 || a != n+1 {
			t.Errorf("%d volumes cost %d lists and %d attaches", n, g, a)
		}
		before := r.cloud.Count("list_blocks") + r.cloud.Count("attach_block")
		for _, id := range ids {
			next.mustAttach(id, instance)
		}
		if n := r.cloud.Count("list_blocks") + r.cloud.Count("attach_block") - before; n != 0 {
			t.Errorf("repeats cost %d calls", n)
		}
	})
}

// TestOwnAttachIsKnown: an attach of this process that was cut off while it was under way, or whose answer was lost, is not
// waited for any longer than it takes.
func TestOwnAttachIsKnown(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		instance := r.instance("node-1")
		for name, cut := range map[string]func(id string){
			"cut off early": func(id string) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := r.Attach(ctx, id, instance); err == nil {
					t.Error("the attach is over too early for this test")
				}
			},
			"without an answer": func(id string) {
				r.cloud.Fault(simulator.Fault{Operation: "attach_block", Action: simulator.FaultResetAfter, Times: 1})
				if _, err := r.Attach(t.Context(), id, instance); err == nil {
					t.Error("the attach has an answer")
				}
			},
		} {
			for _, later := range []time.Duration{0, 10 * time.Second} {
				if name == "without an answer" && later > 0 {
					continue // by then nobody can tell whose attach it was
				}
				v := r.create("pvc-" + name + later.String())
				cut(v.ID)
				time.Sleep(later) // of the fake clock
				began := time.Now()
				r.mustAttach(v.ID, instance)
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("%s, %s later: it took %s", name, later, took)
				}
			}
		}
	})
}

// TestAttachOfAnotherProcessIsKnown: who has seen a volume at the instance for long enough need not wait for it.
func TestAttachOfAnotherProcessIsKnown(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		next := r.another()
		for range 4 {
			if _, err := next.whereIs(t.Context(), v.ID, 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep((next.opts.AttachWindow - 10*time.Second) / 4) // of the fake clock
		}
		began := time.Now()
		next.mustAttach(v.ID, instance)
		if took := time.Since(began); took < 9*time.Second || took > 15*time.Second {
			t.Errorf("with ten seconds left it took %s", took)
		}
	})
}

// TestAttachThatIsMovedMeanwhile: while the successor makes sure that the volume stays, somebody moves it.
func TestAttachThatIsMovedMeanwhile(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, here, there := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
		r.mustAttach(v.ID, here)
		next, done := r.another(), make(chan error, 1)
		go func() {
			_, err := next.Attach(t.Context(), v.ID, here)
			done <- err
		}()
		time.Sleep(5 * time.Second) // of the fake clock: it waits
		if err := r.Detach(t.Context(), v.ID, here); err != nil {
			t.Fatal(err)
		}
		_, other := r.Attach(t.Context(), v.ID, there) // the two race
		err := <-done
		for _, b := range r.cloud.Sim.View().Blocks {
			switch {
			case b.AttachedTo == here && (err != nil || volume.ReasonOf(other) != volume.InUse):
				t.Errorf("it is here, and the answers are %v, %v", err, other)
			case b.AttachedTo != here && (other != nil || volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), there)):
				t.Errorf("it is at %q, and the answers are %v, %v", b.AttachedTo, err, other)
			}
		}
	})
}

// TestRepeatIsNotAnsweredByAnOldRead: lists are seconds old, and somebody else took the volume away a moment ago. A
// repeat of the attach is not answered by what they show.
func TestRepeatIsNotAnsweredByAnOldRead(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 8 * time.Second}, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		time.Sleep(time.Minute) // of the fake clock
		if err := r.another().api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		r.await("the detach", func() bool { return r.attachedTo(v.ID) == "" })
		r.mustAttach(v.ID, instance)
		r.settled(v.ID, instance)
	})
}

// TestAcceptedAndUnseen: a controller that was just started attaches what reads do not show yet. What the
// platform accepts an order for is not "not found".
func TestAcceptedAndUnseen(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": time.Minute}, func(t *testing.T, r *rig) {
		v, err := r.api.CreateVolume(t.Context(), vultr.VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
		if err != nil {
			t.Fatal(err)
		}
		instance, next := r.instance("node-1"), r.another()
		time.Sleep(10 * time.Second) // of the fake clock: it is active
		if _, err := next.Attach(t.Context(), v.ID, instance); volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), v.ID) {
			t.Errorf("got %v", err)
		}
		if n := r.cloud.Count("attach_block"); n != 1 {
			t.Errorf("%d attaches were sent", n)
		}
		if err := next.repeat(3*time.Minute, func(ctx context.Context) error {
			_, err := next.Attach(ctx, v.ID, instance)
			return err
		}); err != nil {
			t.Error(err)
		}
		next.settled(v.ID, instance)
	})
}

// TestAttachLooksLast: no look succeeds while the successor makes sure that the volume stays, but the last one, and by then
// the volume is gone.
func TestAttachLooksLast(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		next, done := r.another(), make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := next.Attach(t.Context(), v.ID, instance)
			done <- err
		}()
		time.Sleep(time.Second) // of the fake clock: it has looked once, and waits
		outage := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStatus, Status: 500})
		if err := r.api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(began.Add(next.opts.AttachWindow - 50*time.Millisecond))) // of the fake clock
		r.cloud.Sim.RemoveFault(outage)
		if err := <-done; err != nil {
			t.Errorf("got %v", err)
		}
		r.settled(v.ID, instance)
	})
}

// TestLeaving: until this process has seen a volume at an instance for the whole window, or has seen it come, a detach
// from there may be under way.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second, unseen: time.Minute}
		at := func(instance string) disk {
			d := disk{Volume: volume.Volume{ID: "v"}}
			if instance != "" {
				d.AttachedTo = []string{instance}
			}
			return d
		}
		want := func(what, instance string, left time.Duration) {
			t.Helper()
			if got := l.leaving("v", instance); got != left {
				t.Errorf("%s: %s, want %s", what, got, left)
			}
		}
		want("never seen", "one", 30*time.Second)
		l.saw(at(""), time.Now())
		want("seen free", "one", 30*time.Second)
		l.saw(at("one"), time.Now())
		want("seen there first", "one", 30*time.Second)
		want("seen elsewhere", "two", 30*time.Second)
		for range 2 {
			time.Sleep(10 * time.Second) // of the fake clock
			l.saw(at("one"), time.Now())
		}
		want("seen there all the time", "one", 10*time.Second)
		want("seen elsewhere", "two", 30*time.Second)
		time.Sleep(11 * time.Second) // of the fake clock
		l.saw(at("one"), time.Now())
		want("seen there again after a gap", "one", 30*time.Second)
		time.Sleep(20 * time.Second) // of the fake clock
		l.saw(at("one"), time.Now())
		want("asked before", "one", 10*time.Second)
		l.saw(at(""), time.Now())
		l.saw(at("one"), time.Now())
		want("seen there after that", "one", 30*time.Second)
		time.Sleep(time.Minute) // of the fake clock
		want("asked so long ago that another one may have led since", "one", 30*time.Second)
		l.order("v", detaching, "one")
		want("detached by this process", "one", 30*time.Second)
		l.saw(at(""), time.Now())
		l.order("v", attaching, "one")
		want("attached by this process, unseen", "one", 30*time.Second)
		l.saw(at("one"), time.Now())
		want("attached by this process", "one", 0)
		time.Sleep(10 * time.Minute) // of the fake clock
		l.saw(at("one"), time.Now())
		want("attached by this process, and another may have led since", "one", 30*time.Second)
	})
}

// TestAttachAfterAnotherLeader: this process attached the volume; another one led for some seconds meanwhile, ordered a
// detach, and died before that was carried out.
func TestAttachAfterAnotherLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delays := simulator.DefaultDelays()
		delays.Detach = 25 * time.Second
		cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{Delays: delays}})
		t.Cleanup(func() { time.Sleep(5 * time.Minute) }) // what is under way ends
		addController(cloud)
		r := (&rig{cloud: cloud, t: t}).another()
		other := r.another()
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		time.Sleep(3 * time.Minute) // of the fake clock
		killed, kill := context.WithTimeout(t.Context(), 2*time.Second)
		defer kill()
		if err := other.Detach(killed, v.ID, instance); err == nil {
			t.Fatal("the detach is over")
		}
		time.Sleep(15 * time.Second) // as long as a lease lasts
		r.mustAttach(v.ID, instance)
		time.Sleep(time.Minute) // of the fake clock
		if at := r.attachedTo(v.ID); at != instance {
			t.Errorf("after the publish it is at %q", at)
		}
	})
}

// TestAttachAfterTheLeadCameBack: a controller's attach is cut off when it loses the lead, its successor orders the detach and
// loses the lead as well. What the first one sees then is its own attach, and does not stay.
func TestAttachAfterTheLeadCameBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		cutOff, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		_, err := r.Attach(cutOff, v.ID, instance)
		cancel()
		if err == nil {
			t.Fatal("the attach was over too early for this test")
		}
		time.Sleep(24 * time.Second) // of the fake clock
		if err := r.another().api.DetachVolume(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // of the fake clock: the detach is under way
		r.mustAttach(v.ID, instance)
		r.settled(v.ID, instance)
	})
}

// TestDetachAfterTheLeadCameBack: the other way round. A controller's detach is cut off when it loses the lead, its successor
// orders an attach and loses the lead as well. That the first one finds its own detach done does not make the volume free.
func TestDetachAfterTheLeadCameBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		cutOff, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		err := r.Detach(cutOff, v.ID, instance)
		cancel()
		if err == nil {
			t.Fatal("the detach was over too early for this test")
		}
		time.Sleep(24 * time.Second) // of the fake clock
		if err := r.another().api.AttachVolume(t.Context(), v.ID, instance); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // of the fake clock: the attach is under way
		if err := r.Detach(t.Context(), v.ID, instance); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // of the fake clock
		r.settled(v.ID, "")
	})
}
