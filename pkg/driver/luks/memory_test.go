package luks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files makes files in a new directory, by their paths there.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range texts {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestEnoughMemory: by the limit of the container, in both versions of control groups and from inside and outside of a
// namespace of them, and by what the machine has.
func TestEnoughMemory(t *testing.T) {
	const machine, stat1, stat2 = "MemTotal: 9 kB\nMemAvailable:     102400 kB\n", "rss 1\ntotal_rss 41943040\n", "file 99999999\nanon 41943040\n"
	for name, c := range map[string]struct {
		proc, cgroup map[string]string
		free         int64 // in MiB, -1 for no limit
	}{
		"nothing is told": {nil, nil, -1},
		"the machine":     {map[string]string{"meminfo": machine}, nil, 100},
		"version 2, in a namespace": {
			map[string]string{"meminfo": machine, "self/cgroup": "0::/\n"},
			map[string]string{"memory.max": "125829120\n", "memory.stat": stat2},
			80,
		},
		"version 2, without a namespace": {
			map[string]string{"meminfo": machine, "self/cgroup": "0::/pods/one\n"},
			map[string]string{"memory.max": "1\n", "pods/one/memory.max": "125829120\n", "pods/one/memory.stat": stat2},
			80,
		},
		"version 2, no limit": {
			map[string]string{"meminfo": machine, "self/cgroup": "0::/\n"}, map[string]string{"memory.max": "max\n", "memory.stat": stat2}, 100,
		},
		"version 1, in a container": {
			map[string]string{"meminfo": machine, "self/cgroup": "5:cpu:/pods/one\n4:memory:/pods/one\n"},
			map[string]string{"memory/memory.limit_in_bytes": "125829120\n", "memory/memory.stat": stat1},
			80,
		},
		"version 1, less than is used": {
			map[string]string{"self/cgroup": "4:memory:/\n"}, map[string]string{"memory/memory.limit_in_bytes": "1048576\n", "memory/memory.stat": stat1}, 0,
		},
		"version 1, no limit": {
			map[string]string{"meminfo": machine, "self/cgroup": "4:memory:/\n"},
			map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.stat": stat1},
			100,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := memory{files(t, c.proc), files(t, c.cgroup)}
			if c.free < 0 {
				if err := m.enough(1 << 50); err != nil {
					t.Error(err)
				}
				return
			}
			if err := m.enough(c.free << 20); c.free > 0 && err != nil {
				t.Errorf("%d MiB: %v", c.free, err)
			}
			if err := m.enough(c.free<<20 + 1<<20); !errors.Is(err, ErrMemory) {
				t.Errorf("1 MiB more: %v", err)
			}
		})
	}
	if _, told := (memory{"/proc", "/sys/fs/cgroup"}).inMachine(); !told {
		t.Error("the machine's memory is not told here")
	}
}

// TestMemoryIsBounded: a header that somebody made at a higher cost is not opened where that takes more memory than there
// is, it is opened alone where it takes less, and nothing is run before.
func TestMemoryIsBounded(t *testing.T) {
	disk := newDisk(t)
	if err := New().Format(t.Context(), disk, volumeID, first); err != nil {
		t.Fatal(err)
	}
	c := New()
	c.memory = memory{files(t, map[string]string{"meminfo": "MemAvailable: 65535 kB\n"}), t.TempDir()}
	for name, call := range map[string]func() error{
		"format": func() error { return c.Format(t.Context(), newDisk(t), volumeID, first) },
		"open":   func() error { return c.Open(t.Context(), disk, "name", first, false) },
		"test":   func() error { return c.Test(t.Context(), disk, first) },
		"add":    func() error { return c.Add(t.Context(), disk, first, second) },
		"remove": func() error { return c.Remove(t.Context(), disk, first) },
		"resize": func() error { return c.Resize(t.Context(), disk, "name", first) },
	} {
		if err := call(); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "64 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is enough for one is not enough for two at a time.
	for free, together := range map[string]bool{"65536": false, "131071": false, "131072": true} {
		c.memory.proc = files(t, map[string]string{"meminfo": "MemAvailable: " + free + " kB\n"})
		if err := c.Test(t.Context(), disk, first); err != nil {
			t.Errorf("%s kB: %v", free, err)
		}
		if !c.turns.TryAcquire(ownMemory) {
			t.Fatal("a turn was kept")
		}
		ctx, cancel := context.WithCancel(t.Context())
		if !together {
			cancel()
		}
		if err := c.Test(ctx, disk, first); (err == nil) != together {
			t.Errorf("%s kB, while another key is derived: %v", free, err)
		}
		cancel()
		c.turns.Release(ownMemory)
	}
	if err := c.derive(t.Context(), 1<<40, disk, nil, "--version"); !errors.Is(err, ErrMemory) {
		t.Errorf("much more than may be taken at a time: %v", err)
	}
}
