package blockstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// twinSpan is how much younger a volume of the same name may be to count as made by the same wish: by a request
	// that the network delivered twice, or by two controllers at once. A later one may be somebody's on purpose.
	twinSpan = time.Minute
	// twinAge is how old a volume may be to count as one that nobody has used: who attaches, fills and detaches a disk
	// takes longer.
	twinAge = 5 * time.Minute
	// twinsKnown bounds the memory for what was reported.
	twinsKnown = 10000
	// checkFor bounds one check, which nobody waits for.
	checkFor = time.Minute
	// checkAgain is how often a name is looked at whose volume no list shows.
	checkAgain = 10
)

// twins are volumes of one name. They cost money and hold no data of a claim.
type twins struct {
	found, deleted prometheus.Counter
	known          *lru.Cache
	givenUp        *lru.Cache
	// doubted are volumes that others share their name with, true until that was looked at.
	doubted *lru.Cache

	mu      sync.Mutex
	read    time.Time // when the list began that was looked through last
	pending []check
	timer   *time.Timer
}

// check is a name to look at again.
type check struct {
	volume disk
	due    time.Time
	// since is when a list must have begun to show what was made together with the volume.
	since time.Time
	tries int
}

func newTwins() *twins {
	return &twins{
		known: lru.New(twinsKnown), givenUp: lru.New(twinsKnown), doubted: lru.New(twinsKnown),
		found: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "csi_duplicate_volumes_total",
			Help: "Volumes found beside an older one of the same name. They cost money and hold no data of a claim.",
		}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "csi_duplicate_volumes_deleted_total",
			Help: "Duplicate volumes that were deleted because they were empty, never attached, and made together with the volume that is kept.",
		}),
	}
}

// named returns the volumes of a name: those that are labelled as the cluster's first, the oldest first. Among volumes of one
// second the ID decides, so that every process picks the same.
func (s *Store) named(volumes []vultr.Volume, name string) []disk {
	var all []disk
	for _, v := range volumes {
		if s.opts.Cluster.Has(v.Label, name) && !s.ledger.isGone(v.ID) {
			all = append(all, fromAPI(v))
		}
	}
	slices.SortFunc(all, func(a, b disk) int {
		if own := s.opts.Cluster.Owns(a.Name); own != s.opts.Cluster.Owns(b.Name) {
			return map[bool]int{true: -1, false: 1}[own]
		}
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return all
}

// report counts and logs a volume beside the one that is kept, once.
func (s *Store) report(ctx context.Context, kept, d disk) {
	if _, known := s.twins.known.Get(d.ID); known {
		return
	}
	s.twins.known.Add(d.ID, nil)
	s.twins.found.Inc()
	klog.FromContext(ctx).Info("Found another volume of the same name",
		"name", d.Name, "volumeID", kept.ID, "duplicateID", d.ID, "duplicateCreated", d.Created)
}

// giveUp notes that this process made the volume for a name that another one has. Nobody was told of it.
func (t *twins) giveUp(id string) { t.givenUp.Add(id, nil) }

func (t *twins) isGivenUp(id string) bool {
	_, is := t.givenUp.Get(id)
	return is
}

// errNoTwin says that a volume is not to be deleted after all.
var errNoTwin = errors.New("it is in use or not certainly a duplicate")

// isTwin reports whether the volume was certainly made by the same wish as the one that is kept, is empty, and was
// never attached as far as anybody can tell: it is unattached, and too young to have been used. What this process made
// itself is a twin only if it was given up: the name may have been created again after its volume was deleted.
func (s *Store) isTwin(kept, d disk) bool {
	if d.ID == kept.ID || d.IsAttachedTo("") || s.ledger.moved(d.ID) {
		return false
	}
	if m, ok := s.names.get(s.opts.Cluster.Name(d.Name)); ok && m.answered && m.id == d.ID {
		return false
	}
	if s.ledger.isMade(d.ID) {
		return s.twins.isGivenUp(d.ID)
	}
	younger := d.Created.Sub(kept.Created)
	return sameWish(kept, d) && younger >= 0 && younger <= twinSpan && time.Since(d.Created) <= twinAge
}

// sameWish reports whether the second volume is like the first in everything that a create says. A note comes later: the first
// can have one, and the second is in use by somebody if it has.
func sameWish(a, b disk) bool {
	return ownership.Bare(a.Name) == b.Name && a.Source == b.Source && a.Region == b.Region && a.Type == b.Type && a.SizeGiB == b.SizeGiB
}

// removeTwin deletes a volume that was made beside the one that is kept. It is false if a twin could not be deleted
// now; it was reported, and is looked at again when the name is.
func (s *Store) removeTwin(ctx context.Context, kept, d disk) bool {
	if !s.isTwin(kept, d) {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkFor)
	defer cancel()
	still := func(ctx context.Context) error { // by both kinds of reads, of which one may be old
		now, err := s.look(ctx, d.ID)
		if err == nil && s.isTwin(kept, now) {
			now, err = s.whereIs(ctx, d.ID, 0)
		}
		if err == nil && !s.isTwin(kept, now) {
			err = errNoTwin
		}
		if err == nil {
			err = s.opts.Medium.unused(ctx, d.ID)
		}
		return err
	}
	if _, err := s.remove(ctx, d.ID, still); err != nil {
		klog.FromContext(ctx).Info("A duplicate volume stays in the account for now", "name", d.Name, "duplicateID", d.ID, "volumeID", kept.ID, "err", err)
		return errors.Is(err, errNoTwin)
	}
	s.ledger.gone(d.ID)
	s.twins.deleted.Inc()
	klog.FromContext(ctx).Info("Deleted an empty duplicate volume that was never attached", "name", d.Name, "duplicateID", d.ID, "volumeID", kept.ID)
	return true
}

// checkLater has the name of a volume that was just created looked at once more when the settle time is over. A list
// that somebody reads meanwhile does for it.
func (s *Store) checkLater(ctx context.Context, d disk) {
	since := time.Now().Add(s.api.SettleTime())
	s.enqueue(ctx, check{volume: d, since: since, due: since.Add(s.opts.TwinCheck)})
}

func (s *Store) enqueue(ctx context.Context, c check) {
	t := s.twins
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, c)
	if t.timer == nil {
		ctx = context.WithoutCancel(ctx)
		t.timer = time.AfterFunc(time.Until(c.due), func() { s.runChecks(ctx) })
	}
}

// runChecks looks at the names that are due, with one list, and sets the timer for the rest.
func (s *Store) runChecks(endless context.Context) {
	ctx, cancel := context.WithTimeout(endless, checkFor)
	defer cancel()
	due := s.twins.due(time.Now())
	var since time.Time
	for _, c := range due {
		if c.since.After(since) {
			since = c.since
		}
	}
	var list vultr.List[vultr.Volume]
	var err error
	if len(due) > 0 {
		list, err = s.api.Volumes(ctx, time.Since(since))
	}
	t := s.twins
	t.mu.Lock()
	t.timer = nil
	t.mu.Unlock()
	for _, c := range due {
		if err != nil || !s.checked(ctx, list.Items, c) {
			s.checkOnceMore(endless, c)
		}
	}
	s.twins.rearm(func() { s.runChecks(endless) })
}

func (s *Store) checkOnceMore(ctx context.Context, c check) {
	if c.tries++; c.tries >= checkAgain {
		klog.FromContext(ctx).Info("Gave up looking for duplicates of a created volume: no list shows it, or one cannot be deleted", "volumeID", c.volume.ID, "name", c.volume.Name)
		return
	}
	c.since = time.Now()
	c.due = c.since.Add(s.opts.TwinCheck / 4)
	s.enqueue(ctx, c)
}

// checked deletes or reports the twins of a volume. It is false if a twin could not be deleted, and if the list does not
// show the volume itself: then it is too old to show a twin.
func (s *Store) checked(ctx context.Context, volumes []vultr.Volume, c check) bool {
	shown := s.ledger.isGone(c.volume.ID)
	for _, v := range volumes {
		shown = shown || v.ID == c.volume.ID
	}
	if !shown {
		return false
	}
	done := true
	for _, d := range s.named(volumes, ownership.Bare(c.volume.Name)) {
		if d.ID != c.volume.ID && !s.isSuccessor(c.volume, d) {
			s.report(ctx, c.volume, d)
			done = s.removeTwin(ctx, c.volume, d) && done
		}
	}
	return done
}

// isSuccessor reports whether another process may have made the second volume of the name of the first when that was free again,
// because this process had deleted the first.
func (s *Store) isSuccessor(deleted, d disk) bool {
	younger := d.Created.Sub(deleted.Created)
	if !s.ledger.isGone(deleted.ID) || younger <= 0 {
		return false
	}
	return younger+time.Second > s.ledger.lived(deleted.ID) // the platform counts seconds
}

// due takes out the checks whose time has come.
func (t *twins) due(now time.Time) []check {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due, rest []check
	for _, c := range t.pending {
		if c.due.After(now) {
			rest = append(rest, c)
		} else {
			due = append(due, c)
		}
	}
	t.pending = rest
	return due
}

// rearm sets the timer for the check that is due next, unless it is set.
func (t *twins) rearm(run func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil || len(t.pending) == 0 {
		return
	}
	next := slices.MinFunc(t.pending, func(a, b check) int { return a.due.Compare(b.due) })
	t.timer = time.AfterFunc(time.Until(next.due), run)
}
