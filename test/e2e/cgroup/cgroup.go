// Package cgroup makes, empties and removes one cgroup path in every hierarchy
// of the machine, be they of version 1, of version 2 or both at once.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Hierarchies returns the mount points of all cgroup hierarchies.
func Hierarchies() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	var points []string
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, found := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if !found || len(fields) < 5 {
			continue
		}
		kind, _, _ := strings.Cut(after, " ")
		// A mount of a part of a hierarchy (a container's own view) is none.
		if (kind == "cgroup" || kind == "cgroup2") && fields[3] == "/" && !slices.Contains(points, fields[4]) {
			points = append(points, fields[4])
		}
	}
	if len(points) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted")
	}
	return points, nil
}

// Create makes the path in every hierarchy, ready to take processes.
func Create(path string) error {
	points, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, point := range points {
		dir := point
		for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := inheritCPUSet(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCPUSet fills a new cpuset group of version 1, which starts empty and
// then refuses every process.
func inheritCPUSet(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		file := filepath.Join(dir, name)
		have, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(have)) != "" {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, "cpuset.cpu_exclusive")); err != nil {
			continue // version 2: empty means inherited
		}
		value, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Join moves the calling process into the path, in every hierarchy.
func Join(path string) error {
	points, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, point := range points {
		if err := os.WriteFile(filepath.Join(point, path, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Processes lists who lives in the path or below it, in any hierarchy.
func Processes(path string) ([]int, error) {
	found := map[int]bool{}
	err := each(path, func(dir string) error {
		content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for field := range strings.FieldsSeq(string(content)) {
			pid, parseErr := strconv.Atoi(field)
			if parseErr != nil {
				return parseErr
			}
			if pid > 0 { // 0 stands for a process of an outer PID namespace
				found[pid] = true
			}
		}
		return ignoreGone(err)
	})
	var pids []int
	for pid := range found {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, err
}

// Kill sends SIGKILL to every process in the path and below until none lives.
func Kill(ctx context.Context, path string) error {
	for {
		pids, err := Processes(path)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d of cgroup %s: %w", pid, path, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v of cgroup %s do not die: %w", pids, path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Remove deletes the path and everything below it from every hierarchy. The
// processes in it must be dead; the kernel may take a moment to notice.
func Remove(ctx context.Context, path string) error {
	for {
		var dirs []string
		if err := each(path, func(dir string) error { dirs = append(dirs, dir); return nil }); err != nil {
			return err
		}
		var last error
		for _, dir := range slices.Backward(dirs) {
			if err := ignoreGone(os.Remove(dir)); err != nil {
				last = err
			}
		}
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", path, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// each calls do for the path's directory and all below it in every hierarchy, parents first.
func each(path string, do func(dir string) error) error {
	points, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, point := range points {
		err := filepath.WalkDir(filepath.Join(point, path), func(dir string, entry fs.DirEntry, err error) error {
			if err != nil {
				return ignoreGone(err)
			}
			if !entry.IsDir() {
				return nil
			}
			return do(dir)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ignoreGone drops errors which say that a group vanished while it was looked at.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	return err
}
