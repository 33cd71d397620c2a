package blockstore

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

func at(id string, instances ...string) disk {
	return disk{Volume: volume.Volume{ID: id, AttachedTo: instances}, serial: "s"}
}

// TestOrdersAreUnderWayUntilSeen: an order voids what was seen, and counts as under way until a look that was made after
// it shows its effect, or its time is up.
func TestOrdersAreUnderWayUntilSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second}
		l.saw(at("v"), time.Now())
		if _, ok := l.lately("v", 0); !ok {
			t.Error("what was just seen is not known")
		}
		early := time.Now()
		time.Sleep(time.Second) // of the fake clock
		l.order("v", attaching, "one")
		if _, ok := l.lately("v", forgetAfter); ok {
			t.Error("what was seen before an order counts after it")
		}
		time.Sleep(9 * time.Second) // of the fake clock
		l.unsure("v")
		if got := l.attachUnderWay("v", "one"); got != 21*time.Second {
			t.Errorf("without an answer it is under way for %s, want %s", got, 21*time.Second)
		}
		l.With("v", func(e *entry, _ time.Time) { e.unsure = false })
		left := overdueAfter - 9*time.Second
		for instance, want := range map[string]time.Duration{"one": left, "": left, "two": 0} {
			if got := l.attachUnderWay("v", instance); got != want {
				t.Errorf("to %q: under way for %s, want %s", instance, got, want)
			}
		}
		for name, look := range map[string]func(){
			"a look that does not show it yet": func() { l.saw(at("v"), time.Now()) },
			"a look from before the order":     func() { l.saw(at("v", "one"), early) },
			"doubt":                            func() { l.doubt("v") },
		} {
			if look(); l.attachUnderWay("v", "one") == 0 {
				t.Errorf("%s ends the order", name)
			}
			if _, ok := l.lately("v", forgetAfter); ok {
				t.Errorf("%s counts as seen", name)
			}
		}
		l.saw(at("v", "one"), time.Now())
		if d, ok := l.lately("v", 0); !ok || !d.IsAttachedTo("one") || l.attachUnderWay("v", "") != 0 {
			t.Errorf("got %+v, %t", d, ok)
		}
		time.Sleep(2 * time.Second) // of the fake clock
		if _, ok := l.lately("v", time.Second); ok {
			t.Error("what was seen two seconds ago was seen within one")
		}
		l.saw(at("v"), time.Now().Add(-5*time.Second))
		if d, _ := l.lately("v", forgetAfter); !d.IsAttachedTo("one") {
			t.Error("an old look replaced a newer one")
		}

		l.saw(at("w", "one"), time.Now())
		l.saw(at("w"), time.Now().Add(-5*time.Second))
		if d, _ := l.lately("w", forgetAfter); !d.IsAttachedTo("one") {
			t.Error("an old look replaced a newer one, of a volume that was not ordered anywhere")
		}

		l.order("v", detaching, "one")
		l.saw(at("v", "one"), time.Now())
		ordered := time.Now()
		time.Sleep(overdueAfter - time.Second) // of the fake clock
		l.saw(at("v", "one"), time.Now())
		if from, since := l.detachUnderWay("v"); from != "one" || !since.Equal(ordered) {
			t.Errorf("a detach is under way from %q since %s, ordered was one at %s", from, since, ordered)
		}
		time.Sleep(time.Second) // of the fake clock
		l.saw(at("v", "one"), time.Now())
		if from, _ := l.detachUnderWay("v"); from != "" {
			t.Error("a detach is under way for ever")
		}
		if d, ok := l.lately("v", 0); !ok || !d.IsAttachedTo("one") {
			t.Error("after its time the order still hides what is seen")
		}
	})
}

// TestAttachedElsewhereEndsAnAttach: one instance has a volume at a time, so an attach to another one cannot come any more. But
// when the platform accepted an attach no instance had the volume: a look that may be of before is no sign of that.
func TestAttachedElsewhereEndsAnAttach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second}
		comes := func(when, id string, comes bool) {
			t.Helper()
			l.saw(at(id, "two"), time.Now())
			if left := l.attachUnderWay(id, ""); (left > 0) != comes {
				t.Errorf("%s: the attach may come for %s", when, left)
			}
		}
		l.order("v", attaching, "one")
		l.order("w", attaching, "one")
		l.unsure("w")
		l.join("x", "one")
		time.Sleep(time.Second) // of the fake clock
		comes("accepted a second ago", "v", true)
		comes("without an answer", "w", false)
		comes("another process's", "x", false)
		if left := l.past(at("v", "two")); left != 29*time.Second {
			t.Errorf("the look is past for %s", left)
		}
		time.Sleep(28 * time.Second) // of the fake clock
		comes("as long as reads may lag", "v", true)
		time.Sleep(time.Second) // of the fake clock
		comes("later", "v", false)
	})
}

// TestFreeIsDoubtful: a volume that a detach finds free may be about to be attached by somebody else, unless this
// process has just detached it, or it was found free for long enough.
func TestFreeIsDoubtful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second, unseen: time.Minute}
		doubt := func(id, when string, want time.Duration) {
			t.Helper()
			if got := l.doubtful(at(id)); got != want {
				t.Errorf("%s: doubtful for %s, want %s", when, got, want)
			}
		}
		l.made("v")
		l.saw(at("v"), time.Now())
		doubt("v", "a volume of this process that it moved nowhere", 30*time.Second)
		time.Sleep(20 * time.Second) // of the fake clock
		doubt("v", "the next call", 10*time.Second)
		time.Sleep(10 * time.Second) // of the fake clock
		doubt("v", "found free for the whole window", 0)
		time.Sleep(21 * time.Second) // of the fake clock
		doubt("v", "asked again when another one may have led", 30*time.Second)
		for range 2 {
			time.Sleep(15 * time.Second) // of the fake clock
			l.saw(at("v"), time.Now())
		}
		doubt("v", "looked at all the time", 0)

		l.order("v", attaching, "one")
		time.Sleep(time.Second) // of the fake clock
		l.saw(at("v", "one"), time.Now())
		doubt("v", "attached by this process, and free now", 30*time.Second)
		l.order("v", detaching, "one")
		doubt("v", "an own detach that nobody has seen", 30*time.Second)
		time.Sleep(time.Second) // of the fake clock
		l.saw(at("v"), time.Now())
		doubt("v", "detached by this process", 0)
		if !l.moved("v") {
			t.Error("it was moved nowhere")
		}
		l.order("v", attaching, "two")
		l.saw(at("v", "two"), time.Now())
		for instance, want := range map[string]time.Duration{"two": 0, "three": 30 * time.Second} {
			if got := l.doubtful(at("v", instance)); got != want {
				t.Errorf("moved by this process to two, shown at %s: doubtful for %s, want %s", instance, got, want)
			}
		}
		l.order("v", detaching, "two")
		l.saw(at("v"), time.Now())
		time.Sleep(time.Minute) // of the fake clock
		doubt("v", "detached by this process a while ago", 30*time.Second)
		time.Sleep(forgetAfter + 2*time.Minute) // of the fake clock
		if l.doubtful(at("w")); l.Len() != 1 {
			t.Errorf("%d volumes are remembered", l.Len())
		}
	})
}

// TestLooksFromBeforeAMove: a look that shows the volume at an instance which it left at the word of this process, before it was
// ordered elsewhere, is an old one, as long as reads may lag. It ends no order and replaces nothing.
func TestLooksFromBeforeAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second}
		past := func(when string, want map[string]time.Duration) {
			t.Helper()
			for instance, want := range want {
				if got := l.past(at("v", instance)); got != want {
					t.Errorf("%s: a look that shows it at %q is past for %s, want %s", when, instance, got, want)
				}
			}
		}
		move := func(what verb, instance string, shown ...string) {
			l.order("v", what, instance)
			time.Sleep(time.Second) // of the fake clock
			l.saw(at("v", shown...), time.Now())
		}
		move(attaching, "one", "one")
		move(detaching, "one")
		past("detached, and ordered nowhere", map[string]time.Duration{"one": 0, "two": 0})
		move(attaching, "two", "two")
		past("moved once", map[string]time.Duration{"one": 30 * time.Second, "two": 0, "three": 30 * time.Second})
		move(detaching, "two")
		l.order("v", attaching, "three")
		past("on its way", map[string]time.Duration{"one": 30 * time.Second, "two": 30 * time.Second, "three": 0})
		l.saw(at("v", "two"), time.Now())
		if l.attachUnderWay("v", "three") == 0 {
			t.Error("a look from before the order ends it")
		}
		if d, there := l.asKnown(at("v", "two")); !there || d.IsAttachedTo("") {
			t.Errorf("by a list from before it is at %s", d.AttachedTo)
		}
		l.saw(at("v", "three"), time.Now())
		l.saw(at("v", "one"), time.Now())
		if d, ok := l.lately("v", 0); !ok || !d.IsAttachedTo("three") {
			t.Errorf("it was seen last at %s", d.AttachedTo)
		}
		if d, _ := l.asKnown(at("v", "one")); !d.IsAttachedTo("three") {
			t.Errorf("by a list from before it is at %s", d.AttachedTo)
		}
		l.order("v", attaching, "one")
		past("ordered back", map[string]time.Duration{"one": 0, "two": 30 * time.Second})
		time.Sleep(30 * time.Second) // of the fake clock
		past("later", map[string]time.Duration{"two": 0})
		// Who sees nothing but the past looks all the same: nobody else leads meanwhile, and what comes is by its order.
		move(attaching, "one", "one")
		move(detaching, "one")
		l.order("v", attaching, "two")
		for range 2 {
			time.Sleep(14 * time.Second) // of the fake clock
			l.saw(at("v", "one"), time.Now())
		}
		time.Sleep(time.Second) // of the fake clock
		l.saw(at("v", "two"), time.Now())
		if left := l.leaving("v", "two"); left != 0 {
			t.Errorf("what came may be detached by another one for %s", left)
		}
	})
}

func TestYoungAndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{unseen: time.Minute}
		if l.young("v") != 0 || l.isGone("v") || l.moved("v") {
			t.Error("an unknown volume is young, gone or moved")
		}
		l.made("v")
		time.Sleep(40 * time.Second) // of the fake clock
		if got := l.young("v"); got != 20*time.Second {
			t.Errorf("young for %s", got)
		}
		time.Sleep(20 * time.Second) // of the fake clock
		if l.young("v") != 0 {
			t.Error("young for ever")
		}
		l.saw(at("v"), time.Now())
		l.gone("v")
		if _, ok := l.lately("v", forgetAfter); ok || !l.isGone("v") {
			t.Error("a deleted volume is still seen")
		}
	})
}

// TestLateLooks: what shows a volume as it was before an order whose effect was seen is an old look, as long as reads may
// lag, and no longer.
func TestLateLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{window: 30 * time.Second}
		l.order("v", attaching, "one")
		time.Sleep(5 * time.Second) // of the fake clock
		l.saw(at("v", "one"), time.Now())
		time.Sleep(5 * time.Second) // of the fake clock
		for _, c := range []struct {
			look disk
			want time.Duration
		}{{at("v"), 25 * time.Second}, {at("v", "one"), 0}, {at("v", "two"), 25 * time.Second}, {at("w"), 0}} {
			if got := l.late(c.look); got != c.want {
				t.Errorf("after an attach, at %s: late for %s, want %s", c.look.AttachedTo, got, c.want)
			}
		}
		l.saw(at("v"), time.Now())
		if d, _ := l.lately("v", forgetAfter); !d.IsAttachedTo("one") {
			t.Error("a late look counts as seen")
		}
		time.Sleep(25 * time.Second) // of the fake clock
		if l.late(at("v")) != 0 {
			t.Error("looks are late for ever")
		}
		l.saw(at("v"), time.Now())
		if d, ok := l.lately("v", forgetAfter); !ok || d.IsAttachedTo("") {
			t.Error("after the time a look does not count")
		}

		l.order("v", attaching, "one")
		l.saw(at("v", "one"), time.Now())
		l.order("v", detaching, "one")
		if l.late(at("v")) != 0 {
			t.Error("a look that shows what was ordered is late")
		}
		time.Sleep(5 * time.Second) // of the fake clock
		l.saw(at("v"), time.Now())
		for _, c := range []struct {
			look disk
			want time.Duration
		}{{at("v"), 0}, {at("v", "one"), 30 * time.Second}, {at("v", "two"), 0}} {
			if got := l.late(c.look); got != c.want {
				t.Errorf("after a detach, at %s: late for %s, want %s", c.look.AttachedTo, got, c.want)
			}
		}
		l.order("v", attaching, "one")
		if l.late(at("v", "one")) != 0 {
			t.Error("a look that shows what was ordered is late")
		}
		time.Sleep(time.Second)           // of the fake clock
		l.saw(at("v", "two"), time.Now()) // by somebody else
		if l.late(at("v")) != 0 {
			t.Error("an order that somebody else prevented makes looks late")
		}
	})
}
