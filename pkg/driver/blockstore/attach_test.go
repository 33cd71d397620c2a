package blockstore

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// TestAttachRepeatedLater: after the moment in which a repeat costs nothing it costs one attach, which is refused, and one
// look, and what was detached meanwhile is attached again.
func TestAttachRepeatedLater(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		r.age(v.ID, repeatWithin+time.Second)
		lists, attaches := r.cloud.Count("list_blocks"), r.cloud.Count("attach_block")
		time.Sleep(2 * time.Second) // of the fake clock: no list is new enough
		r.mustAttach(v.ID, instance)
		if g, a := r.cloud.Count("list_blocks")-lists, r.cloud.Count("attach_block")-attaches; g != 1 || a != 1 {
			t.Errorf("it cost %d looks and %d attaches", g, a)
		}
		r.byAnother(v.ID, "", func(ctx context.Context) error { return r.api.DetachVolume(ctx, v.ID) })
		r.age(v.ID, repeatWithin+time.Second)
		r.mustAttach(v.ID, instance)
		if now := r.attachedTo(v.ID); now != instance {
			t.Errorf("it is attached to %q", now)
		}
	})
}

// TestAttachRepeatedInALongQueue: a repeat costs nothing however long other orders to the instance take.
func TestAttachRepeatedInALongQueue(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, other, instance := r.create("pvc-1"), r.create("pvc-2"), r.instance("node-1")
		r.mustAttach(v.ID, instance)
		hold := r.cloud.Hold("attach_block", simulator.FaultHoldBefore)
		done := make(chan error, 1)
		go func() {
			_, err := r.Attach(t.Context(), other.ID, instance)
			done <- err
		}()
		hold.Wait()
		began, before := time.Now(), len(r.cloud.Requests())
		r.mustAttach(v.ID, instance)
		if n := len(r.cloud.Requests()) - before; n != 0 || time.Since(began) > 0 {
			t.Errorf("it took %d calls and %s", n, time.Since(began))
		}
		hold.Release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAttachWaitsForTheOwnDetach: while a detach is under way the platform shows the volume where it was. An attach to
// the same instance must not take that for its own success.
func TestAttachWaitsForTheOwnDetach(t *testing.T) {
	t.Parallel()
	delays := simulator.DefaultDelays()
	delays.Detach = 50 * time.Second // one at the scale of the tests
	cloud := simtest.Start(t, simtest.Options{Config: simulator.Config{Delays: delays}})
	r := newRigOn(t, cloud, cloud.URL)
	r.Store = New(r.api, Options{AttachWindow: patience})
	v, instance := r.create("pvc-1"), r.instance("node-1")
	r.mustAttach(v.ID, instance)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := r.Detach(ctx, v.ID, instance); err == nil {
		t.Fatal("the detach is over too early for this test")
	}
	if now := r.attachedTo(v.ID); now != instance {
		t.Fatalf("the volume is at %q too early for this test", now)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancelShort()
	if _, err := r.Attach(short, v.ID, instance); err == nil {
		t.Fatal("a volume that is being detached counts as attached")
	}
	r.mustAttach(v.ID, instance)
	if n := r.cloud.Count("attach_block"); n != 2 {
		t.Errorf("%d attaches were sent", n)
	}
	if now := r.attachedTo(v.ID); now != instance {
		t.Errorf("the volume is at %q", now)
	}
}

// TestDetachTakesFromNobodyElse: the detach has to be repeated after a refusal for its rate, and meanwhile the volume
// has moved. The order names no instance, so the platform would take it from wherever it is.
func TestDetachTakesFromNobodyElse(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, here, there := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
		r.mustAttach(v.ID, here)
		other := r.another()
		refusal := r.cloud.Fault(simulator.Fault{
			Operation: "detach_block", Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: 20,
		})
		done := make(chan error, 1)
		go func() {
			done <- r.repeat(2*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, v.ID, here) })
		}()
		r.await("the refused detach", func() bool { return r.cloud.Count("detach_block") == 1 })
		r.cloud.Sim.RemoveFault(refusal)
		if err := other.Detach(t.Context(), v.ID, here); err != nil {
			t.Fatal(err)
		}
		other.mustAttach(v.ID, there)
		if err := <-done; err != nil {
			t.Errorf("the volume left the instance, by whomever: %v", err)
		}
		if now := r.attachedTo(v.ID); now != there {
			t.Errorf("the volume is at %q", now)
		}
		if n := r.cloud.Count("detach_block"); n != 2 {
			t.Errorf("%d detaches were sent, the refused one and the other controller's are two", n)
		}
	})
}

// TestDeleteLooks: a delete is not sent for what somebody else has attached meanwhile, also not when it is repeated.
func TestDeleteLooks(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		r.age(v.ID, looksFor+time.Second)
		r.byAnother(v.ID, instance, func(ctx context.Context) error { return r.api.AttachVolume(ctx, v.ID, instance) })
		r.readList() // what was read less than a second ago would do
		if err := r.Delete(t.Context(), v.ID); volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), instance) {
			t.Errorf("got %v", err)
		}
		if n := r.cloud.Count("delete_block"); n != 0 {
			t.Errorf("%d deletes were sent for a volume that is attached", n)
		}

		r.byAnother(v.ID, "", func(ctx context.Context) error { return r.api.DetachVolume(ctx, v.ID) })
		r.age(v.ID, looksFor+time.Second)
		r.readList()
		refusal := r.cloud.Fault(simulator.Fault{
			Operation: "delete_block", Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: 20,
		})
		done := make(chan error, 1)
		go func() { done <- r.Delete(t.Context(), v.ID) }()
		r.await("the refused delete", func() bool { return r.cloud.Count("delete_block") == 1 })
		r.cloud.Sim.RemoveFault(refusal)
		other := r.another() // the refusal holds up all calls of a client
		r.byAnother(v.ID, instance, func(ctx context.Context) error { return other.api.AttachVolume(ctx, v.ID, instance) })
		if err := <-done; volume.ReasonOf(err) != volume.InUse {
			t.Errorf("got %v", err)
		}
		if n := r.cloud.Count("delete_block"); n != 1 {
			t.Errorf("%d deletes were sent", n)
		}
	})
}

// TestRefusedAttach: a refusal without a reason is the limit only if the instance has as many volumes as it can have. Of a
// limit, and of nothing else, the node is told before the refusal is returned.
func TestRefusedAttach(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		instance, attached := r.instance("node-1"), 0
		v := r.create("pvc-1")
		told := ""
		r.opts.LimitReached = func(_ context.Context, instance string, volumes int) { told = fmt.Sprint(instance, " ", volumes) }
		for _, c := range []struct {
			disks int
			text  string
			want  volume.Reason
		}{
			{12, "Unable to attach", volume.InUse},
			{12, "This server has reached its maximum number of disks", volume.Exhausted},
			{mostDisks, "Unable to attach", volume.Exhausted},
		} {
			for ; attached < c.disks; attached++ {
				r.mustAttach(r.create(fmt.Sprintf("pvc-%c", 'a'+attached)).ID, instance)
			}
			id := r.cloud.Fault(simulator.Fault{
				Operation: "attach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"` + c.text + `","status":400}`,
			})
			told = ""
			_, err := r.Attach(t.Context(), v.ID, instance)
			wantTold := map[volume.Reason]string{volume.Exhausted: fmt.Sprint(instance, " ", c.disks)}[c.want]
			if told != wantTold {
				t.Errorf("with %d, %q: told is %q, want %q", c.disks, c.text, told, wantTold)
			}
			if volume.ReasonOf(err) != c.want || !strings.Contains(err.Error(), fmt.Sprintf("%d volumes", c.disks)) {
				t.Errorf("with %d, %q: got %v, want reason %d", c.disks, c.text, err, c.want)
			}
			r.cloud.Sim.RemoveFault(id)
		}
	})
}
