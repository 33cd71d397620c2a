//go:build faultpoints

package step

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Enabled reports whether this build can be stopped at steps.
const Enabled = true

var dir struct {
	sync.RWMutex
	path string
}

// SetDir names the directory of stop files: while <directory>/<step>.stop exists, the process stops before the
// step and says so by making <directory>/<step>.reached.
func SetDir(path string) {
	dir.Lock()
	defer dir.Unlock()
	dir.path = path
}

// Dir is the directory of stop files.
func Dir() string {
	dir.RLock()
	defer dir.RUnlock()
	return dir.path
}

func stopFile(name Name) (stop, reached string) {
	if Dir() == "" {
		return "", ""
	}
	base := filepath.Join(Dir(), string(name))
	return base + ".stop", base + ".reached"
}

// Wanted reports whether somebody wants to stop the process at the step.
func Wanted(name Name) bool {
	stop, _ := stopFile(name)
	if stop == "" {
		return false
	}
	_, err := os.Stat(stop)
	return err == nil
}

// At is called right before a step is taken. It returns when nobody wants to stop there, or when the context ends.
func At(ctx context.Context, name Name) error {
	if !Wanted(name) {
		return nil
	}
	stop, reached := stopFile(name)
	klog.FromContext(ctx).Info("Stopped at a step", "step", name, "until", "the stop file is removed", "file", stop)
	if err := os.WriteFile(reached, nil, 0o600); err != nil {
		return fmt.Errorf("stopping at step %s: %w", name, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for Wanted(name) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return os.Remove(reached)
}
