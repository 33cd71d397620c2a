package blockstore

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestJoinedAttachIsWatchedFromTheJoin: an attach that another process ordered a moment before it lost the lead is watched for as
// long as what that process ordered may take to show. All of it was ordered before this process found that out, not before reads
// show the volume.
func TestJoinedAttachIsWatchedFromTheJoin(t *testing.T) {
	for _, before := range []time.Duration{0, time.Second, 3 * time.Second} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			v, instance := r.create("pvc-1"), r.instance("node-1")
			next := r.another()
			if err := r.api.AttachVolume(t.Context(), v.ID, instance); err != nil {
				t.Fatal(err)
			}
			time.Sleep(before) // of the fake clock
			began, orders := time.Now(), r.cloud.Count("attach_block")
			next.mustAttach(v.ID, instance)
			if n := r.cloud.Count("attach_block") - orders; n != 2 {
				t.Errorf("ordered %s before: %d orders, want one that is refused and a last one, to which the platform says how it is", before, n)
			}
			if took, window := time.Since(began), next.opts.AttachWindow; took < window || took > window+2*time.Second {
				t.Errorf("ordered %s before, it took %s, an order may take %s", before, took, window)
			}
			r.settled(v.ID, instance)
		})
	}
}

// TestJoinedAttachThatWasUndone: the process that ordered the attach ordered a detach as well before it lost the lead, and reads show the
// attach just before the window of both is over. The publish must not succeed by what was seen a moment before that.
func TestJoinedAttachThatWasUndone(t *testing.T) {
	for _, lag := range []time.Duration{22 * time.Second, 24 * time.Second, 25 * time.Second, 25500 * time.Millisecond} {
		inBubble(t, simulator.ReadLags{"blocks": lag}, func(t *testing.T, r *rig) {
			v, instance := r.create("pvc-1"), r.instance("node-1")
			time.Sleep(time.Minute) // of the fake clock
			next := r.another()
			if err := r.api.AttachVolume(t.Context(), v.ID, instance); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(6*time.Second, func() {
				if err := r.api.DetachVolume(t.Context(), v.ID); err != nil {
					t.Error(err)
				}
			})
			next.mustAttach(v.ID, instance)
			r.settled(v.ID, instance)
		})
	}
}

// TestJoinCountsFromTheFirst: calls that join an attach one after the other count from the first of them, unless nobody looked
// for so long that another process may have led.
func TestJoinCountsFromTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second}
		want := func(id string, left time.Duration) {
			t.Helper()
			if got := l.leaving(id, "one"); got != left {
				t.Errorf("%s may be detached for %s, want %s", id, got, left)
			}
		}
		l.join("repeated", "one")
		l.join("late", "one")
		l.join("repeated late", "one")
		time.Sleep(5 * time.Second) // of the fake clock
		l.saw(at("repeated"), time.Now())
		l.join("repeated", "one")
		time.Sleep(5 * time.Second) // of the fake clock
		l.saw(at("repeated", "one"), time.Now())
		want("repeated", 20*time.Second)
		if !l.hasJoined("repeated", "one") || l.hasJoined("repeated", "two") || l.hasJoined("another", "one") {
			t.Error("what was joined is not known")
		}

		time.Sleep(11 * time.Second) // of the fake clock
		l.join("repeated late", "one")
		for _, id := range []string{"late", "repeated late"} {
			l.saw(at(id, "one"), time.Now())
			want(id, 30*time.Second)
		}
		l.order("repeated", attaching, "one")
		if l.hasJoined("repeated", "one") {
			t.Error("what this process orders later counts as joined")
		}
	})
}
