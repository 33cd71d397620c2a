package disks

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
	seen := map[string]bool{}
	for _, pid := range processes() {
		proc := filepath.Join("/proc", strconv.Itoa(pid))
		if space, err := os.Readlink(filepath.Join(proc, "ns", "mnt")); err == nil && !seen[space] {
			seen[space] = true
			for _, m := range mountsOf(dev, proc) {
				found.mounted = append(found.mounted, fmt.Sprintf("mounted on %s (%s, seen by process %s)", m.target, m.fsType, describe(proc)))
			}
		}
		except := -1
		if pid == os.Getpid() {
			except = ours
		}
		if opens(dev, proc, except) {
			found.open = append(found.open, "open in process "+describe(proc))
		}
	}
	return found
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

func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mountsOf finds the device among the mounts of a process's namespace.
func mountsOf(dev loop, proc string) []mount {
	f, err := os.Open(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read
	var mounted []mount
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m, ok := parseMount(lines.Text())
		if ok && m.isOf(dev, proc) {
			mounted = append(mounted, m)
		}
	}
	return mounted
}

type mount struct {
	numbers, target, fsType, source string
}

// parseMount reads a line of mountinfo (proc_pid_mountinfo(5)); optional fields end with a dash.
func parseMount(line string) (mount, bool) {
	before, after, ok := strings.Cut(line, " - ")
	head, tail := strings.Fields(before), strings.Fields(after)
	if !ok || len(head) < 5 || len(tail) < 2 {
		return mount{}, false
	}
	return mount{numbers: head[2], target: unescape(head[4]), fsType: tail[0], source: unescape(tail[1])}, true
}

// isOf tells whether the mount is of the device. File systems that span devices (btrfs) show numbers of their own:
// for them the source's node says it, as the process sees it.
func (m mount) isOf(dev loop, proc string) bool {
	if m.numbers+"\n" == dev.numbers() {
		return true
	}
	if !strings.HasPrefix(m.numbers, "0:") || !strings.HasPrefix(m.source, "/") {
		return false
	}
	return isNodeOf(dev, filepath.Join(proc, "root", m.source))
}

// opens tells whether the process has a descriptor of the device, other than the one excepted.
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

// describe gives "4711 (mkfs.xfs)".
func describe(proc string) string {
	pid := filepath.Base(proc)
	comm, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil {
		return pid
	}
	return pid + " (" + strings.TrimSpace(string(comm)) + ")"
}

// unescape undoes mountinfo's octal escapes of blanks and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
