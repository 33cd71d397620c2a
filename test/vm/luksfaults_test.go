package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
)

// cut is an operation of a volume, an encrypted one with an ext4 unless it says otherwise, at whose steps the plugin is
// killed.
type cut struct {
	name string
	// raw is a block device, and plain is not encrypted.
	raw, plain bool
	// blank has each kill at a volume of its own, that nothing was ever put on. The others share one, with data.
	blank bool
	// before brings a volume that is unstaged to the operation, do carries it out.
	before, do func(r *rig) error
	// check says what has to be when it succeeded, nil for what all of them are followed by.
	check func(r *rig)
}

var cuts = []cut{
	{name: "stage", blank: true, before: asItIs, do: (*rig).stage},
	{name: "stage again", before: asItIs, do: (*rig).stage},
	{name: "publish", before: (*rig).stage, do: publishes},
	{name: "expand", before: grownDisk, do: expands, check: (*rig).isAsLargeAsItsDisk},
	{name: "unstage", before: unpublished, do: (*rig).unstage, check: (*rig).isDown},
	{name: "change of the passphrase", before: (*rig).newPassphrase, do: (*rig).stage, check: (*rig).opensByThePresentOne},
	{name: "raw stage", raw: true, blank: true, before: asItIs, do: (*rig).stage},
	{name: "raw publish", raw: true, before: (*rig).stage, do: publishes},
	{name: "raw expand", raw: true, before: grownDisk, do: expands, check: (*rig).isAsLargeAsItsDisk},
	{name: "raw change of the passphrase", raw: true, before: (*rig).newPassphrase, do: (*rig).stage, check: (*rig).opensByThePresentOne},
	{name: "raw unstage", raw: true, before: unpublished, do: (*rig).unstage, check: (*rig).isDown},
	// Which the kernels of some machines refuse.
	{name: "plain expand", plain: true, before: grownDisk, do: expands, check: (*rig).isAsLargeAsItsDisk},
}

// What brings a volume to its operation.

func asItIs(*rig) error { return nil }

func unpublished(r *rig) error {
	r.up()
	return r.unpublish(r.target)
}

func grownDisk(r *rig) error {
	r.up()
	r.size += gib
	return r.machine.Resize(r.soon(), r.disk, r.size)
}

// newPassphrase gives the volume another passphrase, from the one to the other and back.
func (r *rig) newPassphrase() error {
	previous := r.secrets["encryption-passphrase"]
	r.encrypted(map[string]string{firstKey: secondKey, secondKey: firstKey}[previous], previous)
	return nil
}

// What is carried out.

func publishes(r *rig) error { return r.publish(r.target) }

func expands(r *rig) error {
	_, err := r.expand(r.target, r.size)
	return err
}

// What has to be then.

// isAsLargeAsItsDisk leaves the header of what is encrypted and the tables of a file system out.
func (r *rig) isAsLargeAsItsDisk() {
	r.t.Helper()
	total, err := r.total(r.target)
	size := r.size
	if r.context != nil {
		size -= 16 << 20
	}
	if r.capability.GetBlock() == nil {
		size = size * 9 / 10
	}
	if err != nil || total < size {
		r.t.Errorf("it has %d bytes of %d, %v", total, r.size, err)
	}
}

func (r *rig) opensByThePresentOne() {
	r.t.Helper()
	r.opens(map[string]bool{r.secrets["encryption-passphrase"]: true, r.secrets["encryption-passphrase-previous"]: false})
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
// nothing open. Some of the calls are tried, all with FAULTS=all. It is the part of the matrix of test/faults for which a
// machine's kernel may have to be another one.
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
	capability := mounted("ext4")
	if c.raw {
		capability = raw()
	}
	r := newRig(t, capability)
	if !c.plain {
		r.encrypted(firstKey, "")
	}
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

// proves checks that the volume has its data, or writes it, twice, and takes it down.
func (r *rig) proves() {
	r.t.Helper()
	mounts, open := 2, 1
	if r.capability.GetBlock() != nil {
		mounts = 1 // of the device's node at the pod's path
	}
	if r.context == nil {
		open = 0
	}
	for range 2 {
		r.up()
		r.hasItsData()
		if n := r.mounts(); n != mounts {
			r.t.Errorf("the volume has %d mounts, not %d", n, mounts)
		}
		if names := r.mappers(); len(names) != open {
			r.t.Errorf("open are %q", names)
		}
		r.down()
		r.isDown()
	}
}

// hasItsData checks what was written to a volume, or writes it.
func (r *rig) hasItsData() {
	r.t.Helper()
	text, name := "data of "+r.id, "file"
	if r.capability.GetBlock() != nil {
		name = "" // the path is the device's
	}
	if !r.filled {
		p := r.open(r.target, name)
		if errno := p.write(text); errno != 0 {
			r.t.Fatal(errno)
		}
		p.end()
		r.filled = true
		return
	}
	got, err := r.agent.Read(r.soon(), filepath.Join(r.target, name))
	r.must(err)
	if !strings.HasPrefix(string(got), text) {
		r.t.Errorf("the volume has %q, want %q", got[:min(len(got), len(text))], text)
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
