package blockstore

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// An attach that does not show counts as lost in the end, and a detach from there as done. Should the platform carry it out even
// later, the volume is at an instance for which nobody asks any more. So that detach is owed until the volume is seen elsewhere or
// somebody wants it there, and made good when the volume is in the way of something.

// owedFor is how long a detach is owed. Later it is not certain that no other process has led meanwhile, and been asked to attach
// the volume there.
const owedFor = overdueAfter

// lose notes by a look that the attach which was ordered last counts as lost, or that the detach which is owed is done.
func (e *entry) lose(d disk) {
	switch {
	case d.IsAttachedTo(""):
		e.lost = ""
	case e.ordered == attaching:
		e.lost = e.instance
	case e.ordered == detaching && e.instance == e.owed:
		e.owed = ""
	}
}

// owe notes that a detach from the instance, "" for any, was answered because the volume is not there. It is owed if an attach to
// there counts as lost.
func (l *ledger) owe(id, instance string) {
	l.With(id, func(e *entry, now time.Time) {
		if e.lost != "" && (instance == "" || instance == e.lost) {
			e.owed, e.owedAt = e.lost, now
		}
	})
}

// want notes that the volume is to be at the instance.
func (l *ledger) want(id, instance string) {
	l.With(id, func(e *entry, _ time.Time) {
		if e.owed == instance {
			e.owed, e.lost = "", ""
		}
	})
}

// owes returns the instance from which a detach is owed, "" if none is.
func (l *ledger) owes(id string) (instance string) {
	l.With(id, func(e *entry, now time.Time) {
		if now.Sub(e.owedAt) < owedFor {
			instance = e.owed
		}
	})
	return instance
}

// makeGood carries out the detach that is owed, if the volume is in the way: err says so. It reports whether there is nothing in
// the way any more.
func (s *Store) makeGood(ctx context.Context, id string, err error) (bool, error) {
	from := s.ledger.owes(id)
	if volume.ReasonOf(err) != volume.InUse || from == "" {
		return false, err
	}
	klog.FromContext(ctx).Info("An attach that counted as lost was carried out after its detach was answered, detaching", "volumeID", id, "instanceID", from)
	if err := s.Detach(ctx, id, from); err != nil {
		return false, err
	}
	return true, nil
}
