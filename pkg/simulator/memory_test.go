package simulator_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// memoryDisks stands for real disks where time is fake. It keeps the promises of simulator.Disks.
type memoryDisks struct {
	mu      sync.Mutex
	files   map[string]int64
	plugged map[string]string
	serials map[string]string
	guest   map[string]int64 // the size that the guest sees
	held    map[string]string
	snaps   map[string]int64
	full    bool // no room for copies
	calls   []string
}

func newMemoryDisks() *memoryDisks {
	d := &memoryDisks{}
	d.reset()
	return d
}

func (d *memoryDisks) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files, d.plugged, d.serials = map[string]int64{}, map[string]string{}, map[string]string{}
	d.guest, d.held, d.calls = map[string]int64{}, map[string]string{}, nil
	d.snaps, d.full = map[string]int64{}, false
}

// locked runs f under the lock and records the call.
func (d *memoryDisks) locked(call string, f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, call)
	return f()
}

func (d *memoryDisks) Ensure(_ context.Context, id string, size int64) error {
	return d.locked("ensure", func() error { d.files[id] = max(size, d.files[id]); return nil })
}

func (d *memoryDisks) Plug(_ context.Context, id, serial, instance string) error {
	return d.locked("plug", func() error {
		if at, ok := d.plugged[id]; ok && at != instance {
			return fmt.Errorf("disk %s has a device for %s", id, at)
		} else if ok {
			return nil
		}
		d.plugged[id], d.serials[id], d.guest[id] = instance, serial, d.files[id]
		return nil
	})
}

func (d *memoryDisks) Unplug(_ context.Context, id, _ string) error {
	return d.locked("unplug", func() error {
		if holder := d.held[id]; holder != "" {
			return &simulator.BusyError{Disk: id, Holder: holder}
		}
		delete(d.plugged, id)
		return nil
	})
}

func (d *memoryDisks) Refresh(_ context.Context, id string) error {
	return d.locked("refresh", func() error { d.guest[id] = d.files[id]; return nil })
}

func (d *memoryDisks) Remove(_ context.Context, id string) error {
	return d.locked("remove", func() error {
		if _, ok := d.plugged[id]; ok {
			return simulator.ErrPlugged
		}
		delete(d.files, id)
		return nil
	})
}

func (d *memoryDisks) Plugged(context.Context) (map[string]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.plugged), nil
}

func (d *memoryDisks) Files(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.files)), nil
}

func (d *memoryDisks) Forget(context.Context, string) error { return nil }

func (d *memoryDisks) guestSize(id string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.guest[id]
}

func (d *memoryDisks) serial(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.serials[id]
}

func (d *memoryDisks) hold(id, holder string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[id] = holder
}

func (d *memoryDisks) Snapshot(_ context.Context, snapshot, id string) error {
	return d.locked("snapshot", func() error { return d.copyFile(d.snaps, snapshot, d.files, id) })
}

func (d *memoryDisks) Restore(_ context.Context, id, snapshot string) error {
	return d.locked("restore", func() error { return d.copyFile(d.files, id, d.snaps, snapshot) })
}

func (d *memoryDisks) copyFile(into map[string]int64, to string, from map[string]int64, id string) error {
	size, ok := from[id]
	switch _, exists := into[to]; {
	case exists:
		return nil
	case !ok:
		return simulator.ErrNoDisk
	case d.full:
		return simulator.ErrNoSpace
	}
	into[to] = size
	return nil
}

func (d *memoryDisks) RemoveSnapshot(_ context.Context, id string) error {
	return d.locked("remove snapshot", func() error { delete(d.snaps, id); return nil })
}

func (d *memoryDisks) Snapshots(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.snaps)), nil
}

// left names everything that has a file.
func (d *memoryDisks) left() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Keys(d.files)), slices.Collect(maps.Keys(d.snaps)))
}

// fileSize is that of the backing file, 0 when there is none.
func (d *memoryDisks) fileSize(id string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[id]
}

func (d *memoryDisks) setFull(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}
