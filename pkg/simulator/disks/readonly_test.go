package disks

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadOnlyFlag: a guest's flag is taken back with its disk, and what somebody else left on a free number is not handed on.
func TestReadOnlyFlag(t *testing.T) {
	ctx, p := t.Context(), newPlane(t)
	must(t, p.Ensure(ctx, disk, 4*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	dev := loopsUnder(t, p.root)[0]
	setReadOnly(t, dev.number)
	must(t, p.Unplug(ctx, disk, alpha))
	wantWritable(t, dev.number)
	backing, err := os.OpenFile(p.image(disk), os.O_RDWR, 0)
	must(t, err)
	defer func() { _ = backing.Close() }() // carries no data
	for {
		// The flag is set while the number is our own: a free one may be somebody else's a moment later.
		left, err := configure(backing, func(string) {})
		must(t, err)
		setReadOnly(t, left.number)
		must(t, left.with(os.O_RDONLY, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) }))
		err = configureNumber(left.number, backing)
		if errors.Is(err, unix.EBUSY) { // somebody else was quicker
			continue
		}
		must(t, err)
		wantWritable(t, left.number)
		return
	}
}

// TestReadOnlyFlagOfAnother: a number was free when the kernel was asked for one, and somebody else was quicker and has a disk
// with a flag there. It keeps its flag.
func TestReadOnlyFlagOfAnother(t *testing.T) {
	ctx, p := t.Context(), newPlane(t)
	must(t, p.Ensure(ctx, disk, 4*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	theirs := loopsUnder(t, p.root)[0]
	setReadOnly(t, theirs.number)
	backing, err := os.Create(filepath.Join(t.TempDir(), "backing"))
	must(t, err)
	defer func() { _ = backing.Close() }() // carries no data
	must(t, backing.Truncate(4*mib))
	if err := configureNumber(theirs.number, backing); !errors.Is(err, unix.EBUSY) {
		t.Errorf("taking the number of another one: %v", err)
	}
	f, err := openLoop(theirs.number, os.O_RDONLY)
	must(t, err)
	defer func() { _ = f.Close() }() // carries no data
	if readOnly, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET); err != nil || readOnly == 0 {
		t.Errorf("the flag of another one's disk is taken back: %d, %v", readOnly, err)
	}
}

// TestFreeNumberThatIsBeingTaken: somebody else is about to configure a number. Its flag is left to them.
func TestFreeNumberThatIsBeingTaken(t *testing.T) {
	newPlane(t)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { _ = control.Close() }) // carries no data
	number := 900_000 + os.Getpid()%100_000   // the kernel names the lowest free one, so nobody else is told of it
	must(t, unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_ADD, number))
	// While udev looks at it, it cannot be removed. A number without a file hurts nobody.
	t.Cleanup(func() { _ = unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_REMOVE, number) })
	setReadOnly(t, number)
	t.Cleanup(func() { _ = os.Remove("/dev/loop" + strconv.Itoa(number)) }) // udev or devtmpfs may have been quicker
	theirs, err := openLoop(number, os.O_RDONLY|unix.O_EXCL)
	must(t, err)
	defer func() { _ = theirs.Close() }() // carries no data
	backing, err := os.Create(filepath.Join(t.TempDir(), "backing"))
	must(t, err)
	defer func() { _ = backing.Close() }() // carries no data
	must(t, backing.Truncate(4*mib))
	if err := configureNumber(number, backing); !errors.Is(err, unix.EBUSY) {
		t.Errorf("taking a number that somebody is taking: %v", err)
	}
	if readOnly, err := unix.IoctlGetInt(int(theirs.Fd()), unix.BLKROGET); err != nil || readOnly == 0 {
		t.Errorf("the flag is taken back: %d, %v", readOnly, err)
	}
}

func setReadOnly(t *testing.T, number int) {
	t.Helper()
	f, err := openLoop(number, os.O_RDONLY)
	must(t, err)
	defer func() { _ = f.Close() }() // carries no data
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 1))
}

func wantWritable(t *testing.T, number int) {
	t.Helper()
	f, err := openLoop(number, os.O_RDONLY)
	must(t, err)
	defer func() { _ = f.Close() }() // carries no data
	readOnly, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	must(t, err)
	if readOnly != 0 {
		t.Errorf("loop%d is read-only", number)
		must(t, makeWritable(int(f.Fd())))
	}
}
