package luks

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrMemory says that there is less memory than the derivation of a key takes.
var ErrMemory = errors.New("not enough memory")

// memory is where the kernel tells how much memory a process may have. The tests have directories of their own.
type memory struct{ proc, cgroup string }

// enough returns ErrMemory when this process may not have that much more. A program that takes more than the limit of its
// container is killed in the middle of what it does, and perhaps the node plugin with it. What nobody tells is no limit.
func (m memory) enough(need int64) error {
	for _, limit := range []struct {
		whose string
		free  func() (int64, bool)
	}{{"the container of the node plugin", m.inCgroup}, {"this machine", m.inMachine}} {
		if free, told := limit.free(); told && free < need {
			return fmt.Errorf("%w: it takes %d MiB to derive a key, and %s has %d MiB left", ErrMemory, need>>20, limit.whose, max(0, free)>>20)
		}
	}
	return nil
}

// inCgroup is what the limit of the own control group leaves: what is cached can be taken back, only the rest counts.
func (m memory) inCgroup() (int64, bool) {
	groups, err := os.ReadFile(filepath.Join(m.proc, "self", "cgroup"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		dir, limit, used := m.cgroup, "memory.max", "anon"
		switch {
		case fields[0] == "0":
		case fields[1] == "memory":
			dir, limit, used = filepath.Join(m.cgroup, "memory"), "memory.limit_in_bytes", "total_rss"
		default:
			continue
		}
		// A container sees its own group as the root, or its path in a hierarchy that is not there.
		for _, own := range []string{filepath.Join(dir, fields[2]), dir} {
			text, err := os.ReadFile(filepath.Join(own, limit)) //nolint:gosec // below the control groups
			if err != nil {
				continue
			}
			most, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err != nil {
				break // "max"
			}
			now, _ := field(filepath.Join(own, "memory.stat"), used)
			return most - now, true
		}
	}
	return 0, false
}

// inMachine is what the machine can give without swapping.
func (m memory) inMachine() (int64, bool) {
	kib, ok := field(filepath.Join(m.proc, "meminfo"), "MemAvailable:")
	return kib << 10, ok
}

// field reads a number from a file of lines that begin with its name.
func field(path, name string) (int64, bool) {
	file, err := os.Open(path) //nolint:gosec // the kernel's
	if err != nil {
		return 0, false
	}
	defer file.Close() //nolint:errcheck // only read from
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
