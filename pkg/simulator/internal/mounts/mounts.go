// Package mounts reads what is mounted where, in all mount namespaces of the machine.
package mounts

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Mount is one line of a process's mountinfo (proc_pid_mountinfo(5)).
type Mount struct {
	ID, Parent int
	// Numbers are those of the device: "8:1".
	Numbers string
	// Root is which directory of the file system is mounted, Target where.
	Root, Target   string
	FSType, Source string
	// Shared is the mount's peer group, Master the one that it gets mounts from; 0 for none.
	Shared, Master int
}

// Read returns the mounts that a process sees: Read("/proc/self").
func Read(proc string) ([]Mount, error) {
	f, err := os.Open(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	var mounts []Mount
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parse(lines.Text()); ok {
			mounts = append(mounts, m)
		}
	}
	return mounts, lines.Err()
}

// parse reads a line; optional fields end with a dash.
func parse(line string) (Mount, bool) {
	before, after, ok := strings.Cut(line, " - ")
	head, tail := strings.Fields(before), strings.Fields(after)
	if !ok || len(head) < 6 || len(tail) < 2 {
		return Mount{}, false
	}
	m := Mount{Numbers: head[2], Root: unescape(head[3]), Target: unescape(head[4]), FSType: tail[0], Source: unescape(tail[1])}
	m.ID, _ = strconv.Atoi(head[0])     // always a number
	m.Parent, _ = strconv.Atoi(head[1]) // the same
	for _, field := range head[6:] {
		name, value, _ := strings.Cut(field, ":")
		switch name {
		case "shared":
			m.Shared, _ = strconv.Atoi(value)
		case "master":
			m.Master, _ = strconv.Atoi(value)
		}
	}
	return m, true
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

// Namespace is a mount namespace as one of its processes sees it.
type Namespace struct {
	// Proc is the process's directory: "/proc/4711".
	Proc   string
	Mounts []Mount
}

// Namespaces returns each mount namespace that has a process once. Processes that end meanwhile are passed over.
func Namespaces() []Namespace {
	var all []Namespace
	seen := map[string]bool{}
	for _, proc := range Processes() {
		space, err := os.Readlink(filepath.Join(proc, "ns", "mnt"))
		if err != nil || seen[space] {
			continue
		}
		if mounts, err := Read(proc); err == nil {
			seen[space] = true
			all = append(all, Namespace{Proc: proc, Mounts: mounts})
		}
	}
	return all
}

// Processes returns the directories of all processes.
func Processes() []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var procs []string
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err == nil {
			procs = append(procs, filepath.Join("/proc", entry.Name()))
		}
	}
	return procs
}

// Describe names a process for people: "4711 (mkfs.xfs)".
func Describe(proc string) string {
	pid := filepath.Base(proc)
	comm, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil {
		return pid
	}
	return pid + " (" + strings.TrimSpace(string(comm)) + ")"
}
