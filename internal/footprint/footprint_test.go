package footprint

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		file, text string
		want       int64
	}{
		"version 2":             {"memory.max", "268435456\n", 256 << 20},
		"version 2 without one": {"memory.max", "max\n", 0},
		"version 1":             {"memory/memory.limit_in_bytes", "268435456\n", 256 << 20},
		"version 1 without one": {"memory/memory.limit_in_bytes", "9223372036854771712\n", 0},
		"nothing that is known": {"memory.max", "a lot", 0},
		"no file":               {"memory.high", "1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, tt.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := container(root); got != tt.want {
				t.Errorf("%d bytes, want %d", got, tt.want)
			}
		})
	}
}

// What the environment says holds.
func TestKeepHeedsTheEnvironment(t *testing.T) {
	percent, limit := debug.SetGCPercent(77), debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	debug.SetMemoryLimit(math.MaxInt64)
	Keep(func(name string) string { return map[string]string{"GOGC": "77", "GOMEMLIMIT": "1GiB"}[name] })
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC is %d", got)
	}
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("the limit is %d", got)
	}
	Keep(func(string) string { return "" })
	if got := debug.SetGCPercent(77); got != growth {
		t.Errorf("GOGC is %d", got)
	}
}
