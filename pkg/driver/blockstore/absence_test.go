package blockstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestNoCreateWhileTheKeyChanges: by which key it was found that nothing has a name is by which a volume of it is made.
func TestNoCreateWhileTheKeyChanges(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		if err := r.mayCreate(t.Context(), "pvc-1", r.api.KeySince()); err != nil {
			t.Error(err)
		}
		before := r.api.KeySince().Add(-time.Second)
		if err := r.mayCreate(t.Context(), "pvc-1", before); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %v", err)
		}
	})
}

// TestInstanceIsNotFoundOnce: another process ordered an attach that no read shows yet, and a single read of the instance says
// 404. The instance is not taken for gone, and the attach is waited for.
func TestInstanceIsNotFoundOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		next := r.another()
		time.Sleep(2 * time.Minute) // of the fake clock
		ctx, cut := context.WithTimeout(t.Context(), time.Second)
		defer cut()
		if _, err := r.another().Attach(ctx, v.ID, instance); err == nil {
			t.Fatal("the attach was over too early for this test")
		}
		r.cloud.Fault(simulator.Fault{Operation: "get_instance", Action: simulator.FaultStatus, Status: 404})
		if err := next.Detach(t.Context(), v.ID, instance); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the fake clock
		if now := r.attachedTo(v.ID); now != "" {
			t.Errorf("the detach answered success and the volume is at %q", now)
		}
	})
}

// blank has no read show a volume.
func (r *rig) blank() {
	r.cloud.Fault(simulator.Fault{Operation: "get_block", Action: simulator.FaultStatus, Status: 404})
	r.cloud.Fault(simulator.Fault{
		Operation: "list_blocks", Action: simulator.FaultStatus, Status: 200,
		Body: `{"blocks":[],"meta":{"total":0,"links":{"next":"","prev":""}}}`,
	})
}

// TestChangesAreAnsweredNotFound: a change is answered 404, once, and reads show the volume and the instance. Nobody is told that
// one of them does not exist: the resizer would take the expansion for impossible.
func TestChangesAreAnsweredNotFound(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create(claimed), r.instance("node-1")
		time.Sleep(time.Minute) // of the fake clock
		for _, c := range []struct {
			what, operation string
			call            func() error
		}{
			{"attach", "attach_block", func() error {
				_, err := r.Attach(t.Context(), v.ID, instance)
				return err
			}},
			{"expand", "update_block", func() error {
				_, _, err := r.Expand(t.Context(), v.ID, volume.Capacity{Required: 20 * volume.GiB})
				return err
			}},
			{"modify", "update_block", func() error { return r.Modify(t.Context(), v.ID, map[string]string{"label": "x"}) }},
		} {
			r.cloud.Fault(simulator.Fault{Operation: c.operation, Action: simulator.FaultStatus, Status: 404, Times: 1})
			if err := c.call(); volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), v.ID) {
				t.Errorf("%s: got %v", c.what, err)
			}
			if err := c.call(); err != nil {
				t.Errorf("%s, repeated: %v", c.what, err)
			}
		}
	})
}

// TestListsThatProveNothing: a list counts what it does not show, as one of a part of the platform that knows nothing. That passes:
// the provisioner and the snapshotter would take another answer for the proof that nothing was made before.
func TestListsThatProveNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		time.Sleep(time.Minute) // of the fake clock: no list is so new that it would do
		for operation, field := range map[string]string{"list_blocks": "blocks", "list_block_snapshots": "snapshots"} {
			r.cloud.Fault(simulator.Fault{
				Operation: operation, Action: simulator.FaultStatus, Status: 200,
				Body: `{"` + field + `":[],"meta":{"total":7,"links":{"next":"","prev":""}}}`,
			})
		}
		for what, call := range map[string]func() error{
			"create":            func() error { _, err := r.another().Create(t.Context(), specOf("pvc-2")); return err },
			"list":              func() error { _, err := r.List(t.Context(), 0); return err },
			"list snapshots":    func() error { _, err := r.Snapshots(t.Context(), 0); return err },
			"delete snapshot":   func() error { return r.DeleteSnapshot(t.Context(), v.ID) },
			"health of volumes": func() error { _, err := r.ExamineAll(t.Context(), 0); return err },
		} {
			if err := call(); volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), "counts 7") {
				t.Errorf("%s: got %v", what, err)
			}
		}
		if left := r.named("pvc-2"); len(left) != 0 {
			t.Errorf("made was %s", left)
		}
	})
}

// TestDetachWhenReadsGoBlank: the volume was shown, the detach had to wait for its turn, and by then no read shows it.
func TestDetachWhenReadsGoBlank(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		time.Sleep(5 * time.Minute) // of the fake clock
		turn, err := r.orders.Enter(t.Context(), instance)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(5*time.Second, func() {
			r.blank()
			turn.Leave()
		})
		if err := r.Detach(t.Context(), v.ID, instance); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %v, attached to %q", err, r.attachedTo(v.ID))
		}
	})
}

// TestDetachOfWhatVanishes: the volume was shown, a detach is answered 404, and no read shows it any more. That is a
// contradiction and no proof that it is detached.
func TestDetachOfWhatVanishes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		time.Sleep(5 * time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "detach_block", Action: simulator.FaultStatus, Status: 404, Times: 1})
		time.AfterFunc(500*time.Millisecond, r.blank)
		if err := r.Detach(t.Context(), v.ID, instance); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %v, attached to %q", err, r.attachedTo(v.ID))
		}
		time.Sleep(time.Minute) // of the fake clock
		// Now it is detached, and the platform's answer to another detach tells no more than that it exists.
		if err := r.another().Detach(t.Context(), v.ID, instance); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("while no read shows it: %v", err)
		}
		r.cloud.Sim.ClearFaults()
		if err := r.Detach(t.Context(), v.ID, instance); err != nil || r.attachedTo(v.ID) != "" {
			t.Errorf("got %v, attached to %q", err, r.attachedTo(v.ID))
		}
	})
}

// TestTakenBackDespiteNotFound: what was made wrongly is deleted although the first delete is answered 404.
func TestTakenBackDespiteNotFound(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id := r.byHand(requestOf("pvc-1"))
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "delete_block", Action: simulator.FaultStatus, Status: 404, Times: 1})
		wrong := errors.New("it is wrong")
		if err := r.takeBack(t.Context(), "pvc-1", made{id: id, at: time.Now(), wrong: wrong}); !errors.Is(err, wrong) {
			t.Error(err)
		}
		if left := r.named("pvc-1"); len(left) != 0 {
			t.Errorf("left is %s", left)
		}
	})
}

// TestDeletedDespiteNotFoundAfterNoAnswer: a 404 proves no more after an attempt that may have deleted the volume.
func TestDeletedDespiteNotFoundAfterNoAnswer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		time.Sleep(2 * time.Minute) // of the fake clock
		for i, f := range []simulator.Fault{{Action: simulator.FaultResetBefore}, {Action: simulator.FaultStatus, Status: 404}} {
			f.Operation, f.Nth, f.Times = "delete_block", i+1, 1
			r.cloud.Fault(f)
		}
		if err := r.Delete(t.Context(), v.ID); err != nil {
			t.Error(err)
		}
		if left := r.named("pvc-1"); len(left) != 0 {
			t.Errorf("left is %s", left)
		}
	})
}

// TestTwinIsRemovedDespiteNotFound: the same of a volume that was made beside another one.
func TestTwinIsRemovedDespiteNotFound(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		kept := r.create("pvc-1")
		twin := r.another().byHand(requestOf("pvc-1"))
		r.cloud.Fault(simulator.Fault{Operation: "delete_block", Action: simulator.FaultStatus, Status: 404, Times: 1})
		time.Sleep(3 * time.Minute) // its name is looked at again
		if left := r.named("pvc-1"); len(left) != 1 || left[0] != kept.ID {
			t.Errorf("left are %s, kept is %s, its twin %s", left, kept.ID, twin)
		}
	})
}

// What this process saw of a volume long ago does not hold up the detach of one that was deleted since, however often that
// is repeated: sidecars change their leaders while the drivers beside them live on.
func TestDetachOfDeletedAfterLeaderChanges(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, a, b := r.create("pvc-1"), r.instance("a"), r.instance("b")
		r.mustAttach(v.ID, a)
		other := r.another()
		time.Sleep(2 * time.Minute) // of the fake clock
		if err := other.repeat(2*time.Minute, func(ctx context.Context) error { return other.Detach(ctx, v.ID, a) }); err != nil {
			t.Fatal(err)
		}
		other.mustAttach(v.ID, b)
		time.Sleep(time.Minute) // of the fake clock
		for _, order := range []func(context.Context, string) error{
			func(ctx context.Context, id string) error { return r.api.DetachVolume(ctx, id) },
			func(ctx context.Context, id string) error { return r.api.DeleteVolume(ctx, id) },
		} {
			if err := order(t.Context(), v.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // of the bubble's time, until it is carried out
		}
		began := time.Now()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			err := r.Detach(ctx, v.ID, b)
			cancel()
			if err == nil {
				return
			}
			if time.Since(began) > 2*forgetAfter {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute) // shorter than what is seen is remembered
		}
	})
}

// A process that has seen nothing of a volume is asked late to take it from one instance, while it is at another one and
// reads show nothing for some seconds.
func TestBlankReadsTakeNothingUnknown(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, a, b := r.create("pvc-1"), r.instance("a"), r.instance("b")
		r.mustAttach(v.ID, b)
		time.Sleep(time.Minute) // of the fake clock
		fresh := r.another()
		fresh.blank()
		if err := fresh.repeat(20*time.Second, func(ctx context.Context) error { return fresh.Detach(ctx, v.ID, a) }); err == nil {
			t.Error("reads that show nothing for some seconds are believed")
		}
		r.cloud.Sim.ClearFaults()
		time.Sleep(time.Minute) // of the fake clock
		if at := r.attachedTo(v.ID); at != b {
			t.Errorf("the detach from a took the disk from b: it is at %q", at)
		}
	})
}
