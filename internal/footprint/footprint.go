// Package footprint keeps the programs small. They do little and hold what changes seldom, so they can afford to collect garbage more
// often than Go does by default, which lets a heap become twice as large as what is in use.
package footprint

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

const (
	// growth is by how much the heap may exceed what is in use, in percent.
	growth = 50
	// share is the part of the container's memory that the heap may have before garbage is collected in earnest, whatever that costs: the
	// rest is for what is not the runtime's, the program's own pages above all.
	share = 0.85
	// root is where the limits of the process's own group of processes are.
	root = "/sys/fs/cgroup"
)

// Keep sets the runtime's pace and its soft limit, unless the environment does: GOGC and GOMEMLIMIT mean what they always do.
func Keep(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	if limit := container(root); limit > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(share * float64(limit)))
	}
}

// settled is how long a program is taken to start.
const settled = 20 * time.Second

// TrimLater returns to the system what a start that begins now has used, when that is free again. It takes as long as to collect
// garbage once. Who calls stop before has nothing returned.
func TrimLater() (stop func() bool) { return time.AfterFunc(settled, debug.FreeOSMemory).Stop }

// container returns how many bytes the container may use, 0 if there is no limit or none is known: those of both versions of control
// groups are looked for.
func container(root string) int64 {
	for _, file := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(filepath.Join(root, file)) //nolint:gosec // one of two files
		if err != nil {
			continue
		}
		// "max" is none, and version 1 has a number for it that is larger than any memory.
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || limit >= 1<<50 {
			return 0
		}
		return limit
	}
	return 0
}
