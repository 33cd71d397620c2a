package blockstore

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
)

// stay notes where the volume was seen as of a time. gap is how long nobody may have looked for the process to have led all
// the time.
func (e *entry) stay(d disk, at time.Time, gap time.Duration) {
	instance := ""
	if d.IsAttachedTo("") {
		instance = d.AttachedTo[0]
	}
	switch {
	case e.here != instance:
		e.here, e.hereSince, e.changed = instance, at, at
	case at.Sub(e.hereLast) > gap:
		e.hereSince = at
	}
	e.hereLast = at
	// If nobody looked for longer another one may have led meanwhile, and have ordered the detach of what had come.
	if e.ordered != attaching || !e.effect(d) || e.unsure || !e.wasWatched(at, gap) {
		return
	}
	if !e.foreign {
		e.hereSince = time.Time{}
		return
	}
	// Whatever another process ordered, it had ordered by the time this one joined it: that counts as if a publish had found the
	// volume here since then.
	e.changed = e.joined
	e.staysAt, e.staysSince = instance, e.joined
}

// wasWatched reports whether nobody else can have led between the last look, or the order itself, and a look as of a time. The
// lead is lost and won again in no less than twice the gap, that of a lease (20 s).
func (e *entry) wasWatched(at time.Time, gap time.Duration) bool { return at.Sub(e.watched) <= 2*gap }

// attend notes that this process deals with the volume. Between two times that are no further apart than twice the gap nobody else can
// have led.
func (l *ledger) attend(e *entry, now time.Time) {
	if now.Sub(e.attended) > 2*l.gap() {
		e.unbroken = now
	}
	e.attended = now
}

// begins and ends note that a call waits for the volume. It ends when its process loses the lead, so nobody else leads between the two.
func (l *ledger) begins(id string) { l.With(id, l.attend) }

func (l *ledger) ends(id string) {
	l.With(id, func(e *entry, now time.Time) { e.attended = now })
}

// unsure notes that the last order got no answer: that its effect shows does not prove that it was the order's.
func (l *ledger) unsure(id string) {
	l.With(id, func(e *entry, _ time.Time) { e.unsure = true })
}

// join notes that an attach to the instance was accepted before this process ordered one, which is refused because of it. Calls
// that join it one after the other count from the first of them, if nobody else can have led since.
func (l *ledger) join(id, instance string) {
	own := l.isOwn(id, instance) // by a call before this one
	var since time.Time
	var unproven *order
	l.With(id, func(e *entry, now time.Time) {
		since, unproven = now, e.unproven // which may be what the platform refuses it for
		if e.foreign && e.instance == instance && e.wasWatched(now, l.gap()) {
			since = e.joined
		}
	})
	l.order(id, attaching, instance)
	if !own {
		l.With(id, func(e *entry, _ time.Time) { e.foreign, e.joined, e.unproven = true, since, unproven })
	}
}

// hasJoined reports whether what brought the volume to the instance was an attach that this process joined.
func (l *ledger) hasJoined(id, instance string) (has bool) {
	l.With(id, func(e *entry, _ time.Time) { has = e.foreign && e.instance == instance })
	return has
}

// isOwn reports whether an attach to the instance is under way that this process ordered by itself.
func (l *ledger) isOwn(id, instance string) (own bool) {
	l.With(id, func(e *entry, now time.Time) {
		own = e.ordered == attaching && e.instance == instance && !e.foreign && now.Sub(e.orderedAt) < l.patience(e)
	})
	return own
}

// leaving returns for how long a detach from the instance may still take effect that another process ordered, before it
// was killed or lost its lease: until then the platform shows the volume as if it stayed, and refuses an attach in the
// same words. None can if this process saw the volume come, or has seen it there for the whole window, and looked so often
// since that nobody else can have led meanwhile; or if publishes, one or several in a row, found it there for as long, without a gap
// in which another one can have led. The window of an attach that this process joined began when it did.
func (l *ledger) leaving(id, instance string) (left time.Duration) {
	l.With(id, func(e *entry, now time.Time) {
		l.attend(e, now)
		if e.staysAt != instance || e.staysSince.Before(e.unbroken) {
			e.staysAt, e.staysSince = instance, now
		}
		left = l.window
		if e.here != instance {
			return
		}
		since := e.staysSince
		if e.changed.After(since) {
			since = e.changed
		}
		if now.Sub(e.hereLast) <= l.gap() && e.hereSince.Before(since) {
			since = e.hereSince
		}
		left = max(0, l.window-now.Sub(since))
	})
	return left
}

// gap is how long a process may not have looked at a volume for it to be certain that no other has led meanwhile.
func (l *ledger) gap() time.Duration { return l.window / 3 }

// stays reports whether the volume, which is shown at the instance, stays there. Only volumes that another process
// attached are waited for, those whose publish was under way when this process took over: Kubernetes publishes nothing
// again that it knows to be published. All of them share the looks, and hold up nobody else.
func (s *Store) stays(ctx context.Context, id, instance string) (bool, error) {
	left := s.ledger.leaving(id, instance)
	if left == 0 {
		return true, nil
	}
	klog.FromContext(ctx).Info("The volume was attached by another process, whose detach may be under way; waiting for that before the attach is taken for done",
		"volumeID", id, "instanceID", instance, "atMost", left)
	waiting, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	_, err := s.wait(waiting, "late detach", id, func(d disk) (bool, error) { return !d.IsAttachedTo(instance), nil })
	if err == nil {
		return false, nil
	}
	if ctx.Err() != nil || waiting.Err() == nil {
		return false, refusal.OfRead(err, "making sure that volume %s, which another process attached, stays at instance %s", id, instance)
	}
	if s.ledger.hasJoined(id, instance) {
		// Reads were late to show the attach, and may be as late to show a detach. What the platform says to one more order is not.
		s.ledger.doubt(id)
		return false, nil
	}
	d, err := s.whereIs(ctx, id, 0) // it had its time
	return err == nil && attachedHere(d, instance), err
}
