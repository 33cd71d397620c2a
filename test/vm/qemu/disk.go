package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qmp"
)

// Disk is a virtual disk, which keeps its content while it is not plugged in. It is gone with this process.
type Disk struct {
	// Serial is what the platform calls mount_id.
	Serial string

	file *os.File
	name string // while it is plugged in
	slot int
	ill  []func(context.Context) error // what takes away what is wrong with it, last first
}

// NewDisk makes a blank disk of a size.
func NewDisk(serial string, size int64) (*Disk, error) {
	file, err := os.CreateTemp("", "vm-disk-")
	if err != nil {
		return nil, err
	}
	// Nameless from the start: QEMU opens it by its descriptor here.
	if err := errors.Join(os.Remove(file.Name()), file.Truncate(size)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Disk{Serial: serial, file: file}, nil
}

// Load makes a disk with the content of a file, which stays as it is.
func Load(serial, path string) (*Disk, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read from
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return (&Disk{file: file}).Copy(serial, st.Size())
}

// Close throws the disk away.
func (d *Disk) Close() error { return d.file.Close() }

// ReadAt reads what the guest has written to the disk.
func (d *Disk) ReadAt(p []byte, at int64) (int, error) { return d.file.ReadAt(p, at) }

// Copy makes a disk with the content that a disk has now, as a snapshot that is restored.
func (d *Disk) Copy(serial string, size int64) (*Disk, error) {
	made, err := NewDisk(serial, size)
	if err != nil {
		return nil, err
	}
	if err := d.copyTo(made); err != nil {
		return nil, errors.Join(err, made.Close())
	}
	return made, nil
}

// copyTo copies what was ever written and is not zero: disks are large and mostly empty.
func (d *Disk) copyTo(made *Disk) error {
	chunk, zero := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		begin, err := unix.Seek(int(d.file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // there is no more
		}
		if err != nil {
			return fmt.Errorf("looking for what is on the disk: %w", err)
		}
		n, err := d.file.ReadAt(chunk, begin)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(chunk[:n], zero[:n]) {
			if _, err := made.file.WriteAt(chunk[:n], begin); err != nil {
				return err
			}
		}
		at = begin + int64(n)
	}
}

// Plug plugs a disk into the running machine.
func (m *Machine) Plug(ctx context.Context, d *Disk) error {
	name, slot, err := m.slot()
	if err != nil {
		return err
	}
	d.name, d.slot = name, slot
	err = m.qmp.Do(ctx, "blockdev-add", map[string]any{
		"node-name": d.name, "driver": "raw",
		"file": map[string]any{
			"node-name": d.below(), "driver": "file", "filename": fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), d.file.Fd()),
			"cache": map[string]any{"no-flush": true}, // it is gone with us anyway
		},
	}, nil)
	if err != nil {
		return err
	}
	return m.qmp.Do(ctx, "device_add", map[string]any{
		"driver": "virtio-blk-pci", "id": d.name, "drive": d.name, "serial": d.Serial, "bus": fmt.Sprintf("slot%d", slot),
	}, nil)
}

// below is the name of the node with the disk's file.
func (d *Disk) below() string { return d.name + "-file" }

// Unplug asks the guest to give the disk back, as the platform does, and returns when it has.
// One that is ill is healed before.
func (m *Machine) Unplug(ctx context.Context, d *Disk) error {
	if err := m.Heal(ctx, d); err != nil {
		return err
	}
	if err := m.remove(ctx, d.name, d.slot); err != nil {
		return fmt.Errorf("disk %s: %w", d.Serial, err)
	}
	name := d.name
	d.name = ""
	return m.qmp.Do(ctx, "blockdev-del", map[string]any{"node-name": name}, nil)
}

// slot takes a free slot, and returns a name to what is to be in it.
func (m *Machine) slot() (name string, slot int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	slot = slices.Index(m.slots[:], false)
	if slot < 0 {
		return "", 0, fmt.Errorf("all %d slots are taken", ports)
	}
	m.slots[slot] = true
	m.devices++
	return fmt.Sprintf("device%d", m.devices), slot, nil
}

// remove asks the guest to give back what is in a slot.
func (m *Machine) remove(ctx context.Context, name string, slot int) error {
	if err := m.qmp.Do(ctx, "device_del", map[string]any{"id": name}, nil); err != nil {
		return err
	}
	err := m.qmp.Await(ctx, func(e qmp.Event) bool {
		var data struct {
			Device string `json:"device"`
		}
		return e.Name == "DEVICE_DELETED" && json.Unmarshal(e.Data, &data) == nil && data.Device == name
	})
	if err != nil {
		return fmt.Errorf("the guest does not give it back: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slots[slot] = false
	return nil
}

// Plugged reports whether the disk is plugged in.
func (d *Disk) Plugged() bool { return d.name != "" }

// Resize changes the size of a disk that is plugged in.
func (m *Machine) Resize(ctx context.Context, d *Disk, size int64) error {
	return m.qmp.Do(ctx, "block_resize", map[string]any{"node-name": d.name, "size": size}, nil)
}

// Resize changes the size of a disk that is not plugged in.
func (d *Disk) Resize(size int64) error { return d.file.Truncate(size) }
