package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
)

// cut is an operation of an encrypted volume at whose steps the plugin is killed.
type cut struct {
	name string
	// blank has each kill at a volume of its own, that nothing was ever put on. The others share one, with a file.
	blank bool
	// before brings a volume that is unstaged to the operation, do carries it out.
	before, do func(r *rig) error
	// check says what has to be when it succeeded, nil for what all of them are followed by.
	check func(r *rig)
}

var cuts = []cut{
	{name: "stage", blank: true, before: func(*rig) error { return nil }, do: (*rig).stage},
	{name: "stage again", before: func(*rig) error { return nil }, do: (*rig).stage},
	{name: "publish", before: (*rig).stage, do: func(r *rig) error { return r.publish(r.target) }},
	{name: "expand", before: func(r *rig) error {
		r.up()
		r.size += gib
		return r.machine.Resize(r.soon(), r.disk, r.size)
	}, do: func(r *rig) error {
		_, err := r.expand(r.target, r.size)
		return err
	}, check: func(r *rig) {
		if total, err := r.total(r.target); err != nil || total < (r.size-16<<20)*9/10 {
			r.t.Errorf("it has %d bytes of %d, %v", total, r.size, err)
		}
	}},
	{name: "unstage", before: func(r *rig) error {
		r.up()
		return r.unpublish(r.target)
	}, do: (*rig).unstage, check: (*rig).isDown},
}

// isDown checks that nothing on the guest has the volume.
func (r *rig) isDown() {
	r.t.Helper()
	r.closed()
	if n := r.mounts(); n != 0 {
		r.t.Errorf("unstaged, the volume has %d mounts", n)
	}
}

// TestEncryptedKilledAtEveryStep: the plugin and the tools that it runs are killed right before a system call by which they
// change the machine, and the kubelet tries again: the volume is one that has its data, opens by its passphrase, and leaves
// nothing open. Some of the calls are tried, all with FAULTS=all. It is part of the matrix of test/faults, which has no
// kernel that encrypts.
func TestEncryptedKilledAtEveryStep(t *testing.T) {
	needGuest(t)
	restart(t, shared.agent.StartTraced)
	defer restart(t, shared.agent.StartPlugin)
	for i, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			r := c.volume(t, nil)
			steps := r.cutAt(c, 0)
			r.proves()
			numbers := firstOfAlike(steps.Calls)
			t.Logf("%d steps, of which %d differ:\n%s", len(steps.Calls), len(numbers), strings.Join(steps.Calls, "\n"))
			for _, n := range someOf(numbers, i) {
				t.Run(fmt.Sprint(n), func(sub *testing.T) {
					r = c.volume(sub, r)
					if !c.blank {
						defer func() { r.t = t }() // it outlives this
					}
					steps := r.cutAt(c, n)
					restart(sub, shared.agent.StartTraced)
					sub.Logf("killed is %t, before %s", steps.Killed, steps.Calls[len(steps.Calls)-1:])
					r.until(func() error { return c.do(r) })
					if c.check != nil {
						c.check(r)
					}
					r.proves()
				})
			}
		})
	}
}

// restart kills the plugin and starts another one.
func restart(t *testing.T, start func(context.Context) error) {
	t.Helper()
	if err := errors.Join(shared.agent.KillPlugin(t.Context()), start(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// volume is the one to try, which is unstaged.
func (c cut) volume(t *testing.T, last *rig) *rig {
	t.Helper()
	if last != nil && !c.blank {
		last.t = t
		return last
	}
	r := newRig(t, mounted("ext4")).encrypted(firstKey, "")
	r.size = gib
	r.plug()
	if !c.blank {
		r.proves()
	}
	return r
}

// cutAt carries the operation out and has the plugin killed before its nth step.
func (r *rig) cutAt(c cut, n int) agent.Steps {
	r.t.Helper()
	r.must(c.before(r))
	r.must(r.agent.KillAt(r.soon(), n))
	err := c.do(r)
	steps, stepsErr := r.agent.Steps(r.soon())
	r.must(stepsErr)
	if cut := status.Code(err) == codes.Unavailable; cut != steps.Killed || err != nil && !cut {
		r.t.Fatalf("killed is %t, the answer %v", steps.Killed, err)
	}
	return steps
}

// until does something as the kubelet does, until it succeeds.
func (r *rig) until(do func() error) {
	r.t.Helper()
	began := time.Now()
	for {
		err := do()
		if err == nil {
			return
		}
		if time.Since(began) > callPatience {
			r.t.Fatalf("it does not succeed: %v", err)
		}
		time.Sleep(time.Second) // the kubelet's back-off: nothing but success ends the loop well
	}
}

// proves checks that the volume has its file, or writes it, twice, and takes it down.
func (r *rig) proves() {
	r.t.Helper()
	for range 2 {
		r.up()
		if r.filled {
			r.wantFile(r.target, "file", "data of "+r.id)
		} else {
			r.write(r.target, "file", "data of "+r.id)
			r.filled = true
		}
		if n := r.mounts(); n != 2 {
			r.t.Errorf("the volume has %d mounts", n)
		}
		if open := r.mappers(); len(open) != 1 {
			r.t.Errorf("open are %q", open)
		}
		r.down()
		r.isDown()
	}
}

// firstOfAlike numbers the calls, of several in a row that are alike the first and the last.
func firstOfAlike(calls []string) []int {
	var numbers []int
	for i, call := range calls {
		if i == 0 || i == len(calls)-1 || call != calls[i-1] || call != calls[i+1] {
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// tried is how many of the steps of an operation are tried, unless all are.
const tried = 3

// someOf returns some of the numbers, elsewhere in each row.
func someOf(numbers []int, row int) []int {
	if os.Getenv("FAULTS") == "all" {
		return numbers
	}
	var some []int
	for i := range tried {
		// In each third one, at its beginning in the first row and towards its end in the last.
		some = append(some, numbers[(len(numbers)*(i*len(cuts)+row))/(tried*len(cuts))])
	}
	return some
}
