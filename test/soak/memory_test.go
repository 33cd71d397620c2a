package soak

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// content is what is on a disk in memory: the text that was written last, and the size that the guest sees.
type content struct {
	text  string
	size  int64
	guest int64
}

// memoryDisks are disks without devices. It keeps the promises of simulator.Disks.
type memoryDisks struct {
	mu      sync.Mutex
	disks   map[string]*content
	snaps   map[string]content
	plugged map[string]plug // by disk
}

type plug struct{ instance, serial string }

func newMemoryDisks() *memoryDisks {
	return &memoryDisks{disks: map[string]*content{}, snaps: map[string]content{}, plugged: map[string]plug{}}
}

// Ensure makes the disk at least so large.
func (d *memoryDisks) Ensure(_ context.Context, id string, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.disks[id] == nil {
		d.disks[id] = &content{}
	}
	d.disks[id].size = max(size, d.disks[id].size)
	return nil
}

// Plug gives the disk to the instance.
func (d *memoryDisks) Plug(_ context.Context, id, serial, instance string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.plugged[id]; ok && p.instance != instance {
		return fmt.Errorf("disk %s is plugged into %s", id, p.instance)
	} else if ok {
		return nil
	}
	d.plugged[id] = plug{instance, serial}
	d.disks[id].guest = d.disks[id].size
	return nil
}

// Unplug takes it away.
func (d *memoryDisks) Unplug(_ context.Context, id, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.plugged, id)
	return nil
}

// Refresh shows the guest the present size.
func (d *memoryDisks) Refresh(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.disks[id]; c != nil {
		c.guest = c.size
	}
	return nil
}

// Remove deletes the disk.
func (d *memoryDisks) Remove(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.plugged[id]; ok {
		return simulator.ErrPlugged
	}
	delete(d.disks, id)
	return nil
}

// Plugged is what is plugged.
func (d *memoryDisks) Plugged(context.Context) (map[string]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]string{}
	for id, p := range d.plugged {
		all[id] = p.instance
	}
	return all, nil
}

// Files are all disks.
func (d *memoryDisks) Files(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.disks)), nil
}

// Snapshot copies a disk.
func (d *memoryDisks) Snapshot(_ context.Context, snapshot, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, exists := d.snaps[snapshot]; exists {
		return nil
	}
	if d.disks[id] == nil {
		return simulator.ErrNoDisk
	}
	d.snaps[snapshot] = *d.disks[id]
	return nil
}

// Restore makes a disk from a copy.
func (d *memoryDisks) Restore(_ context.Context, id, snapshot string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.disks[id] != nil {
		return nil
	}
	snap, ok := d.snaps[snapshot]
	if !ok {
		return simulator.ErrNoDisk
	}
	d.disks[id] = &snap
	return nil
}

// RemoveSnapshot deletes a copy.
func (d *memoryDisks) RemoveSnapshot(_ context.Context, snapshot string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.snaps, snapshot)
	return nil
}

// Snapshots are all copies.
func (d *memoryDisks) Snapshots(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.snaps)), nil
}

// Forget does nothing: nothing is kept of instances.
func (*memoryDisks) Forget(context.Context, string) error { return nil }

// serialAt is the serial of a disk that the instance has, "" if it has it not.
func (d *memoryDisks) serialAt(id, instance string) (serial string, guest int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.plugged[id]; p.instance == instance {
		return p.serial, d.disks[id].guest
	}
	return "", 0
}

func (d *memoryDisks) read(id string) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.disks[id] == nil {
		return "", false
	}
	return d.disks[id].text, true
}

func (d *memoryDisks) readSnapshot(id string) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	snap, ok := d.snaps[id]
	return snap.text, ok
}

func (d *memoryDisks) write(id, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disks[id].text = text
}

// memoryShares are shared file systems without directories. It keeps the promises of simulator.FileSystems.
type memoryShares struct {
	mu       sync.Mutex
	texts    map[string]*string
	attached map[simulator.FileSystemAttachment]struct{}
}

func newMemoryShares() *memoryShares {
	return &memoryShares{texts: map[string]*string{}, attached: map[simulator.FileSystemAttachment]struct{}{}}
}

// Ensure makes the file system exist.
func (m *memoryShares) Ensure(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.texts[id] == nil {
		m.texts[id] = new(string)
	}
	return nil
}

// Attach shows it to the instance.
func (m *memoryShares) Attach(_ context.Context, id string, tag int, instance string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attached[simulator.FileSystemAttachment{ID: id, InstanceID: instance, MountTag: tag}] = struct{}{}
	return nil
}

// Detach takes it away.
func (m *memoryShares) Detach(_ context.Context, id string, tag int, instance string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.attached, simulator.FileSystemAttachment{ID: id, InstanceID: instance, MountTag: tag})
	return nil
}

// Used is the size of the text.
func (m *memoryShares) Used(_ context.Context, id string) (int64, error) {
	text, _ := m.read(id)
	return int64(len(text)), nil
}

// Remove deletes it.
func (m *memoryShares) Remove(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for a := range m.attached {
		if a.ID == id {
			return simulator.ErrPlugged
		}
	}
	delete(m.texts, id)
	return nil
}

// Attached is what instances have.
func (m *memoryShares) Attached(context.Context) ([]simulator.FileSystemAttachment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.attached)), nil
}

// List are all file systems.
func (m *memoryShares) List(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.texts)), nil
}

// Forget does nothing: nothing is kept of instances.
func (*memoryShares) Forget(context.Context, string) error { return nil }

func (m *memoryShares) read(id string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.texts[id] == nil {
		return "", false
	}
	return *m.texts[id], true
}

func (m *memoryShares) write(id, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.texts[id] = text
}

// tagAt is the tag of a file system that the instance has, 0 if it has it not.
func (m *memoryShares) tagAt(id, instance string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for a := range m.attached {
		if a.ID == id && a.InstanceID == instance {
			return a.MountTag
		}
	}
	return 0
}
