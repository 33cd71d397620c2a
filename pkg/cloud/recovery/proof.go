package recovery

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Presence is what is known of an instance.
type Presence int

// What can be known. The zero value is none of them.
const (
	// Present is an instance that exists, in whatever state.
	Present Presence = iota + 1
	// Suspected is an instance that was not found, but that is no proof yet.
	Suspected
	// Gone is an instance that was not found by its ID several times, with pauses in between.
	Gone
	// Replaced is an instance that is gone while another one has the Node's name or address.
	Replaced
)

// Verdict is what is known of a Node's instance.
type Verdict struct {
	Presence Presence
	// Proven is since when it is known to be gone.
	Proven time.Time
	// Twins are the instances that may be the machine behind the Node by now.
	Twins []vultr.Instance
	// Unvisited is set when the Node is certain to be the old machine's alone: none of the twins existed when the machine
	// started that reports to it.
	Unvisited bool
	// Next is when a look may tell more, zero if nothing hurries.
	Next time.Time
}

const (
	// proofLooks is how many looks prove something, and pause the least time from the end of one to the beginning of the
	// next. Reads of an instance that exists may be blank for a while, of one server of the platform or of all: so a proof
	// takes 20 seconds, more than such a moment.
	proofLooks = 3
	pause      = 10 * time.Second
	// mostLooks is how many looks prove something at most. Each time that an instance is found after it was missed, one
	// more is asked for: reads that contradict each other would otherwise agree by chance one day.
	mostLooks = 9
	// firstRetry is the pause after a first failure.
	firstRetry = 5 * time.Second
	// continuity is the most that may lie between two looks of one proof.
	continuity = 2 * time.Minute
	// Between looks by ID at an instance that is gone or in doubt.
	again = 30 * time.Second
)

// ConfirmAnnotation on a Node says that a person knows its instance to be destroyed. Its value is the Node's provider ID,
// so that it says nothing about another machine.
const ConfirmAnnotation = "vultr.com/confirm-deletion"

// Confirmed reports whether a person has confirmed that the Node's instance is destroyed.
func Confirmed(node *v1.Node) bool {
	return node.Spec.ProviderID != "" && node.Annotations[ConfirmAnnotation] == node.Spec.ProviderID
}

// Reasons of a DoubtError, beside match.StaleProviderID.
const (
	NoWitness   = reason.InstanceNotSeen
	MostMissing = reason.MostInstancesNotSeen
)

// DoubtError is returned when an instance is not found, but that may have another reason than that it is gone.
type DoubtError struct {
	// Reason is that of the Event.
	Reason string
	// Text says what is doubtful and what to do.
	Text string
}

// Error says what is doubtful.
func (e *DoubtError) Error() string { return "the instance was not found, but " + e.Text }

// absence is what is remembered of an instance that a list lacked. One look at a time changes it.
type absence struct {
	condition metav1.Time // since when the Node has been as it is
	needed    int         // how many looks prove that it is gone
	misses    int         // how many looks in a row count
	counted   time.Time   // when the last look that counts ended
	last      time.Time   // when the last look ended
	proven    time.Time   // when the instance was proven gone, zero if it is not
	next      time.Time   // when it may be asked for again
	failures  int
	confirmed bool

	// What the last look came to.
	verdict Verdict
	err     error
}

// evidence is what one look brought.
type evidence struct {
	node  *v1.Node
	id    string
	asked time.Time
	list  []vultr.Instance
	nodes []*v1.Node
}

// newAbsence begins with no look that counts. The instance was found again so often before.
func newAbsence(node *v1.Node, returned int) *absence {
	return &absence{
		condition: readiness.Of(node).LastTransitionTime, last: time.Now(),
		needed: min(proofLooks+returned, mostLooks),
	}
}

// interrupted reports whether what is remembered is of another time: the Node was well in between, or nobody looked.
func (a *absence) interrupted(node *v1.Node, now time.Time) bool {
	since := readiness.Of(node).LastTransitionTime
	return !since.Equal(&a.condition) || now.Sub(a.last) > continuity
}

// failed notes a look without an answer. The proof goes on where it was: no answer is no sign of life either.
func (a *absence) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err // whoever left says nothing
	}
	wait := min(firstRetry<<min(a.failures, 3), again)
	a.failures++
	a.note(Verdict{}, err, time.Now().Add(wait))
	return err
}

// isYoung notes a look that found nothing if the Node is so new that reads may not show its instance yet, and reports whether
// it is: then nothing follows, and what else is doubtful may have the same reason. seen is when this process saw the Node come,
// zero if it did not: the clock here may be ahead of the API server's.
func (a *absence) isYoung(node *v1.Node, seen time.Time) bool {
	now := time.Now()
	for _, mature := range []time.Time{roster.MatureAt(node), seen.Add(roster.Maturity)} {
		if now.Before(mature) {
			a.confirmed = Confirmed(node)
			a.suspected(minTime(mature, now.Add(again)))
			return true
		}
	}
	return false
}

// doubted notes a look that found nothing, which proves nothing. Only where the doubt is about how many are missing do
// earlier looks count, and does this one, unless the list contradicts it.
func (a *absence) doubted(e evidence, doubt *DoubtError) error {
	if doubt.Reason == MostMissing && !shows(e.list, e.id) {
		a.count(e.asked)
	} else {
		a.misses, a.proven = 0, time.Time{}
	}
	a.confirmed = Confirmed(e.node)
	a.note(Verdict{}, doubt, e.asked.Add(again))
	return doubt
}

// count notes a look that found nothing, if it comes late enough after the one before: what is asked sooner may be
// answered by the same moment of the platform.
func (a *absence) count(asked time.Time) {
	if a.misses == 0 || asked.Sub(a.counted) >= pause {
		a.misses, a.counted = a.misses+1, time.Now()
	}
}

// missed notes a look that found nothing and returns what that proves.
func (a *absence) missed(e evidence, twins []vultr.Instance, unvisited bool) Verdict {
	now := time.Now()
	a.confirmed = Confirmed(e.node)
	if shows(e.list, e.id) {
		// The platform contradicts itself. Neither answer is believed, nor any from before.
		a.misses, a.proven = 0, time.Time{}
		return a.suspected(now.Add(pause))
	}
	a.count(e.asked)
	if a.proven.IsZero() && a.misses >= a.needed {
		a.proven = now
	}
	switch {
	case a.proven.IsZero():
		return a.suspected(a.counted.Add(pause))
	case len(twins) > 0:
		a.note(Verdict{Presence: Replaced, Proven: a.proven, Twins: twins, Unvisited: unvisited}, nil, now.Add(again))
	default:
		a.note(Verdict{Presence: Gone, Proven: a.proven}, nil, now.Add(again))
	}
	return a.verdict
}

// suspected notes that nothing is proven until another look.
func (a *absence) suspected(next time.Time) Verdict {
	a.note(Verdict{Presence: Suspected, Next: next}, nil, next)
	return a.verdict
}

func (a *absence) note(verdict Verdict, err error, next time.Time) {
	a.verdict, a.err, a.next, a.last = verdict, err, next, time.Now()
	if err == nil {
		a.failures = 0
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
