package vm

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

// TestRawBlockReplugged: a disk is unplugged while a pod has it as a device, and plugged in again. The pod gets errors, and
// the next one the disk, whether the old one's path was taken away or not.
func TestRawBlockReplugged(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(map[bool]string{true: "unpublished", false: "never unpublished"}[clean], func(t *testing.T) {
			r := newRig(t, raw())
			r.plug()
			r.must(r.stage())
			r.must(r.publish(r.target))
			p := r.open(r.target, "")
			if errno := p.write("written"); errno != 0 {
				t.Fatal(errno)
			}
			if total, err := r.total(r.target); err != nil || total != gib {
				t.Errorf("it has %d bytes, %v", total, err)
			}
			want(t, r.unstage(), codes.FailedPrecondition, r.target)

			r.unplug()
			if errno := p.write("lost"); errno == 0 {
				t.Error("a disk that is gone was written to")
			}
			_, err := r.total(r.target)
			want(t, err, codes.FailedPrecondition, "unplugged")
			want(t, r.publish(r.target), codes.FailedPrecondition, r.serial)

			r.plug()
			r.device()
			_, err = r.total(r.target)
			want(t, err, codes.FailedPrecondition, "unplugged")
			if clean {
				p.end()
				r.must(r.unpublish(r.target))
			}
			for range 2 {
				r.must(r.publish(r.target))
			}
			if total, err := r.total(r.target); err != nil || total != gib {
				t.Errorf("it has %d bytes, %v", total, err)
			}
			got, err := shared.agent.Read(r.soon(), r.target)
			r.must(err)
			if !strings.HasPrefix(string(got), "written") {
				t.Errorf("read %q", got[:10])
			}
			if !clean {
				p.end()
			}
			if n := r.mounts(); n != 1 {
				t.Errorf("the volume has %d mounts", n)
			}
			r.must(r.unpublish(r.target))
			r.must(r.unstage())
		})
	}
}

// TestRawBlockNumberReused: nobody had the device of a disk that was unplugged open, and so the kernel gives its number to
// the next disk. The path at which it was published leads to that one now, which is another volume's.
func TestRawBlockNumberReused(t *testing.T) {
	r, other := newRig(t, raw()), newRig(t, raw())
	r.plug()
	r.must(r.stage())
	r.must(r.publish(r.target))
	before := r.device()
	r.unplug()
	other.plug()
	if now := other.device(); now != before {
		t.Fatalf("the other disk is %s, the first was %s: nothing is shown by this", now, before)
	}
	_, err := r.total(r.target)
	want(t, err, codes.NotFound, r.serial, other.serial)
	_, err = r.expand(r.target, gib)
	want(t, err, codes.NotFound, r.serial, other.serial)
	r.must(other.stage())
	r.must(other.publish(other.target))

	r.plug()
	r.device()
	r.must(r.publish(r.target))
	for _, v := range []*rig{r, other} {
		p := v.open(v.target, "")
		if errno := p.write(v.serial); errno != 0 {
			t.Error(errno)
		}
		p.end()
	}
	for _, v := range []*rig{r, other} {
		got, err := shared.agent.Read(r.soon(), v.target)
		r.must(err)
		if !strings.HasPrefix(string(got), v.serial) {
			t.Errorf("on the disk with serial %s was written %q", v.serial, got[:20])
		}
	}
}

// TestRawBlockGrows: the pod's device has the new size.
func TestRawBlockGrows(t *testing.T) {
	r := newRig(t, raw())
	r.plug()
	r.must(r.stage())
	r.must(r.publish(r.target))
	r.must(shared.machine.Resize(r.soon(), r.disk, 3*gib))
	if got, err := r.expand(r.target, 3*gib); err != nil || got != 3*gib {
		t.Errorf("it grew to %d, %v", got, err)
	}
	if total, err := r.total(r.target); err != nil || total != 3*gib {
		t.Errorf("it has %d bytes, %v", total, err)
	}
}

// TestRawBlockOfAnotherDisk: a volume that is staged from its disk is not staged or published from another one.
func TestRawBlockOfAnotherDisk(t *testing.T) {
	r, other := newRig(t, raw()), newRig(t, raw())
	r.plug()
	other.plug()
	r.must(r.stage())
	want(t, r.stageAs(r.soon(), other.serial), codes.InvalidArgument, other.serial, r.id)
	// A serial that is in no form proves nothing; the record of the staging does.
	stranger := newRigOf(t, raw(), uuid.NewString(), "stranger")
	stranger.plug()
	want(t, r.stageAs(r.soon(), stranger.serial), codes.FailedPrecondition, r.serial, stranger.serial)
	r.must(r.stage())
	r.must(r.publish(r.target))
}

// TestWrongDisk: the disk of another volume is not taken, mounted or formatted, whatever else is missing.
func TestWrongDisk(t *testing.T) {
	r, other := newRig(t, mounted("xfs")), newRig(t, mounted("xfs"))
	other.plug()
	other.device()
	err := r.stageWithin(5 * time.Second)
	want(t, err, codes.DeadlineExceeded, r.serial)
	want(t, r.stageAs(r.soon(), other.serial), codes.InvalidArgument, other.serial, r.id)
	result, err := shared.agent.Run(r.soon(), "blkid", "--probe", other.device())
	r.must(err)
	if result.Code != 2 { // nothing was found
		t.Errorf("the other volume's disk has %q", result.Output)
	}
	r.plug()
	r.must(r.stage())
	other.must(other.stage())
}

// TestTwoDisksWithOneSerial: neither is taken.
func TestTwoDisksWithOneSerial(t *testing.T) {
	r := newRig(t, mounted("ext4"))
	twin := newRigOf(t, mounted("ext4"), uuid.NewString(), r.serial)
	r.plug()
	twin.plug()
	r.devices(2)
	want(t, r.stage(), codes.FailedPrecondition, "ambiguous", r.serial)
	twin.unplug()
	r.must(r.stage())
}

// TestLongSerials: a virtio disk shows 20 characters of its serial.
func TestLongSerials(t *testing.T) {
	id := uuid.NewString()
	r := newRigOf(t, mounted("ext4"), id, serialOf("abcde", id)) // 20 characters
	r.plug()
	r.must(r.stage())

	id = uuid.NewString()
	long := newRigOf(t, mounted("ext4"), id, serialOf("abcdef", id)) // 21
	long.plug()
	want(t, long.stage(), codes.FailedPrecondition, long.serial)
}
