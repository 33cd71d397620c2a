package blockstore

import (
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/recent"
)

// ledger is what this process knows of single volumes by itself: what it saw of each last, what it ordered since, and
// since when it has dealt with it. It has one rule: to order anything that changes a volume voids what was seen of it,
// and an order counts as under way until its effect is seen or its time is up.
//
// It only spares calls and closes gaps between calls. A process without it, one that was just started, has to look or
// to wait longer, and comes to the same result.
type ledger struct {
	// window is how long an order that was accepted may take to show.
	window time.Duration
	// unseen is how long reads may lack what was created.
	unseen time.Duration

	recent.Memory[string, entry]
}

// verb is what was ordered.
type verb string

const (
	attaching verb = "attach"
	detaching verb = "detach"
)

type entry struct {
	// asked is the first of the detaches in a row that did not find the volume where they are from.
	asked time.Time
	// attended is when this process dealt with the volume last, and unbroken since when there was no gap in that.
	attended, unbroken time.Time
	// made is when this process created it; zero for volumes that it did not create.
	made time.Time
	// gone is when this process deleted it, deleting when it ordered that first.
	gone, deleting time.Time
	// seen is the volume as of the time at, unset while an order may have changed it.
	seen *disk
	at   time.Time
	// ordered is the last order whose effect was not seen, to or from the instance.
	ordered   verb
	instance  string
	orderedAt time.Time
	// before is when the volume was known last to be as the order wants it before the order was given, zero if that is long ago.
	before time.Time
	// done is the order whose effect was seen last, unset if another was given since; doneAt is its instance.
	done     verb
	doneAt   string
	doneSeen time.Time // when its effect was seen, zero if nobody had looked for so long that another one may have led
	// unproven is the order done if what showed its effect may have been a look from before the order.
	unproven *order
	// left has where the volume was, "" for at no instance, with as of when this process saw that it is so no longer. Nowhere it
	// was ordered to since is in it.
	left map[string]time.Time
	// unsure is set if the order may not have been accepted, foreign if it is another process's as far as is known: the platform
	// refused this one's because of it, at joined first.
	unsure, foreign bool
	joined          time.Time
	// watched is the last of the looks that followed upon the order, and upon one another, without a gap.
	watched time.Time
	// here is where looks have shown the volume since hereSince, which followed upon one another without a gap, "" for at no
	// instance. hereSince is zero if this process saw it come. changed is when the volume was shown here first, or was known to come.
	here                string
	hereSince, hereLast time.Time
	changed             time.Time
	// staysAt is the instance at which publishes in a row have found it since staysSince.
	staysAt    string
	staysSince time.Time
	// obeyed is set once an order of this process was seen to take effect.
	obeyed bool
}

const (
	// forgetAfter is how long an entry outlives its last use. It is longer than any of the times that are asked about.
	forgetAfter = recent.ForgetAfter
	// overdueAfter is when an order that was accepted, and whose effect was not seen, counts as lost.
	overdueAfter = 10 * time.Minute
)

// made notes that this process created the volume.
func (l *ledger) made(id string) {
	l.With(id, func(e *entry, now time.Time) { e.made = now })
}

// isMade reports whether this process created the volume.
func (l *ledger) isMade(id string) (is bool) {
	l.With(id, func(e *entry, _ time.Time) { is = !e.made.IsZero() })
	return is
}

// gone notes that this process deleted the volume.
func (l *ledger) gone(id string) {
	l.With(id, func(e *entry, now time.Time) { e.gone, e.seen = now, nil })
}

// lived returns how long it was from when this process was told that it had made the volume until it ordered, at the time deleting, that
// it be deleted: never more than it was between the two on the platform. It is negative for a volume of another process.
func (l *ledger) lived(id string) (lived time.Duration) {
	l.With(id, func(e *entry, _ time.Time) {
		lived = -1
		if !e.made.IsZero() && !e.deleting.IsZero() {
			lived = e.deleting.Sub(e.made)
		}
	})
	return lived
}

// deletes notes that this process is about to order that the volume be deleted.
func (l *ledger) deletes(id string) {
	l.With(id, func(e *entry, now time.Time) {
		if e.deleting.IsZero() {
			e.deleting = now
		}
	})
}

// isGone reports whether this process deleted the volume. The platform gives an ID to one volume only.
func (l *ledger) isGone(id string) (gone bool) {
	l.With(id, func(e *entry, _ time.Time) { gone = !e.gone.IsZero() })
	return gone
}

// young returns for how long reads may still lack the volume, because this process created it a moment ago.
func (l *ledger) young(id string) (left time.Duration) {
	l.With(id, func(e *entry, now time.Time) {
		if !e.made.IsZero() {
			left = max(0, l.unseen-now.Sub(e.made))
		}
	})
	return left
}

// saw notes what the volume was as of a time. A look that does not show what was ordered may have come too early, or
// its answer may be old: the order stays under way.
func (l *ledger) saw(d disk, at time.Time) {
	l.With(d.ID, func(e *entry, now time.Time) {
		l.attend(e, now)
		if e.ordered != "" && at.Before(e.orderedAt) || e.seen != nil && at.Before(e.at) {
			return
		}
		if e.ordered == "" && l.lag(e, d, now) == 0 && e.refutes(d, now) {
			e.reopen(now)
		}
		if l.isInconclusive(e, d, now) {
			if e.wasWatched(at, l.gap()) {
				e.watched = at
			}
			return
		}
		e.stay(d, at, l.gap())
		if e.ordered != "" && e.effect(d) {
			e.carriedOut(d, at, now, l.window, l.gap())
		}
		if e.unproven != nil && at.Sub(e.unproven.before) >= l.window {
			e.unproven = nil
		}
		e.obeyed = e.obeyed || e.ordered != ""
		e.ordered = ""
		e.seen, e.at = &d, at
	})
}

// isInconclusive reports whether a look may have come too early for what was ordered, or be an old one.
func (l *ledger) isInconclusive(e *entry, d disk, now time.Time) bool {
	return e.ordered != "" && now.Sub(e.orderedAt) < l.patience(e) && e.mayComeAfter(d) || l.lag(e, d, now) > 0
}

// patience is how long an order counts as under way whose effect is not seen. One that hangs may be carried out minutes
// later: until then nobody may be told that the volume is attached, or that it is not. Of an attach without an answer most
// likely nothing comes.
func (l *ledger) patience(e *entry) time.Duration {
	if e.ordered == attaching && e.unsure {
		return l.window
	}
	return overdueAfter
}

// mayComeAfter reports whether what was ordered may still take effect after the volume was seen so. An attach cannot if
// another instance has the volume.
func (e *entry) mayComeAfter(d disk) bool {
	if e.ordered == attaching {
		return !d.IsAttachedTo("")
	}
	return d.IsAttachedTo(e.instance)
}

// effect reports whether the volume was seen as the order wants it.
func (e *entry) effect(d disk) bool { return d.IsAttachedTo(e.instance) == (e.ordered == attaching) }

// lately returns the volume if it was seen not longer ago than age and nothing was ordered since.
func (l *ledger) lately(id string, age time.Duration) (d disk, ok bool) {
	l.With(id, func(e *entry, now time.Time) {
		if ok = e.seen != nil && now.Sub(e.at) <= age; ok {
			d = *e.seen
		}
	})
	return d, ok
}

// order notes that an order was or may have been accepted.
func (l *ledger) order(id string, what verb, instance string) {
	l.With(id, func(e *entry, now time.Time) {
		l.attend(e, now)
		if again := e.ordered == what && e.instance == instance; !again {
			e.before = e.left[map[verb]string{attaching: instance, detaching: ""}[what]]
		}
		e.ordered, e.instance, e.orderedAt, e.seen, e.done, e.asked = what, instance, now, nil, "", time.Time{}
		e.here, e.hereSince, e.unsure, e.foreign, e.watched, e.unproven = "", now, false, false, now, nil
		delete(e.left, instance)
		if what == detaching {
			delete(e.left, "")
		}
	})
}

// doubt voids what was seen, before an order is given whose answer may never come.
func (l *ledger) doubt(id string) {
	l.With(id, func(e *entry, _ time.Time) { e.seen = nil })
}

// attachUnderWay returns for how long an attach to the instance, "" for any, that this process ordered may still take
// effect, 0 if none can.
func (l *ledger) attachUnderWay(id, instance string) (left time.Duration) {
	l.With(id, func(e *entry, now time.Time) {
		if e.ordered == attaching && (instance == "" || e.instance == instance) {
			left = max(0, l.patience(e)-now.Sub(e.orderedAt))
		}
	})
	return left
}

// detachUnderWay returns from where and since when a detach is under way that this process ordered: none of its looks
// showed the effect. from is "" if there is none.
func (l *ledger) detachUnderWay(id string) (from string, ordered time.Time) {
	l.With(id, func(e *entry, _ time.Time) {
		if e.ordered == detaching {
			from, ordered = e.instance, e.orderedAt
		}
	})
	return from, ordered
}

// doubtful is asked by a detach from an instance at which the volume was not shown, and returns for how long an attach may still show
// that another process ordered, before it was killed or lost its lease. Whoever is asked to detach what it does not know to
// be attached is asked to undo somebody else's attach. Only an order of its own explains why the volume is not there: a detach, or
// an attach to where it is shown, seen so lately that nobody else can have taken over, ordered an attach and lost the lease again.
// Else the volume has to be found elsewhere or free for the whole window, by one call or by several in a row.
func (l *ledger) doubtful(d disk) (left time.Duration) {
	l.With(d.ID, func(e *entry, now time.Time) {
		own := e.done == detaching || e.done == attaching && d.IsAttachedTo(e.doneAt)
		if own && now.Sub(e.doneSeen) <= l.gap() {
			return
		}
		l.attend(e, now)
		if e.asked.IsZero() || e.asked.Before(e.unbroken) {
			e.asked = now
		}
		left = max(0, l.window-now.Sub(e.asked))
	})
	return left
}

// moved reports whether this process ever ordered the volume to or from an instance, or saw it at one.
func (l *ledger) moved(id string) (moved bool) {
	l.With(id, func(e *entry, _ time.Time) {
		moved = e.obeyed || e.ordered != "" || (e.seen != nil && e.seen.IsAttachedTo(""))
	})
	return moved
}
