package vfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// usageAge is how old an answer about the space in use may be: to ask means to look at every file.
const usageAge = time.Second

// usage remembers how much space is in use.
type usage struct {
	mu    sync.Mutex
	known map[string]measure
}

type measure struct {
	at    time.Time
	bytes int64
}

func newUsage() *usage { return &usage{known: map[string]measure{}} }

func (u *usage) forget(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.known, id)
}

func (u *usage) recent(id string) (int64, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m, ok := u.known[id]
	return m.bytes, ok && time.Since(m.at) < usageAge
}

func (u *usage) note(id string, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.known[id] = measure{at: time.Now(), bytes: bytes}
}

// Used measures the space that the content takes. The empty directory counts nothing; a missing one does not either.
func (p *Plane) Used(ctx context.Context, id string) (int64, error) {
	if err := checkIDs(id); err != nil {
		return 0, err
	}
	if bytes, ok := p.used.recent(id); ok {
		return bytes, nil
	}
	bytes, err := diskUsage(ctx, p.content(id))
	if err != nil {
		return 0, fmt.Errorf("file system %s: %w", id, err)
	}
	p.used.note(id, bytes)
	return bytes, nil
}

// diskUsage adds up the blocks of everything below the directory, a file with several names once.
func diskUsage(ctx context.Context, dir string) (int64, error) {
	var sum int64
	linked := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || path == dir {
			return passOver(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return passOver(err)
		}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if linked[st.Ino] {
				return nil
			}
			linked[st.Ino] = true
		}
		sum += st.Blocks * 512
		return nil
	})
	return sum, err
}

// passOver makes nothing of what vanished or changed while it was looked at, and of what a guest has put deeper than any
// path can reach: that must not keep others from seeing their file systems.
func passOver(err error) error {
	for _, harmless := range []error{fs.ErrNotExist, unix.ENOTDIR, unix.ENAMETOOLONG} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}
