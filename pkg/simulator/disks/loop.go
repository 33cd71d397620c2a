package disks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	loopControl = "/dev/loop-control"
	sysBlock    = "/sys/block"
	// loopMajor is the kernel's fixed number for loop devices (Documentation/admin-guide/devices.txt).
	loopMajor = 7
	// sector is the size of a disk's blocks, whatever the backing file is on.
	sector = 512
	// settle is how long a device may be in use because somebody just looks at it: blkid and others open every block
	// device for a moment. No disk of this plane can be changed meanwhile, so it is short.
	settle = 300 * time.Millisecond
	// findWithin bounds the search for a loop device that nobody else takes. Whoever makes one writes out its file first.
	findWithin = 10 * time.Second
)

// loop is one loop device that has a backing file.
type loop struct {
	number int
	rdev   uint64
	// device and inode say which backing file it has; a number can be reused for another one.
	device, inode uint64
	// onTop is the device number of the block device that backs it, 0 for a file.
	onTop uint64
	flags uint32
}

func (l loop) name() string    { return "loop" + strconv.Itoa(l.number) }
func (l loop) numbers() string { return fmt.Sprintf("%d:%d\n", unix.Major(l.rdev), unix.Minor(l.rdev)) }

func names(devices []loop) string {
	list := make([]string, 0, len(devices))
	for _, dev := range devices {
		list = append(list, dev.name())
	}
	return strings.Join(list, ", ")
}

// proveLoops says early and in words that no loop device can be made here.
func proveLoops() error {
	f, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("loop devices can only be made by root: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("this kernel offers no loop devices: %w", err)
	case err != nil:
		return err
	}
	return f.Close()
}

// openLoop opens the device node, and makes the missing node where /dev is not the kernel's own.
func openLoop(number, mode int) (*os.File, error) {
	path := "/dev/loop" + strconv.Itoa(number)
	f, err := os.OpenFile(path, mode, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	rdev := unix.Mkdev(loopMajor, uint32(number))                                                           //nolint:gosec // loop numbers are small
	if err := unix.Mknod(path, unix.S_IFBLK|0o660, int(rdev)); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // device numbers fit an int
		return nil, fmt.Errorf("mknod %s: %w", path, err)
	}
	return os.OpenFile(path, mode, 0)
}

// boundLoops asks every loop device that has a backing file for the inode behind it.
func boundLoops() ([]loop, error) {
	bound, err := filepath.Glob(filepath.Join(sysBlock, "loop*", "loop", "backing_file"))
	if err != nil {
		return nil, err
	}
	var devices []loop
	for _, path := range bound {
		name := filepath.Base(filepath.Dir(filepath.Dir(path)))
		number, err := strconv.Atoi(strings.TrimPrefix(name, "loop"))
		if err != nil {
			continue
		}
		dev, err := statusOf(number)
		if errors.Is(err, unix.ENXIO) { // cleared since it was listed
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("status of %s: %w", name, err)
		}
		devices = append(devices, dev)
	}
	return devices, nil
}

func statusOf(number int) (loop, error) {
	f, err := openLoop(number, os.O_RDONLY)
	if err != nil {
		return loop{}, err
	}
	defer func() { _ = f.Close() }() // opened to be looked at, nothing was written
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return loop{}, err
	}
	return loop{
		number: number,
		rdev:   unix.Mkdev(loopMajor, uint32(number)), //nolint:gosec // loop numbers are small
		device: info.Device,
		inode:  info.Inode,
		onTop:  info.Rdevice,
		flags:  info.Flags,
	}, nil
}

// loopsOf finds the loop devices of a backing file, by inode: names differ between mount namespaces.
func loopsOf(backing *os.File) ([]loop, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(backing.Fd()), &st); err != nil {
		return nil, fmt.Errorf("backing file %s: %w", backing.Name(), err)
	}
	all, err := boundLoops()
	if err != nil {
		return nil, err
	}
	var devices []loop
	for _, dev := range all {
		if dev.device == st.Dev && dev.inode == st.Ino {
			devices = append(devices, dev)
		}
	}
	return devices, nil
}

// configure makes a loop device for the backing file, in one system call: either it is whole or it is not there.
// Other processes compete for free numbers, so a number that was taken meanwhile is not a failure.
func configure(backing *os.File, step func(string)) (loop, error) {
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return loop{}, err
	}
	defer func() { _ = control.Close() }() // carries no data
	pause := time.Millisecond
	for began := time.Now(); time.Since(began) < findWithin; pause = min(2*pause, 20*time.Millisecond) {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return loop{}, fmt.Errorf("asking for a free loop device: %w", err)
		}
		step("free loop device found")
		err = configureNumber(number, backing)
		if errors.Is(err, unix.EBUSY) {
			time.Sleep(pause) // the number counts as free until the other one has made its device
			continue
		}
		if err != nil {
			return loop{}, fmt.Errorf("making loop%d for %s: %w", number, backing.Name(), err)
		}
		return statusOf(number)
	}
	return loop{}, errors.New("no loop device stayed free long enough to be used")
}

// configureNumber makes the loop device with the number, which was free a moment ago. It is EBUSY if somebody else has it.
func configureNumber(number int, backing *os.File) (err error) {
	// Whoever has the device for itself alone keeps others from configuring it (since Linux 5.3). Without that somebody could
	// take the number right before the flag is taken back, which would be the flag of their disk then.
	f, err := openLoop(number, os.O_RDWR|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	switch _, err := unix.IoctlLoopGetStatus64(int(f.Fd())); {
	case err == nil:
		return unix.EBUSY
	case !errors.Is(err, unix.ENXIO):
		return err
	}
	if err := makeWritable(int(f.Fd())); err != nil {
		return err
	}
	// Direct I/O spares the machine a second copy of every page; the kernel falls back where the file system cannot.
	// Left to itself the kernel would choose the blocks by what direct I/O wants, which on XFS changes with the first
	// snapshot: what was written in blocks of 512 bytes could not be mounted any more.
	config := unix.LoopConfig{
		Fd: uint32(backing.Fd()), Size: sector, //nolint:gosec // descriptors are small
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_DIRECT_IO},
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], backing.Name())
	return unix.IoctlLoopConfigure(int(f.Fd()), &config)
}

// makeWritable takes back a read-only flag. It stays with the number of a loop device: whoever got the number next would
// have a disk that refuses every write.
func makeWritable(fd int) error {
	readOnly, err := unix.IoctlGetInt(fd, unix.BLKROGET)
	if err != nil || readOnly == 0 {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.BLKROSET, 0)
}

// with opens the device and proves that it still has the same backing file before it lets act work on it.
func (l loop) with(mode int, act func(fd int) error) (err error) {
	f, err := openLoop(l.number, mode)
	if err != nil {
		return fmt.Errorf("%s: %w", l.name(), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("status of %s: %w", l.name(), err)
	}
	if info.Device != l.device || info.Inode != l.inode {
		return fmt.Errorf("%s: %w", l.name(), unix.ENXIO)
	}
	return act(int(f.Fd()))
}

// setCapacity makes the device as large as its backing file is now.
func (l loop) setCapacity() error {
	return l.with(os.O_RDWR, func(fd int) error {
		if err := unix.IoctlSetInt(fd, unix.LOOP_SET_CAPACITY, 0); err != nil {
			return fmt.Errorf("capacity of %s: %w", l.name(), err)
		}
		return nil
	})
}

// sectors is the size that the device has now, in units of 512 bytes.
func (l loop) sectors() (int64, error) {
	text, err := os.ReadFile(filepath.Join(sysBlock, l.name(), "size"))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// setAutoclear says whether the kernel clears the device when its last user closes it.
func (l loop) setAutoclear(on bool) error {
	return l.with(os.O_RDWR, func(fd int) error {
		info, err := unix.IoctlLoopGetStatus64(fd)
		if err != nil {
			return fmt.Errorf("status of %s: %w", l.name(), err)
		}
		if info.Flags&unix.LO_FLAGS_AUTOCLEAR != 0 == on {
			return nil
		}
		info.Flags ^= unix.LO_FLAGS_AUTOCLEAR
		if err := unix.IoctlLoopSetStatus64(fd, info); err != nil {
			return fmt.Errorf("flags of %s: %w", l.name(), err)
		}
		return nil
	})
}

// clear takes the device away. held tells that something uses it and that it therefore stays.
//
// LOOP_CLR_FD on a device in use succeeds and only marks it to be cleared on last close. So users are looked for
// first, and afterwards the device is watched until it has gone; if it stays, the mark is taken back.
func (l loop) clear(ctx context.Context) (held bool, err error) {
	asked, err := l.askToClear(ctx)
	if err != nil || !asked {
		return !asked, err
	}
	gone, err := soon(ctx, l.gone)
	if gone || err != nil {
		return false, err
	}
	err = l.setAutoclear(false)
	if errors.Is(err, unix.ENXIO) {
		return false, nil
	}
	return true, err
}

// askToClear tells the kernel to clear the device, unless it has users. It opens the device for itself alone, which
// fails while it is mounted or claimed by the device mapper; but also for the moment in which a program that was
// offered the same number finds out that the device is taken.
func (l loop) askToClear(ctx context.Context) (asked bool, err error) {
	_, err = soon(ctx, func() (decided bool, err error) {
		var found users
		err = l.with(os.O_RDWR|unix.O_EXCL, func(fd int) error {
			if found = usersOf(l, fd); found.any() {
				return nil
			}
			asked = true
			return errors.Join(makeWritable(fd), unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0))
		})
		switch {
		case errors.Is(err, unix.ENXIO): // gone already
			asked = true
			return true, nil
		case errors.Is(err, unix.EBUSY):
			return usersOf(l, -1).lasting(), nil
		}
		return asked || found.lasting(), err
	})
	return asked, err
}

// gone reports whether the device has lost its backing file.
func (l loop) gone() (bool, error) {
	now, err := statusOf(l.number)
	switch {
	case errors.Is(err, unix.ENXIO), err == nil && (now.device != l.device || now.inode != l.inode):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("status of %s: %w", l.name(), err)
	}
	return false, nil
}

// soon tries until done says true or the time to settle is over.
func soon(ctx context.Context, done func() (bool, error)) (bool, error) {
	deadline := time.Now().Add(settle)
	for {
		ok, err := done()
		if ok || err != nil || time.Now().After(deadline) {
			return ok, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
