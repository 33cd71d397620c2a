package faults

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// disk is what a machine shows of a volume's disk.
type disk struct {
	*host

	p    *point
	name string // vdb
}

func (v *volume) disk() disk {
	v.p.Helper()
	seen := v.seenBy()
	if len(seen) != 1 {
		v.p.Fatalf("the disk is seen at %s", seen)
	}
	target, err := os.Readlink(seen[0])
	if err != nil {
		v.p.Fatal(err)
	}
	return disk{host: v.host(), p: v.p, name: filepath.Base(target)}
}

// bytes is the size that the kernel gives the disk.
func (d disk) bytes() (int64, error) { return sizeOf(d.node()) }

// sizeOf is the size of the device at a path.
func sizeOf(path string) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	size, err = f.Seek(0, io.SeekEnd)
	return size, errors.Join(err, f.Close())
}

// sys is what sysfs says of it, node its device node, away where they are hidden.
func (d disk) sys() string  { return filepath.Join(d.disks, "block", d.name) }
func (d disk) node() string { return filepath.Join(d.disks, "devices", d.name) }
func (d disk) away() string { return filepath.Join(d.disks, "away-"+d.name) }

// hide takes the disk away from the machine, show brings it back. The kernel shows the node last.
func (d disk) hide() {
	d.p.Helper()
	if err := errors.Join(os.Rename(d.node(), d.away()+"-node"), os.Rename(d.sys(), d.away())); err != nil {
		d.p.Fatal(err)
	}
}

func (d disk) show() error {
	return errors.Join(os.Rename(d.away(), d.sys()), os.Rename(d.away()+"-node", d.node()))
}

// refuses proves that staging fails, in the time that it is given, and that nothing is mounted.
func (v *volume) refuses(within time.Duration, words string) {
	v.p.Helper()
	ctx, cancel := context.WithTimeout(v.p.Context(), within)
	defer cancel()
	if err := v.stage(ctx); err == nil || !strings.Contains(err.Error(), words) {
		v.p.Fatalf("stage: got %v, want an error with %q", err, words)
	}
	if mounts, err := at(v.staging()); err != nil || len(mounts) > 0 {
		v.p.Fatalf("mounted is %+v, %v", mounts, err)
	}
}

// disks are what can be wrong with the disk of a volume that is attached. other is a volume with data on the same
// machine.
var disks = []struct {
	name string
	do   func(v, other *volume)
}{
	{"disk late", func(v, _ *volume) {
		d := v.disk()
		d.hide()
		shown := make(chan error, 1)
		time.AfterFunc(time.Second, func() { shown <- d.show() }) // the stage below waits for it, or comes later
		if err := v.p.once(v.ups[attached]); err != nil {
			v.p.Errorf("a disk that comes a second late: %v", err)
		}
		if err := <-shown; err != nil {
			v.p.Fatal(err)
		}
	}},
	{"disk absent", func(v, _ *volume) {
		d := v.disk()
		d.hide()
		v.refuses(3*time.Second, "")
		if err := d.show(); err != nil {
			v.p.Fatal(err)
		}
	}},
	{"disk of another serial", func(v, other *volume) {
		right := v.published
		v.published = other.published
		v.refuses(10*time.Second, "")
		v.published = right
	}},
	{"disk behind another's node", func(v, other *volume) {
		mine, theirs := v.disk(), other.disk()
		swap := func() {
			if err := errors.Join(os.Rename(mine.node(), mine.away()), os.Rename(theirs.node(), mine.node()), os.Rename(mine.away(), theirs.node())); err != nil {
				v.p.Fatal(err)
			}
		}
		swap()
		v.refuses(3*time.Second, "")
		swap()
	}},
	{"disk twice", func(v, other *volume) {
		serial := filepath.Join(other.disk().sys(), "serial")
		right, err := os.ReadFile(serial)
		if err == nil {
			err = os.WriteFile(serial, []byte(v.serial()), 0o600)
		}
		if err != nil {
			v.p.Fatal(err)
		}
		v.refuses(3*time.Second, "")
		if err := os.WriteFile(serial, right, 0o600); err != nil {
			v.p.Fatal(err)
		}
	}},
}

// TestDisks: a disk that is not there, or not the one, is waited for or refused; nothing is written to any disk meanwhile,
// and the volume is staged when it is well. That is tried with a new volume, which is to be formatted, and with one that
// has data; in a sample with one of them.
func TestDisks(t *testing.T) {
	t.Parallel()
	need(t)
	type one struct {
		fault  int
		filled bool
	}
	var all []one
	for i := range disks {
		for _, filled := range []bool{false, true} {
			if os.Getenv("FAULTS") == "all" || filled == (i%2 > 0) {
				all = append(all, one{i, filled})
			}
		}
	}
	name := func(c one) string { return disks[c.fault].name + map[bool]string{true: " with data"}[c.filled] }
	sideBySide(t, all, name, func(t *testing.T, c one) {
		p := newPoint(t, newRig(t, simulator.Config{}))
		p.condition = disks[c.fault].name
		other := p.newVolume(use{fs: "ext4"})
		p.climb(other.ladder, other.top())
		other.whole()
		p.climb(other.ladder, attached)
		v := p.newVolume(use{fs: "ext4"})
		if c.filled {
			p.climb(v.ladder, v.top())
			v.whole()
		}
		p.climb(v.ladder, attached)
		disks[c.fault].do(v, other)
		for _, one := range []*volume{v, other} {
			p.climb(one.ladder, one.top())
			one.whole()
		}
		for _, one := range []*volume{v, other} {
			p.climb(one.ladder, nowhere)
		}
		p.nothingIsLeft(0)
	})
}
