package cluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SaveLogs copies the logs of all programs and pods to a place that outlives the
// cluster, for whoever looks for the reason of a failure, and says where.
func (c *Cluster) SaveLogs() error {
	target := filepath.Join(c.config.CacheDir, "logs-"+c.run.ID)
	err := filepath.WalkDir(c.run.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go in a running cluster
		}
		relative, err := filepath.Rel(c.run.Dir, path)
		if err != nil {
			return err
		}
		if entry.IsDir() && skipForLogs(relative) {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() || !strings.HasSuffix(path, ".log") {
			return nil
		}
		copied := filepath.Join(target, relative)
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			return err
		}
		if err := copyFile(path, copied); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	c.Say("logs of all programs and pods: %s", target)
	return err
}

// skipForLogs names directories, relative to the run's, in which no log is but much else.
func skipForLogs(relative string) bool {
	parts := strings.Split(relative, string(filepath.Separator))
	if len(parts) > 1 {
		switch parts[1] {
		case "containerd", "kubelet", "root", "work":
			return true
		}
	}
	return parts[0] == "etcd" || parts[0] == "cloud"
}
