package blockstore

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// lateAttach has the platform answer an attach with 502 and carry it out after a minute and a half. The detach that is asked for
// meanwhile waits for it in vain.
func lateAttach(t *testing.T, do func(r *rig, id, instance string)) {
	t.Helper()
	delays := simulator.DefaultDelays()
	delays.Attach = 90 * time.Second
	testcloud.Bubble(t, simulator.Config{Delays: delays}, 10*time.Minute, func(t *testing.T, cloud *simtest.Cloud) {
		addController(cloud)
		r := (&rig{cloud: cloud, t: t}).another()
		v, instance := r.create("pvc-1"), r.instance("node-1")
		cloud.Fault(simulator.Fault{Operation: "attach_block", Action: simulator.FaultStatusAfter, Status: http.StatusBadGateway, Times: 1})
		if _, err := r.Attach(t.Context(), v.ID, instance); volume.ReasonOf(err) != volume.Busy {
			t.Fatalf("the attach: %v", err)
		}
		if err := r.Detach(t.Context(), v.ID, instance); err != nil {
			t.Fatalf("the detach: %v", err)
		}
		r.await("the attach to be carried out", func() bool { return r.attachedTo(v.ID) == instance })
		time.Sleep(10 * time.Second) // of the fake clock: reads show it
		do(r, v.ID, instance)
	})
}

// TestAttachAfterOneThatCountedAsLost: the volume goes to the instance for which it is asked, and not to stay where nobody asks
// for it.
func TestAttachAfterOneThatCountedAsLost(t *testing.T) {
	lateAttach(t, func(r *rig, id, instance string) {
		other := r.instance("node-2")
		if err := r.repeat(5*time.Minute, func(ctx context.Context) error { _, err := r.Attach(ctx, id, other); return err }); err != nil {
			r.t.Error(err)
		}
		r.settled(id, other)
		if err := r.Detach(r.t.Context(), id, instance); err != nil {
			r.t.Errorf("the detach from there, again: %v", err)
		}
		r.settled(id, other)
	})
}

// TestMadeGoodOnce: the volume is asked for there again, by another process. It is not taken from there a second time.
func TestMadeGoodOnce(t *testing.T) {
	lateAttach(t, func(r *rig, id, instance string) {
		if done, err := r.makeGood(r.t.Context(), id, attachedElsewhere(disk{Volume: volume.Volume{ID: id, AttachedTo: []string{instance}}}, "")); !done || err != nil {
			r.t.Fatal(done, err)
		}
		if err := r.Detach(r.t.Context(), id, instance); err != nil { // asked for again
			r.t.Fatal(err)
		}
		if err := r.another().repeat(5*time.Minute, func(ctx context.Context) error { return r.api.AttachVolume(ctx, id, instance) }); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // of the fake clock
		if _, err := r.Attach(r.t.Context(), id, r.instance("node-2")); volume.ReasonOf(err) != volume.InUse {
			r.t.Errorf("an attach to another one: %v", err)
		}
		r.settled(id, instance)
	})
}

// TestDeleteAfterAnAttachThatCountedAsLost: the volume is deleted.
func TestDeleteAfterAnAttachThatCountedAsLost(t *testing.T) {
	lateAttach(t, func(r *rig, id, _ string) {
		if err := r.repeat(5*time.Minute, func(ctx context.Context) error { return r.Delete(ctx, id) }); err != nil {
			r.t.Error(err)
		}
	})
}

// TestNoDetachIsOwed: what was asked for again where the attach was late, what another process may have attached since, and what
// is elsewhere by now is not taken from there.
func TestNoDetachIsOwed(t *testing.T) {
	refused := func(r *rig, id, at string) {
		r.t.Helper()
		if _, err := r.Attach(r.t.Context(), id, r.instance("node-2")); volume.ReasonOf(err) != volume.InUse {
			r.t.Errorf("an attach to another one: %v", err)
		}
		if err := r.Delete(r.t.Context(), id); volume.ReasonOf(err) != volume.InUse {
			r.t.Errorf("a delete: %v", err)
		}
		r.settled(id, at)
	}
	t.Run("wanted", func(t *testing.T) {
		lateAttach(t, func(r *rig, id, instance string) {
			r.mustAttach(id, instance)
			refused(r, id, instance)
		})
	})
	t.Run("long ago", func(t *testing.T) {
		lateAttach(t, func(r *rig, id, instance string) {
			for range 2 * int(owedFor/time.Minute) {
				time.Sleep(time.Minute / 2) // of the fake clock
				r.ledger.isMade(id)         // what nobody asks about is forgotten
			}
			refused(r, id, instance)
		})
	})
	t.Run("elsewhere", func(t *testing.T) {
		lateAttach(t, func(r *rig, id, _ string) {
			third := r.instance("node-3")
			r.byAnother(id, "", func(ctx context.Context) error { return r.api.DetachVolume(ctx, id) })
			if err := r.api.AttachVolume(r.t.Context(), id, third); err != nil {
				r.t.Fatal(err)
			}
			time.Sleep(2 * time.Minute) // of the fake clock
			refused(r, id, third)
		})
	})
}
