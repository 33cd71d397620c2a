package vultr

import (
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/firstlook"
)

const (
	leastLate = 100 * time.Millisecond
	// tryApart is how long after one operation was tried sooner another one may be: of the waits of one volume's life one
	// comes too early then, and not all.
	tryApart    = 5 * time.Minute
	usualOther  = 2 * time.Second
	longestLook = 30 * time.Second
	// usualLag is how far reads usually lag behind what was done. A wait ends when a read shows it.
	usualLag = time.Second
)

// learned holds how long operations take on this platform lately, until reads show it, for the time of the first look.
type learned struct {
	scale float64

	mu  sync.Mutex
	ops map[string]*firstlook.Lesson
	// tried is the operation that was tried sooner last, and triedAt when that began.
	tried   string
	triedAt time.Time
}

func newLearned(scale float64) *learned {
	l := &learned{scale: scale, ops: map[string]*firstlook.Lesson{}}
	for op, known := range map[string]struct {
		takes time.Duration
		// tried is after how many that held a shorter time is tried for the first time. Each is tried at another time than
		// the others also when processes share the work, who know nothing of each other: the one creates, the other attaches.
		tried int
	}{
		"create": {3 * time.Second, 5}, "attach": {4 * time.Second, 12}, "detach": {4 * time.Second, 19},
		// A new size is there at once; what takes time is that the guest sees it.
		"resize": {0, 5},
		// A snapshot is there at once, too, and complete later. That is waited for from when it shows, or from when it is
		// asked for again, which the sidecar does a second after that.
		"snapshot create": {0, 8}, "snapshot": {3 * time.Second, 15}, "snapshot again": {2 * time.Second, 22},
		"file system": {5 * time.Second, 8}, "file system attachment": {4 * time.Second, 15},
	} {
		l.ops[op] = firstlook.Known(l.scaled(known.takes+usualLag), l.scaled(leastLate), l.scaled(longestLook), known.tried)
	}
	return l
}

func (l *learned) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * l.scale) }

func (l *learned) lesson(op string) *firstlook.Lesson {
	if l.ops[op] == nil {
		l.ops[op] = firstlook.Guess(l.scaled(usualOther), l.scaled(leastLate), l.scaled(longestLook))
	}
	return l.ops[op]
}

// firstLook is how long after its begin op should be looked at first.
func (l *learned) firstLook(op string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lesson(op).Look()
}

// took learns that op was not finished at missed (0: no look came too early) and was at seen.
func (l *learned) took(op string, missed, seen time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mayTry := l.tried == op || time.Since(l.triedAt) >= l.scaled(tryApart)
	if l.lesson(op).Learn(missed, seen, mayTry) {
		l.tried, l.triedAt = op, time.Now()
	}
}
