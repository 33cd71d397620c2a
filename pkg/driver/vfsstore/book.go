package vfsstore

import (
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/recent"
)

// book is what this process knows of single attachments by itself: what it ordered, and what came of that. It only spares
// calls and time: a process without it has to look, or to wait longer, and comes to the same result.
type book struct {
	// window is how long an order that was accepted may take to show in every read.
	window time.Duration

	recent.Memory[key, entry]
}

// key is an attachment: a file system at an instance. Without an instance it stands for the file system itself.
type key struct{ id, instance string }

func keyOf(id, instance string) key { return key{strings.ToLower(id), strings.ToLower(instance)} }

type entry struct {
	// tag is the mount tag that the platform gave in its answer to the last attach of this process, at tagged.
	tag    string
	tagged time.Time
	// here is the attachment as it was last answered for, by its tag, at seen. It is unset once a detach was ordered.
	here string
	seen time.Time
	// freed is when a detach of this process was proven last.
	freed time.Time
	// asked and askedLast are the begin and the last of the detaches in a row that found nothing to detach.
	asked, askedLast time.Time
	// stays is the tag of an attachment that was there before the order, and that orders in a row found attached from
	// staysSince to staysLast.
	stays                 string
	staysSince, staysLast time.Time
	// size is the size in GiB that this process gave the file system, at sized, and last the instance for which a caller was told
	// of an attachment last, at lastAt; "" once it is proven not to have it.
	size   int64
	sized  time.Time
	last   string
	lastAt time.Time
}

// gap is how long a process may not have looked for it to be certain that no other one has led meanwhile.
func (b *book) gap() time.Duration { return b.window / 3 }

// ordered notes that the platform accepted an attach and gave it this tag.
func (b *book) ordered(k key, tag string) {
	b.With(k, func(e *entry, now time.Time) { *e = entry{tag: tag, tagged: now} })
}

// expects returns the tag of an attach that this process ordered so lately that it may not show yet, "" if there is none.
func (b *book) expects(k key) (tag string) {
	b.With(k, func(e *entry, now time.Time) {
		if e.tag != "" && now.Sub(e.tagged) < 2*b.window {
			tag = e.tag
		}
	})
	return tag
}

// answered notes that a caller is told of the attachment.
func (b *book) answered(k key, tag string) {
	b.With(k, func(e *entry, now time.Time) { e.here, e.seen, e.asked = tag, now, time.Time{} })
	b.With(keyOf(k.id, ""), func(e *entry, now time.Time) { e.last, e.lastAt = k.instance, now })
}

// elsewhere returns another instance for which this process answered so lately that a read may not show it, "" if there is
// none.
func (b *book) elsewhere(k key) (instance string) {
	b.With(keyOf(k.id, ""), func(e *entry, now time.Time) {
		if e.last != k.instance && now.Sub(e.lastAt) < 2*b.window {
			instance = e.last
		}
	})
	return instance
}

// leaves returns for how long an attachment that was there before the order may still turn out to be on its way out: it has
// to be found attached for the whole window, by one call or by several in a row, between which nobody else can have led: the lead is
// lost and won again in no less than twice the gap.
func (b *book) leaves(k key, tag string) (left time.Duration) {
	b.With(k, func(e *entry, now time.Time) {
		if e.stays != tag || now.Sub(e.staysLast) > 2*b.gap() {
			e.stays, e.staysSince = tag, now
		}
		e.staysLast = now
		left = max(0, b.window-now.Sub(e.staysSince))
	})
	return left
}

// lately returns the tag of an attachment for which this process answered not longer ago than age, and which it has not
// ordered away since.
func (b *book) lately(k key, age time.Duration) (tag string, ok bool) {
	b.With(k, func(e *entry, now time.Time) {
		if ok = e.here != "" && now.Sub(e.seen) <= age; ok {
			tag = e.here
		}
	})
	return tag, ok
}

// leaving notes that a detach is or may be under way: what was known of the attachment counts no longer. What is known of
// detaches does.
func (b *book) leaving(k key) {
	b.With(k, func(e *entry, _ time.Time) { *e = entry{freed: e.freed, asked: e.asked, askedLast: e.askedLast} })
}

// left notes that it is proven that the instance does not have the file system.
func (b *book) left(k key) {
	b.With(k, func(e *entry, now time.Time) { *e = entry{freed: now} })
	b.With(keyOf(k.id, ""), func(e *entry, _ time.Time) {
		if e.last == k.instance {
			e.last = ""
		}
	})
}

// doubtful is asked by a detach that found nothing, and returns for how long an attach may still show up that another
// process ordered before it was killed or lost its lease, or that this one ordered in vain for an answer. A detach of this
// process a moment ago explains it all; else nothing has to be found for the whole window, by one call or by several as for leaves.
func (b *book) doubtful(k key) (left time.Duration) {
	b.With(k, func(e *entry, now time.Time) {
		if !e.freed.IsZero() && now.Sub(e.freed) <= b.gap() {
			return
		}
		if e.asked.IsZero() || now.Sub(e.askedLast) > 2*b.gap() {
			e.asked = now
		}
		e.askedLast = now
		left = max(0, b.window-now.Sub(e.asked))
	})
	return left
}

// waited notes that a call has waited for the attachment until now. A call ends when its process loses the lead.
func (b *book) waited(k key) {
	b.With(k, func(e *entry, now time.Time) { e.askedLast, e.staysLast = now, now })
}

// grew notes the size that this process gave a file system, and size returns it, 0 if it gave none so lately that it may not
// show yet. What does not show later was not done, or undone by somebody: then it has to be ordered again.
func (b *book) grew(id string, size int64) {
	b.With(keyOf(id, ""), func(e *entry, now time.Time) {
		if size >= e.size || now.Sub(e.sized) >= 2*b.window {
			e.size, e.sized = size, now
		}
	})
}

func (b *book) size(id string) (size int64) {
	b.With(keyOf(id, ""), func(e *entry, now time.Time) {
		if now.Sub(e.sized) < 2*b.window {
			size = e.size
		}
	})
	return size
}
