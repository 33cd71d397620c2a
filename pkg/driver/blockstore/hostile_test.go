package blockstore

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestDetachDespiteLateReads: single reads lag behind lists, so right after an attach that a list showed they show the
// volume free. A detach that believes them leaves it attached, and nobody asks again.
func TestDetachDespiteLateReads(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks.get": 20 * time.Second}, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		time.Sleep(time.Minute)
		r.mustAttach(v.ID, instance)
		time.Sleep(3 * time.Second)
		if err := r.repeat(2*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, v.ID, instance) }); err != nil {
			t.Fatal(err)
		}
		if now := r.attachedTo(v.ID); now != "" {
			t.Errorf("the detach answered success and the volume is at %q", now)
		}
	})
}

// keepsThePast has reads be as fresh as ever, and the cloud remember what they show when they lag later.
var keepsThePast = simulator.ReadLags{"load_balancers": 2 * time.Minute}

// lag replaces all lags, nil stands for the usual ones.
func (r *rig) lag(lags simulator.ReadLags) {
	r.t.Helper()
	if err := r.cloud.Sim.SetReadLags(lags); err != nil {
		r.t.Fatal(err)
	}
}

// TestDeleteDespiteLateReads: after a list that showed the volume attached comes one that is older and shows it free. A delete
// that believes it is sent, and only the platform keeps a pod's data.
func TestDeleteDespiteLateReads(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v, instance := r.create("pvc-1"), r.instance("node-1")
		time.Sleep(time.Minute) // of the fake clock
		r.mustAttach(v.ID, instance)
		time.Sleep(5 * time.Second) // of the fake clock
		r.lag(simulator.ReadLags{"blocks": 20 * time.Second})
		if err := r.Delete(t.Context(), v.ID); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %v", err)
		}
		if n := r.cloud.Count("delete_block"); n != 0 {
			t.Errorf("%d deletes were sent", n)
		}
		r.lag(nil)
		if err := r.Detach(t.Context(), v.ID, instance); err != nil {
			t.Fatal(err)
		}
		if err := r.repeat(time.Minute, func(ctx context.Context) error { return r.Delete(ctx, v.ID) }); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDetachByReadsFromBeforeAMove: a volume was just moved, and a list shows it where it was before. A detach from there that
// is asked for again names no instance to the platform, which would take the volume from where it is now; and one from where
// it is now must not count as done.
func TestDetachByReadsFromBeforeAMove(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v, before, now := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
		r.mustAttach(v.ID, before)
		time.Sleep(time.Minute) // of the fake clock
		if err := r.Detach(t.Context(), v.ID, before); err != nil {
			t.Fatal(err)
		}
		r.mustAttach(v.ID, now)
		time.Sleep(2 * time.Second) // of the fake clock: what was just seen would do
		r.lag(simulator.ReadLags{"blocks": 20 * time.Second})
		detaches := r.cloud.Count("detach_block")
		for _, from := range []string{before, now} {
			if err := r.Detach(t.Context(), v.ID, from); volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), before) {
				t.Errorf("the detach from %s: got %v", from, err)
			}
		}
		if n := r.cloud.Count("detach_block") - detaches; n != 0 {
			t.Errorf("%d detaches were sent", n)
		}
		r.settled(v.ID, now)
		r.lag(nil)
		if err := r.repeat(2*time.Minute, func(ctx context.Context) error { return r.Detach(ctx, v.ID, now) }); err != nil {
			t.Error(err)
		}
		r.settled(v.ID, "")
	})
}

// TestAttachByReadsFromBeforeTheDetach: while an attach is waited for, lists show the volume at the instance from which this
// process has just detached it. That is no sign that the attach will not come.
func TestAttachByReadsFromBeforeTheDetach(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v, before, now := r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
		r.mustAttach(v.ID, before)
		time.Sleep(time.Minute) // of the fake clock
		if err := r.Detach(t.Context(), v.ID, before); err != nil {
			t.Fatal(err)
		}
		r.lag(simulator.ReadLags{"blocks": 15 * time.Second})
		r.mustAttach(v.ID, now)
		r.settled(v.ID, now)
	})
}

// moved is a volume that this process has just moved from the one instance to the other. Another one had ordered the detach before:
// this one has learned that detaches are quick, and looks early.
func (r *rig) moved() (v volume.Volume, before, now string) {
	r.t.Helper()
	v, before, now = r.create("pvc-1"), r.instance("node-1"), r.instance("node-2")
	r.mustAttach(v.ID, before)
	time.Sleep(time.Minute) // of the fake clock
	if err := r.another().api.DetachVolume(r.t.Context(), v.ID); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // of the fake clock
	if err := r.Detach(r.t.Context(), v.ID, before); err != nil {
		r.t.Fatal(err)
	}
	r.mustAttach(v.ID, now)
	return v, before, now
}

// TestQueuedDetachByReadsFromBeforeAMove: such a list comes when the detach has waited for its turn. It must not count as done by
// somebody else.
func TestQueuedDetachByReadsFromBeforeAMove(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v, before, now := r.moved()
		turn, err := r.orders.Enter(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*time.Second, func() {
			r.lag(simulator.ReadLags{"blocks": 20 * time.Second})
			turn.Leave()
		})
		if err := r.Detach(t.Context(), v.ID, now); volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), before) {
			t.Errorf("got %v", err)
		}
		r.settled(v.ID, now)
	})
}

// TestDetachWaitsPastReadsFromBeforeAMove: such a list comes while the platform carries out the detach. That the list shows the volume
// at yet another instance does not end the detach, neither for its own call nor for the attach that follows.
func TestDetachWaitsPastReadsFromBeforeAMove(t *testing.T) {
	for what, patience := range map[string]time.Duration{"the detach": time.Minute, "the next attach": time.Second} {
		inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
			v, _, now := r.moved()
			next := r.instance("node-3")
			time.AfterFunc(500*time.Millisecond, func() { r.lag(simulator.ReadLags{"blocks": 20 * time.Second}) })
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := r.Detach(ctx, v.ID, now); (err == nil) != (ctx.Err() == nil) {
				t.Errorf("%s: %v", what, err)
			}
			if at := r.attachedTo(v.ID); ctx.Err() == nil && at != "" {
				t.Errorf("%s: it is done, and the volume is at %s", what, at)
			}
			r.mustAttach(v.ID, next)
			r.settled(v.ID, next)
		})
	}
}

// TestDetachAfterAnotherLeader: a controller that has known the volume for long, and moved it before, leads again a
// moment after another one ordered an attach, which nothing shows yet.
func TestDetachAfterAnotherLeader(t *testing.T) {
	moved := func(r *rig, id, instance string) {
		r.mustAttach(id, instance)
		if err := r.Detach(r.t.Context(), id, instance); err != nil {
			r.t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		history func(r *rig, id, instance string)
		ago     time.Duration
	}{
		"created long ago":                    {func(*rig, string, string) {}, 2 * time.Minute},
		"moved long ago":                      {moved, 2 * time.Minute},
		"moved before another one could lead": {moved, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				v, instance := r.create("pvc-1"), r.instance("node-1")
				c.history(r, v.ID, instance)
				time.Sleep(c.ago)
				ctx, cut := context.WithTimeout(t.Context(), time.Second)
				defer cut()
				if _, err := r.another().Attach(ctx, v.ID, instance); err == nil {
					t.Fatal("the attach was over too early for this test")
				}
				if err := r.Detach(t.Context(), v.ID, instance); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if now := r.attachedTo(v.ID); now != "" {
					t.Errorf("the detach answered success and the volume is at %q", now)
				}
			})
		})
	}
}

// TestCreatedAndDeletedByHand: what was created vanishes before any list showed it. The claim must get another volume,
// however short the calls are.
func TestCreatedAndDeletedByHand(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks.list": 8 * time.Second}, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if v, err := r.Create(ctx, specOf("pvc-1")); err == nil {
			t.Fatalf("got %+v too early for this test", v)
		}
		ids := r.named("pvc-1")
		if err := r.another().api.DeleteVolume(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		v, err := r.repeatCreate(5*time.Minute, specOf("pvc-1"))
		if err != nil {
			t.Fatal(err)
		}
		if left := r.named("pvc-1"); !slices.Equal(left, []string{v.ID}) {
			t.Errorf("got %s, left are %s", v.ID, left)
		}
	})
}

// TestForeignVolumeIsNotTakenBack: a create whose outcome is unknown finds a volume that somebody else has just made
// under the name, of another size. It is not this process's mistake and must stay.
func TestForeignVolumeIsNotTakenBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.create("warm-up")
		other := r.another()
		request := requestOf("data")
		request.SizeGB = 50
		foreign := other.byHand(request)
		r.cloud.Fault(simulator.Fault{Operation: "create_block", Action: simulator.FaultResetBefore, Times: 1})
		spec := specOf("data")
		spec.Capacity = volume.Capacity{Required: 10 * volume.GiB, Limit: 20 * volume.GiB}
		_, err := r.Create(t.Context(), spec)
		if left := r.named("data"); !slices.Equal(left, []string{foreign}) {
			t.Errorf("left are %s, the foreign one was %s", left, foreign)
		}
		if volume.ReasonOf(err) != volume.Exists {
			t.Errorf("got %v", err)
		}
	})
}

// TestChangedWishIsNoMistake: a create is cut off, and the next one of the name asks for something else. What was made
// is right by what it was made for.
func TestChangedWishIsNoMistake(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Create(ctx, specOf("pvc-1")); err == nil {
			t.Fatal("too early for this test")
		}
		made := r.named("pvc-1")
		spec := specOf("pvc-1")
		spec.SizeGiB, spec.Capacity = 20, volume.Capacity{Required: 20 * volume.GiB}
		if _, err := r.Create(t.Context(), spec); volume.ReasonOf(err) != volume.Exists {
			t.Errorf("got %v", err)
		}
		if left := r.named("pvc-1"); len(made) != 1 || !slices.Equal(left, made) {
			t.Errorf("made was %s, left are %s", made, left)
		}
	})
}

// TestNameIsReusedAfterADelete: a volume is deleted at once, and its name created again before the deleted one was
// looked at for twins. The new volume is nobody's twin.
func TestNameIsReusedAfterADelete(t *testing.T) {
	for _, pause := range []time.Duration{0, 9 * time.Second, 11 * time.Second, 11500 * time.Millisecond, 14 * time.Second} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			v := r.create("pvc-1")
			if err := r.Delete(t.Context(), v.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
			again := r.create("pvc-1")
			if n := r.cloud.Count("create_block"); n != 2 {
				t.Errorf("after %s: %d creates were sent", pause, n)
			}
			time.Sleep(2 * time.Minute)
			if left := r.named("pvc-1"); !slices.Equal(left, []string{again.ID}) {
				t.Errorf("after %s: left are %s, the answer was %s", pause, left, again.ID)
			}
		})
	}
}

// TestDeletedIsNotAdopted: reads still show what this process has just deleted when its name is created again.
func TestDeletedIsNotAdopted(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 20 * time.Second}, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		time.Sleep(time.Minute) // of the fake clock: every read shows it
		if err := r.Delete(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		again, err := r.repeatCreate(5*time.Minute, specOf("pvc-1"))
		if err != nil || again.ID == v.ID || !slices.Equal(r.named("pvc-1"), []string{again.ID}) {
			t.Errorf("got %s, %v; deleted was %s, the account has %s", again.ID, err, v.ID, r.named("pvc-1"))
		}
	})
}

// TestWhatIsNoTwinStays: volumes of the same name that another wish made, by their size, type, or age.
func TestWhatIsNoTwinStays(t *testing.T) {
	for what, change := range map[string]func(request *vultr.VolumeRequest){
		"larger":     func(request *vultr.VolumeRequest) { request.SizeGB = 500 },
		"other type": func(request *vultr.VolumeRequest) { request.SizeGB, request.Type = 40, vultr.StorageOpt },
	} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			v := r.create("data")
			request := requestOf("data")
			change(&request)
			foreign := r.another().byHand(request)
			time.Sleep(2 * time.Minute)
			left, both := r.named("data"), []string{v.ID, foreign}
			slices.Sort(both)
			if !slices.Equal(left, both) {
				t.Errorf("%s: left are %s of %s", what, left, both)
			}
		})
	}
	inBubble(t, nil, func(t *testing.T, r *rig) {
		elder := r.byHand(requestOf("data"))
		time.Sleep(2 * time.Second)
		younger := r.byHand(requestOf("data"))
		time.Sleep(time.Hour) // in which it may have been attached, written to and detached
		if v := r.create("data"); v.ID != elder {
			t.Errorf("got %s, the elder is %s", v.ID, elder)
		}
		time.Sleep(2 * time.Minute)
		if left := r.named("data"); !slices.Contains(left, younger) {
			t.Errorf("the younger one, an hour old, was deleted: left are %s", left)
		}
	})
}

// TestOwnIsGivenUpWherever: two controllers choose different regions for one name. What this one made is deleted, since
// nobody was told of it.
func TestOwnIsGivenUpWherever(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks.list": 6 * time.Second}, func(t *testing.T, r *rig) {
		request := requestOf("pvc-1")
		request.Region = "lax"
		elder := r.another().byHand(request)
		time.Sleep(2 * time.Second)
		spec := specOf("pvc-1")
		spec.Regions = []string{"ewr", "lax"}
		v, err := r.Create(t.Context(), spec)
		if err != nil || v.ID != elder {
			t.Errorf("got %+v, %v; the elder is %s", v, err, elder)
		}
		if left := r.named("pvc-1"); !slices.Equal(left, []string{elder}) {
			t.Errorf("left are %s, the elder is %s", left, elder)
		}
	})
}

// TestChecksLeaveNothing: after many creates, one after the other, no check and no timer is left.
func TestChecksLeaveNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		for i := range 100 {
			r.create("pvc-" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
			time.Sleep(2 * time.Second)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if r.twins.timer != nil || len(r.twins.pending) != 0 {
			t.Errorf("%d checks are pending", len(r.twins.pending))
		}
	})
}
