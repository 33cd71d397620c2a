package blockstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestAttachments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attachments{window: 30 * time.Second}
		a.ordered("v", "one")
		time.Sleep(10 * time.Second)
		for instance, want := range map[string]time.Duration{"one": 20 * time.Second, "": 20 * time.Second, "two": 0} {
			if got := a.underWay("v", instance); got != want {
				t.Errorf("to %q: under way for %s, want %s", instance, got, want)
			}
		}
		if _, _, ok := a.seenAt("v", "one"); ok {
			t.Error("what was ordered counts as seen")
		}
		a.saw(volume.Volume{ID: "v", AttachedTo: "one"})
		time.Sleep(time.Second)
		if v, ago, ok := a.seenAt("v", "one"); !ok || ago != time.Second || v.ID != "v" || a.underWay("v", "") != 0 {
			t.Errorf("got %+v, %s, %t", v, ago, ok)
		}
		if _, _, ok := a.seenAt("v", ""); ok {
			t.Error("what is attached counts as free")
		}
		a.saw(volume.Volume{ID: "v"})
		if _, _, ok := a.seenAt("v", ""); !ok {
			t.Error("what was seen free does not count as free")
		}
		a.forget("v")
		if _, _, ok := a.seenAt("v", ""); ok {
			t.Error("what was forgotten is known")
		}
		a.ordered("v", "one")
		a.forget("v")
		if a.underWay("v", "one") == 0 {
			t.Error("an attach on its way was forgotten before it was seen")
		}
		time.Sleep(31 * time.Second)
		a.ordered("w", "one")
		if len(a.byID) != 1 {
			t.Errorf("%d entries are left", len(a.byID))
		}
	})
}

// TestAttachRepeatedLater: after the moment in which a repeat costs nothing it costs one look, and what was detached
// meanwhile is attached again.
func TestAttachRepeatedLater(t *testing.T) {
	r := newRig(t)
	v, instance := r.create("pvc-1"), r.cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "ewr"})
	r.attach(v.ID, instance)
	r.age(v.ID, repeatWithin+time.Second)
	gets, attaches := r.cloud.Count("get_block"), r.cloud.Count("attach_block")
	r.attach(v.ID, instance)
	if g, a := r.cloud.Count("get_block")-gets, r.cloud.Count("attach_block")-attaches; g != 1 || a != 0 {
		t.Errorf("it cost %d looks and %d attaches", g, a)
	}
	r.byAnother(func(ctx context.Context, api API) error { return api.DetachVolume(ctx, v.ID) },
		func(v vultr.Volume) bool { return v.AttachedTo == "" }, v.ID)
	r.age(v.ID, repeatWithin+time.Second)
	r.attach(v.ID, instance)
	if now, err := r.Get(t.Context(), v.ID); err != nil || now.AttachedTo != instance {
		t.Errorf("it is attached to %q, %v", now.AttachedTo, err)
	}
}

// TestDeleteLooksUnlessJustDetached: what is known to be free goes stale.
func TestDeleteLooksUnlessJustDetached(t *testing.T) {
	r := newRig(t)
	instance := r.cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "ewr"})
	v := r.create("pvc-1")
	r.attach(v.ID, instance)
	if err := r.Detach(t.Context(), v.ID, instance); err != nil {
		t.Fatal(err)
	}
	attach := func(ctx context.Context, api API) error { return api.AttachVolume(ctx, v.ID, instance) }
	r.byAnother(attach, func(v vultr.Volume) bool { return v.AttachedTo != "" }, v.ID)
	if err := r.Delete(t.Context(), v.ID); err == nil {
		t.Error("the platform did not refuse to delete what is attached")
	}
	r.age(v.ID, freeWithin+time.Second)
	deletes := r.cloud.Count("delete_block")
	if err := r.Delete(t.Context(), v.ID); volume.ReasonOf(err) != volume.InUse {
		t.Errorf("got %v", err)
	}
	if n := r.cloud.Count("delete_block") - deletes; n != 0 {
		t.Errorf("%d deletes were sent for a volume that is attached", n)
	}
}
