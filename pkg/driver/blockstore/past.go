package blockstore

import (
	"maps"
	"time"
)

// Not all reads are equally fresh: one that began later may show less. What this process ordered and saw tells it for some looks that
// they may be of before that.

// order is one that counts as carried out, and may not be.
type order struct {
	what     verb
	instance string
	at       time.Time
	before   time.Time
}

// carriedOut notes that a look as of a time showed the effect of the order. Where the volume was before it is no longer, and a look
// that shows it there is an old one.
func (e *entry) carriedOut(d disk, at, now time.Time, window, gap time.Duration) {
	if e.ordered == detaching && d.IsAttachedTo("") {
		e.before = at // whoever moved it there may have done that before it came here
	}
	e.done, e.doneAt, e.doneSeen = e.ordered, e.instance, time.Time{}
	if e.wasWatched(at, gap) {
		e.doneSeen = now
	}
	if at.Sub(e.before) < window && !e.unsure && !e.foreign {
		e.unproven = &order{what: e.ordered, instance: e.instance, at: e.orderedAt, before: e.before}
	}
	maps.DeleteFunc(e.left, func(_ string, seen time.Time) bool { return now.Sub(seen) > window })
	if e.left == nil {
		e.left = map[string]time.Time{}
	}
	if e.ordered == attaching {
		e.left[""] = at
	} else {
		e.left[e.instance] = at
	}
}

// refutes reports whether the volume is not as it was taken to be after an order whose effect is unproven, which may still come.
func (e *entry) refutes(d disk, now time.Time) bool {
	return e.unproven != nil && d.IsAttachedTo(e.unproven.instance) != (e.unproven.what == attaching) && now.Sub(e.unproven.at) < overdueAfter
}

// reopen has the order that counted as carried out be under way again.
func (e *entry) reopen(now time.Time) {
	o := e.unproven
	e.ordered, e.instance, e.orderedAt, e.before = o.what, o.instance, o.at, o.before
	e.unproven, e.seen, e.done, e.asked = nil, nil, "", time.Time{}
	e.here, e.hereSince = "", now
	delete(e.left, "")
	delete(e.left, o.instance)
}

// refused is told that the platform refused an order as if the one before, to or from the same instance, were not carried out. It
// reports whether that is so by what this process knows: that one counted as carried out by a look that may have been an old one.
func (l *ledger) refused(id string, before verb, instance string) (is bool) {
	l.With(id, func(e *entry, now time.Time) {
		o := e.unproven
		is = e.ordered == "" && o != nil && o.what == before && o.instance == instance && now.Sub(o.at) < overdueAfter
		if is {
			e.reopen(now)
		}
	})
	return is
}

// isAccepted reports whether an attach is under way that the platform accepted: no instance had the volume then.
func (e *entry) isAccepted() bool { return e.ordered == attaching && !e.unsure && !e.foreign }

// lag returns for how long a look may be an old one that shows the volume as it was before an order: before one whose effect was
// seen already, or where it cannot have been any more when the platform accepted an attach. Not all reads are equally fresh. It
// counts from when the end of that was seen: how long an order took says nothing of how old a read can be.
func (l *ledger) lag(e *entry, d disk, now time.Time) time.Duration {
	at := ""
	if d.IsAttachedTo("") {
		at = d.AttachedTo[0]
	}
	ended := e.left[at]
	switch {
	case at == "":
	case e.isAccepted() && at != e.instance:
		ended = e.orderedAt
	case e.done == attaching && at != e.doneAt && e.left[""].After(ended):
		ended = e.left[""]
	}
	if ended.IsZero() {
		return 0
	}
	return max(0, l.window-now.Sub(ended))
}

// late is lag for those who looked.
func (l *ledger) late(d disk) (left time.Duration) {
	l.With(d.ID, func(e *entry, now time.Time) { left = l.lag(e, d, now) })
	return left
}

// past is lag of a look that shows the volume at another instance than the one to which this process ordered it. Who believes it takes
// the volume for free of the instance that has it now, or takes it from there.
func (l *ledger) past(d disk) (left time.Duration) {
	l.With(d.ID, func(e *entry, now time.Time) {
		if d.IsAttachedTo("") && e.done != detaching {
			left = l.lag(e, d, now)
		}
	})
	return left
}

// asKnown returns a volume of a list as this process knows it: the list may be of before an attach or a detach that was
// seen to be done. there is false for one that this process deleted.
func (l *ledger) asKnown(d disk) (known disk, there bool) {
	there = true
	l.Look(d.ID, func(e *entry, now time.Time) {
		there = e.gone.IsZero()
		if l.lag(e, d, now) == 0 {
			return
		}
		d.AttachedTo = nil
		if e.done == attaching {
			d.AttachedTo = []string{e.doneAt}
		}
	})
	return d, there
}
