package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"
)

const (
	// sysDevBlock has a link for each device number. It is the kernel's own, whatever a Finder's directories are.
	sysDevBlock = "/sys/dev/block"
	// loopDir has the loop devices, and devDir their nodes.
	loopDir = "/sys/class/block"
	devDir  = "/dev"
	procDir = "/proc"
	// usersPatience bounds the search among processes: it is made for a message.
	usersPatience = 2 * time.Second
)

// Users lists what uses a device, for messages: its partitions, devices that are made of it (multipath, LVM, RAID,
// encryption, loop), mounts and processes. It changes nothing and asks no disk and no file system, so it cannot hang.
// In a container it sees the processes of the container only. What cannot be read is left out.
func Users(d Device) []string {
	numbers, users := partitions(sysDevBlock, d.Number)
	numbers = append(numbers, d.Number)
	for _, n := range numbers {
		users = append(users, stacked(sysDevBlock, n)...)
	}
	users = append(users, loops(numbers)...)
	return append(users, processes(numbers, time.Now().Add(usersPatience))...)
}

// describe joins users for an error.
func describe(users []string) string {
	if len(users) == 0 {
		return "by whom cannot be seen from here (lsblk, fuser -vm and grep in /proc/*/mountinfo on the node may tell)"
	}
	const most = 10
	if more := len(users) - most; more > 0 {
		users = append(slices.Clone(users[:most]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(users, "; ")
}

// partitions lists the partitions of a disk, whose use is its use.
func partitions(sys string, n Number) (numbers []Number, users []string) {
	markers, err := filepath.Glob(filepath.Join(sys, n.String(), "*", "partition"))
	if err != nil {
		return nil, nil
	}
	for _, m := range markers {
		dir := filepath.Dir(m)
		raw, err := os.ReadFile(filepath.Join(dir, "dev")) //nolint:gosec // in sysfs
		if err != nil {
			continue
		}
		if p, err := ParseNumber(string(raw)); err == nil {
			numbers = append(numbers, p)
			users = append(users, "it has partition "+filepath.Base(dir))
		}
	}
	return numbers, users
}

// stacked lists the devices that the kernel made of this one.
func stacked(sys string, n Number) []string {
	entries, err := os.ReadDir(filepath.Join(sys, n.String(), "holders"))
	if err != nil {
		return nil
	}
	var users []string
	for _, e := range entries {
		what := ""
		if raw, err := os.ReadFile(filepath.Join(sys, n.String(), "holders", e.Name(), "dm", "uuid")); err == nil {
			what, _, _ = strings.Cut(strings.TrimSpace(string(raw)), "-") // LVM, mpath, CRYPT
		}
		if raw, err := os.ReadFile(filepath.Join(sys, n.String(), "holders", e.Name(), "dm", "name")); err == nil {
			what = strings.TrimSpace(what + " " + string(raw))
		}
		if what != "" {
			what = " (" + what + ")"
		}
		users = append(users, "device "+e.Name()+what+" is made of it")
	}
	return users
}

// loops lists the loop devices on top of the device, such as the kubelet's for a raw block volume.
func loops(numbers []Number) []string {
	backing, err := filepath.Glob(filepath.Join(loopDir, "loop*", "loop", "backing_file"))
	if err != nil {
		return nil
	}
	var users []string
	for _, b := range backing {
		raw, err := os.ReadFile(b) //nolint:gosec // in sysfs
		if err != nil {
			continue
		}
		name, path := filepath.Base(filepath.Dir(filepath.Dir(b))), strings.TrimSuffix(string(raw), "\n")
		if n, ok := backingNumber(name, path); ok && slices.Contains(numbers, n) {
			users = append(users, fmt.Sprintf("loop device %s is on top of it (by %s)", name, path))
		}
	}
	return users
}

// backingNumber finds the block device that a loop device is on top of. The file's path tells when it can be seen from
// here; the loop device is opened and asked only when it cannot, as being opened keeps it from being cleared.
func backingNumber(name, path string) (Number, bool) {
	if n, isBlock, err := At(path); err == nil {
		return n, isBlock
	}
	file, err := os.OpenFile(filepath.Join(devDir, name), os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return Number{}, false
	}
	defer file.Close() //nolint:errcheck // only asked
	info, err := unix.IoctlLoopGetStatus64(int(file.Fd()))
	if err != nil || info.Rdevice == 0 {
		return Number{}, false
	}
	return NumberOf(info.Rdevice), true
}

// processes lists the mounts of the devices in every mount namespace that a process shows, and the processes that have
// them open.
func processes(numbers []Number, until time.Time) []string {
	dirs, err := filepath.Glob(filepath.Join(procDir, "[0-9]*"))
	if err != nil {
		return nil
	}
	// This process first: its mounts are the ones that the reader knows.
	self := filepath.Join(procDir, "self")
	var mounted, open []string
	spaces := map[string]bool{}
	for _, dir := range append([]string{self}, dirs...) {
		if time.Now().After(until) {
			open = append(open, "there was no time to look at every process")
			break
		}
		if space, err := os.Readlink(filepath.Join(dir, "ns", "mnt")); err == nil && !spaces[space] {
			spaces[space] = true
			mounted = append(mounted, mounts(dir, numbers, len(spaces) > 1)...)
		}
		if dir != self && opens(dir, numbers) {
			open = append(open, "process "+processName(dir)+" has it open")
		}
	}
	return append(mounted, open...)
}

// mounts lists where a process has the devices mounted.
func mounts(dir string, numbers []Number, elsewhere bool) []string {
	infos, err := mountutils.ParseMountInfo(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil
	}
	var users []string
	for _, i := range infos {
		n := Number{uint32(i.Major), uint32(i.Minor)} //nolint:gosec // 32 bits in the kernel
		if at, isBlock, err := At(i.Source); i.FsType == "btrfs" && err == nil && isBlock {
			n = at // the number is the file system's own
		}
		if !slices.Contains(numbers, n) {
			continue
		}
		user := "it is mounted at " + i.MountPoint
		if elsewhere {
			user += " in the mount namespace of process " + processName(dir)
		}
		users = append(users, user)
	}
	return users
}

// opens reports whether a process has one of the devices open.
func opens(dir string, numbers []Number) bool {
	entries, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		n, isBlock, err := At(filepath.Join(dir, "fd", e.Name()))
		return err == nil && isBlock && slices.Contains(numbers, n)
	})
}

// processName is the process's ID and command.
func processName(dir string) string {
	pid := filepath.Base(dir)
	raw, err := os.ReadFile(filepath.Join(dir, "comm")) //nolint:gosec // in /proc
	if err != nil {
		return pid
	}
	return fmt.Sprintf("%s (%s)", pid, strings.TrimSpace(string(raw)))
}

// At reports which device the node at the path stands for, and whether it is a block device at all. It does not ask the
// server of a network file system, which could hang.
func At(path string) (n Number, isBlock bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st); err != nil {
		return Number{}, false, err
	}
	if st.Mask&unix.STATX_TYPE == 0 {
		return Number{}, false, errors.New("its type is unknown")
	}
	return Number{st.Rdev_major, st.Rdev_minor}, uint32(st.Mode)&unix.S_IFMT == unix.S_IFBLK, nil
}
