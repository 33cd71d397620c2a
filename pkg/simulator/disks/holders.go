package disks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/mounts"
)

// holderOf names whatever uses the device, for people.
func holderOf(dev loop) string {
	if found := usersOf(dev, -1); found.any() {
		return strings.Join(slices.Concat(found.stacked, found.mounted, found.open), "; ")
	}
	return dev.name() + " is in use, by what could not be found out (a mount namespace without a process, perhaps)"
}

// users are what uses a device, in words.
type users struct{ stacked, mounted, open []string }

func (u users) any() bool { return u.lasting() || len(u.open) > 0 }

// lasting tells of users that are not gone in a moment.
func (u users) lasting() bool { return len(u.stacked)+len(u.mounted) > 0 }

// usersOf looks for everything that uses the device: devices on top of it, mounts in any mount namespace and
// processes that have it open, but for this process's own descriptor ours. What cannot be read (a process that just
// ended) is passed over.
func usersOf(dev loop, ours int) users {
	found := users{stacked: stackedOn(dev)}
	for _, space := range mounts.Namespaces() {
		for _, m := range mountsOf(dev, space) {
			found.mounted = append(found.mounted, fmt.Sprintf("mounted on %s (%s, %s)", m.Target, m.FSType, seenBy(space)))
		}
	}
	for _, proc := range mounts.Processes() {
		except := -1
		if filepath.Base(proc) == strconv.Itoa(os.Getpid()) {
			except = ours
		}
		if opens(dev, proc, except) {
			found.open = append(found.open, "open in process "+mounts.Describe(proc))
		}
	}
	return found
}

// seenBy says who sees a mount. One in another namespace is often a copy of a mount that its owner has unmounted; to the
// kernel it is a mount as any other, which writes to the disk and keeps it.
func seenBy(space mounts.Namespace) string {
	words := "seen by process " + mounts.Describe(space.Proc)
	own, errOwn := os.Stat("/proc/self/ns/mnt")
	its, errIts := os.Stat(filepath.Join(space.Proc, "ns", "mnt"))
	if errOwn == nil && errIts == nil && !os.SameFile(own, its) {
		words += " in a mount namespace of its own"
	}
	return words
}

// stackedOn finds block devices that are made of this one: another loop device (the kubelet puts one on top of a
// raw block volume) or the device mapper's.
func stackedOn(dev loop) []string {
	var stacked []string
	if all, err := boundLoops(); err == nil {
		for _, other := range all {
			if other.onTop == dev.rdev {
				stacked = append(stacked, other.name()+" on top of it")
			}
		}
	}
	holders, err := os.ReadDir(filepath.Join(sysBlock, dev.name(), "holders"))
	if err != nil {
		return stacked
	}
	for _, holder := range holders {
		stacked = append(stacked, holder.Name()+" on top of it")
	}
	return stacked
}

// mountsOf finds the device among the mounts of a namespace.
func mountsOf(dev loop, space mounts.Namespace) []mounts.Mount {
	return slices.DeleteFunc(slices.Clone(space.Mounts), func(m mounts.Mount) bool { return !isOf(m, dev, space.Proc) })
}

// isOf reports whether the mount is of the device. File systems that span devices (btrfs) show numbers of their own:
// for them the source's node says it, as the process sees it.
func isOf(m mounts.Mount, dev loop, proc string) bool {
	if m.Numbers+"\n" == dev.numbers() {
		return true
	}
	if !strings.HasPrefix(m.Numbers, "0:") || !strings.HasPrefix(m.Source, "/") {
		return false
	}
	return isNodeOf(dev, filepath.Join(proc, "root", m.Source))
}

// opens reports whether the process has a descriptor of the device, other than the one excepted.
func opens(dev loop, proc string, except int) bool {
	dir := filepath.Join(proc, "fd")
	descriptors, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, descriptor := range descriptors {
		if descriptor.Name() != strconv.Itoa(except) && isNodeOf(dev, filepath.Join(dir, descriptor.Name())) {
			return true
		}
	}
	return false
}

func isNodeOf(dev loop, path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && st.Rdev == dev.rdev
}
