package faults

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// op is one RPC about something, as an orchestrator has it done.
type op struct {
	name string
	// node is set when it is one of the node plugin.
	node bool
	// from and to are the rungs of the ladder between which it leads; they are the same when it leads nowhere else.
	from, to int
	// try does it once.
	try func(context.Context) error
	// check says what is not as it has to be after it succeeded, by what the platform and the kernel say.
	check func() error
}

// ladder is what is done with something, up and down again: ups[i] and downs[i] lead between the rungs i and i+1.
type ladder struct {
	ups, downs, beside []op
	rung               int
	// move has it attached to the other machine from now on, nil when it is attached to none.
	move func()
	// title returns the name of an operation in the matrix.
	title func(op) string
	// whole proves that the data is what was written; it writes it when there is none yet. It is to be on the top rung.
	whole func()
}

func (l *ladder) top() int { return len(l.ups) }

func (l *ladder) add(up, down op) {
	up.from, up.to = len(l.ups), len(l.ups)+1
	down.from, down.to = up.to, up.from
	l.ups, l.downs = append(l.ups, up), append(l.downs, down)
}

// find returns the operation of a name. One beside the ladder is on the rung where its from says.
func (l *ladder) find(name string) (op, bool) {
	for _, list := range [][]op{l.ups, l.downs, l.beside} {
		for _, o := range list {
			if o.name == name {
				return o, true
			}
		}
	}
	return op{}, false
}

// opposite undoes an operation.
func (l *ladder) opposite(o op) op {
	if o.from < o.to {
		return l.downs[o.from]
	}
	return l.ups[o.to]
}

// point is one run of an operation with one fault, or none.
type point struct {
	*testing.T
	*rig
	*processes

	// calls are the API calls of the operation when it was undisturbed.
	calls []simulator.Request
	// byHand is the row in which a person does what an error advises, "" for none.
	byHand string
	// condition is what the cloud is like all the time, "" for well.
	condition string
}

// newPoint makes a point whose processes end with it.
func newPoint(t *testing.T, r *rig) *point {
	return &point{T: t, rig: r, processes: &processes{t: t, rig: r}}
}

// once does an operation once, in the time that a sidecar gives it.
func (p *point) once(o op) error {
	ctx, cancel := context.WithTimeout(p.Context(), 30*time.Second)
	defer cancel()
	return o.try(ctx)
}

// until does an operation as a sidecar or the kubelet does: again and again, with growing pauses, until it succeeds.
func (p *point) until(o op) {
	p.Helper()
	var refusals []string
	began := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		p.ready(o)
		err := p.once(o)
		if err == nil {
			break
		}
		p.help(err)
		if text := err.Error(); len(refusals) == 0 || refusals[len(refusals)-1] != text {
			refusals = append(refusals, text)
		}
		if time.Since(began) > patience {
			p.Fatalf("%s does not succeed; its last answers were:\n%s", o.name, strings.Join(refusals[max(0, len(refusals)-5):], "\n"))
		}
		time.Sleep(pause) // the back-off of who asks: nothing but success ends the loop well
	}
	p.check(o)
}

// advice is what the driver says of an ext4 that e2fsck does not repair without being told to.
var advice = regexp.MustCompile("to repair them, which can lose data, with a copy of the disk made before: `(e2fsck) (-fy) ([^ `]+)`")

// help does what a person is told to do.
func (p *point) help(err error) {
	p.Helper()
	command := advice.FindStringSubmatch(err.Error())
	if p.byHand == "" || command == nil {
		return
	}
	found.helped(p.byHand)
	out, err := exec.CommandContext(p.Context(), command[1], command[2:]...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() > 2) {
		p.Fatalf("%s: %v: %s", command[0], err, out)
	}
}

// ready has the processes that an operation needs.
func (p *point) ready(o op) {
	if o.node {
		p.node(0)
		return
	}
	p.control()
}

// check fails the test when the world is not as the operation's success says.
func (p *point) check(o op) {
	p.Helper()
	if o.check == nil {
		return
	}
	if err := o.check(); err != nil {
		p.Fatalf("%s succeeded, but %v", o.name, err)
	}
}

// climb goes to a rung.
func (p *point) climb(l *ladder, rung int) {
	p.Helper()
	for l.rung < rung {
		p.take(l, l.ups[l.rung])
		l.rung++
	}
	for l.rung > rung {
		p.take(l, l.downs[l.rung-1])
		l.rung--
	}
}

// take does an operation and, under a condition, notes in the matrix what became of it.
func (p *point) take(l *ladder, o op) {
	p.Helper()
	if p.condition == "" {
		p.until(o)
		return
	}
	passed := false
	found.has(l.title(o), p.condition, []run{{first: 1, last: 1}})
	defer func() { found.note(l.title(o), p.condition, passed, true) }()
	p.until(o)
	passed = true
}

// isCut reports whether an error is that of a process that was killed.
func isCut(err error) bool { return status.Code(err) == codes.Unavailable }
