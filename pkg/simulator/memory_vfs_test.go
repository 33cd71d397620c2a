package simulator_test

import (
	"context"
	"slices"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// memoryVFS stands for real directories where time is fake. It keeps the promises of simulator.FileSystems.
type memoryVFS struct {
	mu       sync.Mutex
	dirs     map[string]int64 // bytes in use
	attached []simulator.FileSystemAttachment
	holder   string
}

func newMemoryVFS() *memoryVFS { return &memoryVFS{dirs: map[string]int64{}} }

func (m *memoryVFS) locked(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f()
}

func (m *memoryVFS) Ensure(_ context.Context, id string) error {
	return m.locked(func() error { m.dirs[id] += 0; return nil })
}

func (m *memoryVFS) Attach(_ context.Context, id string, tag int, instance string) error {
	return m.locked(func() error {
		a := simulator.FileSystemAttachment{ID: id, InstanceID: instance, MountTag: tag}
		if !slices.Contains(m.attached, a) {
			m.attached = append(m.attached, a)
		}
		return nil
	})
}

func (m *memoryVFS) Detach(_ context.Context, id string, tag int, instance string) error {
	return m.locked(func() error {
		if m.holder != "" {
			return &simulator.BusyError{Disk: id, Holder: m.holder}
		}
		a := simulator.FileSystemAttachment{ID: id, InstanceID: instance, MountTag: tag}
		m.attached = slices.DeleteFunc(m.attached, func(b simulator.FileSystemAttachment) bool { return a == b })
		return nil
	})
}

func (m *memoryVFS) Used(_ context.Context, id string) (used int64, err error) {
	err = m.locked(func() error { used = m.dirs[id]; return nil })
	return used, err
}

func (m *memoryVFS) Remove(_ context.Context, id string) error {
	return m.locked(func() error {
		if slices.ContainsFunc(m.attached, func(a simulator.FileSystemAttachment) bool { return a.ID == id }) {
			return simulator.ErrPlugged
		}
		delete(m.dirs, id)
		return nil
	})
}

func (m *memoryVFS) Attached(context.Context) (all []simulator.FileSystemAttachment, err error) {
	err = m.locked(func() error { all = slices.Clone(m.attached); return nil })
	return all, err
}

func (m *memoryVFS) List(context.Context) (ids []string, err error) {
	err = m.locked(func() error {
		for id := range m.dirs {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

func (m *memoryVFS) Forget(context.Context, string) error { return nil }

// fill says how much of the file system is in use.
func (m *memoryVFS) fill(id string, bytes int64) {
	_ = m.locked(func() error { m.dirs[id] = bytes; return nil })
}

func (m *memoryVFS) hold(holder string) {
	_ = m.locked(func() error { m.holder = holder; return nil })
}
