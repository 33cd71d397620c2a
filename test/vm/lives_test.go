package vm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
)

const (
	// livesSteps is how many steps are taken unless VM_LIVES_STEPS says otherwise, quietEvery after how many of them all of it
	// is compared with the model.
	livesSteps, quietEvery = 60, 10
	// mostGiB is how large a volume becomes.
	mostGiB = 4
)

// creature is an encrypted volume and what has to be true of it.
type creature struct {
	*rig

	name              string
	made              bool // its disk has a header
	staged, published bool
	stale             bool   // what was open when the disk was unplugged under a pod may still be
	key               string // which opens the disk, and no other does
	text              string // what was flushed last, "" for nothing
	sizeGiB           int64
}

// lives are encrypted volumes on a node, of which one after the other has something done to it.
type lives struct {
	t       *testing.T
	chance  *rand.Rand
	volumes []*creature
	step    int
}

// deeds are what can happen to a volume. can is nil for what always can.
var deeds = []struct {
	name string
	can  func(c *creature) bool
	do   func(l *lives, c *creature)
}{
	{"stage", (*creature).isDown, func(_ *lives, c *creature) { c.stages() }},
	{"stage by another passphrase, then by its own", func(c *creature) bool { return c.made && !c.staged }, func(_ *lives, c *creature) {
		c.encrypted(thirdKey, "")
		want(c.t, c.stage(), codes.Unauthenticated, c.serial, "passphrase")
		c.closed()
		c.encrypted(c.key, "")
		c.stages()
	}},
	{"stage by a new passphrase", func(c *creature) bool { return c.made && !c.staged }, func(_ *lives, c *creature) {
		c.must(c.newPassphrase())
		c.stages()
		c.key = c.secrets["encryption-passphrase"]
	}},
	{"stage, cut off, and again", (*creature).isDown, func(l *lives, c *creature) {
		_ = c.stageWithin(time.Duration(1+l.chance.IntN(4000)) * time.Millisecond) // whatever it has come to
		c.until(c.stage)
		c.made, c.staged = true, true
	}},
	{"stage again", func(c *creature) bool { return c.staged }, func(_ *lives, c *creature) { c.stages() }},
	{"publish", func(c *creature) bool { return c.staged }, func(_ *lives, c *creature) {
		c.must(c.publish(c.target))
		c.published = true
	}},
	{"write", (*creature).isUp, func(l *lives, c *creature) { c.writes(fmt.Sprintf("%s at step %06d", c.id, l.step)) }},
	{"read", (*creature).isUp, func(_ *lives, c *creature) { c.reads() }},
	{"expand", func(c *creature) bool { return c.published && c.sizeGiB < mostGiB }, func(_ *lives, c *creature) {
		c.sizeGiB++
		size := c.sizeGiB * gib
		c.must(c.machine.Resize(c.soon(), c.disk, size))
		if got, err := c.expand(c.target, size); err != nil || got != size {
			c.t.Errorf("it grew to %d of %d: %v", got, size, err)
		}
	}},
	{"unpublish", (*creature).isUp, func(_ *lives, c *creature) {
		c.must(c.unpublish(c.target))
		c.published = false
	}},
	{"unstage under a pod", (*creature).isUp, func(_ *lives, c *creature) { want(c.t, c.unstage(), codes.FailedPrecondition, c.target) }},
	{"unstage", func(c *creature) bool { return c.staged && !c.published }, func(_ *lives, c *creature) {
		c.must(c.unstage())
		c.staged, c.stale = false, false
	}},
	{"the plugin is killed", nil, func(l *lives, _ *creature) { restart(l.t, shared.agent.StartPlugin) }},
	{"the disk is unplugged and plugged in again", nil, func(_ *lives, c *creature) { c.replugged() }},
	{"the machine is lost", nil, func(l *lives, _ *creature) { l.machineLost() }},
}

func (c *creature) isUp() bool   { return c.published }
func (c *creature) isDown() bool { return !c.staged }

func (c *creature) stages() {
	c.t.Helper()
	c.must(c.stage())
	c.made, c.staged = true, true
}

// data is where the data is.
func (c *creature) data() string {
	if c.capability.GetBlock() != nil {
		return c.target
	}
	return filepath.Join(c.target, "file")
}

// writes has a pod write a text, as long as the one before, and flush it.
func (c *creature) writes(text string) {
	c.t.Helper()
	p := c.open(filepath.Dir(c.data()), filepath.Base(c.data()))
	if errno := p.write(text); errno != 0 {
		c.t.Fatal(errno)
	}
	p.end()
	c.text = text
}

func (c *creature) reads() {
	c.t.Helper()
	if c.text == "" {
		return
	}
	got, err := c.agent.Read(c.soon(), c.data())
	c.must(err)
	if !strings.HasPrefix(string(got), c.text) {
		c.t.Errorf("%s has %q, want %q", c.name, got[:min(len(got), len(c.text))], c.text)
	}
}

// replugged has the disk leave and come back under whatever uses it, and then what uses it come back.
func (c *creature) replugged() {
	c.t.Helper()
	c.stale = c.stale || c.published
	c.unplug()
	c.plug()
	c.device()
	if c.staged {
		c.must(c.stage())
	}
	if c.published {
		c.must(c.publish(c.target))
		c.reads()
	}
}

// machineLost ends the plugin and all that it has mounted, open or recorded: the disks go to another machine.
func (l *lives) machineLost() {
	l.t.Helper()
	first := l.volumes[0]
	first.must(shared.agent.KillPlugin(first.soon()))
	first.must(shared.agent.Forget(first.soon()))
	for _, c := range l.volumes {
		for _, m := range c.mappers() {
			c.run(cryptsetup("close", m)...)
		}
		c.staged, c.published, c.stale = false, false, false
	}
	first.must(shared.agent.StartPlugin(first.soon()))
}

// isAsItHasToBe compares a volume with what is on the node.
func (c *creature) isAsItHasToBe() {
	c.t.Helper()
	mounts, open := 0, 0
	if c.staged {
		open = 1
	}
	if c.staged && c.capability.GetBlock() == nil {
		mounts++
	}
	if c.published {
		mounts++
		c.reads()
	}
	if n := c.mounts(); n != mounts {
		c.t.Errorf("%s has %d mounts, not %d", c.name, n, mounts)
	}
	if names := c.mappers(); len(names) < open || len(names) > open && !c.stale {
		c.t.Errorf("of %s are open %q", c.name, names)
	}
}

// TestEncryptedLives: encrypted volumes live random lives on one node, and never lose what was flushed, are never open for
// nobody, and open by one passphrase. It is the part of the soak for which there has to be a kernel that encrypts.
func TestEncryptedLives(t *testing.T) {
	seed, steps := fromEnvironment(t, "VM_LIVES_SEED", 1), fromEnvironment(t, "VM_LIVES_STEPS", livesSteps)
	t.Logf("to see it again: VM_LIVES_SEED=%d VM_LIVES_STEPS=%d", seed, steps)
	l := &lives{t: t, chance: rand.New(rand.NewPCG(seed, 0))}
	for _, c := range []*creature{
		{name: "an ext4", rig: newRig(t, mounted("ext4"))}, {name: "an xfs", rig: newRig(t, mounted("xfs"))}, {name: "a device", rig: newRig(t, raw())},
	} {
		c.key, c.sizeGiB = firstKey, 1
		c.encrypted(firstKey, "")
		c.plug()
		l.volumes = append(l.volumes, c)
	}
	for l.step = range int(steps) {
		l.one()
		if t.Failed() {
			t.FailNow() // what follows would fail for the same reason
		}
		if (l.step+1)%quietEvery == 0 {
			for _, c := range l.volumes {
				c.isAsItHasToBe()
			}
		}
	}
	for _, c := range l.volumes {
		c.ends()
	}
	log, err := shared.agent.Read(t.Context(), guest.PluginLog)
	if err != nil || strings.Contains(string(log), "CANARY") {
		t.Errorf("a passphrase is in the plugin's log, or that cannot be read: %v", err)
	}
}

// one takes a step that can be taken.
func (l *lives) one() {
	l.t.Helper()
	for {
		c, d := l.volumes[l.chance.IntN(len(l.volumes))], deeds[l.chance.IntN(len(deeds))]
		if d.can != nil && !d.can(c) {
			continue
		}
		l.t.Logf("step %d, %s: %s", l.step, c.name, d.name)
		d.do(l, c)
		return
	}
}

// ends takes a volume down, and proves once more that it has its data and its passphrase.
func (c *creature) ends() {
	c.t.Helper()
	c.isAsItHasToBe()
	for range 2 {
		c.must(c.unpublish(c.target))
		c.must(c.unstage())
		c.rig.isDown()
		if c.made {
			c.up()
			c.reads()
		}
	}
	c.down()
	if c.made {
		c.opens(map[string]bool{firstKey: c.key == firstKey, secondKey: c.key == secondKey})
	}
}

func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
