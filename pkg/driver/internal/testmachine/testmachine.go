// Package testmachine gives tests a node with real disks: loop devices that are published as the platform's disks are.
package testmachine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/disks"
)

const instance = "0c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01"

// Machine is a node's two directories, filled with real loop devices. Its disks are unplugged when the test ends.
type Machine struct {
	device.Finder

	plane *disks.Plane
	t     testing.TB
}

// New makes a machine without disks.
func New(t testing.TB) *Machine {
	t.Helper()
	testns.NeedDisks(t)
	plane, err := disks.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		plugged, err := plane.Plugged(context.Background())
		if err != nil {
			t.Error(err)
		}
		for id, at := range plugged {
			if err := plane.Unplug(context.Background(), id, at); err != nil {
				t.Error(err)
			}
		}
	})
	if err := plane.Prepare(instance); err != nil {
		t.Fatal(err)
	}
	dir := plane.InstanceDir(instance)
	return &Machine{
		Finder: device.Finder{DeviceDir: filepath.Join(dir, "devices"), SysfsDir: filepath.Join(dir, "block")},
		plane:  plane, t: t,
	}
}

// Plug plugs the disk of an ID, which keeps what is on it, and gives its name.
func (m *Machine) Plug(id, serial string, size int64) string {
	m.t.Helper()
	if err := m.plane.Ensure(context.Background(), id, size); err != nil {
		m.t.Fatal(err)
	}
	if err := m.plane.Plug(context.Background(), id, serial, instance); err != nil {
		m.t.Fatal(err)
	}
	entries, err := os.ReadDir(m.SysfsDir)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(m.SysfsDir, e.Name(), "serial")
		if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
			continue // a test's disk that is sick
		}
		raw, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(raw)) == serial {
			return e.Name()
		}
	}
	m.t.Fatalf("no device has serial %s", serial)
	return ""
}

// Unplug unplugs a disk.
func (m *Machine) Unplug(id string) {
	m.t.Helper()
	if err := m.plane.Unplug(context.Background(), id, instance); err != nil {
		m.t.Fatal(err)
	}
}

// Grow makes a disk larger; the machine sees it at once when it is told to.
func (m *Machine) Grow(id string, size int64, seen bool) {
	m.t.Helper()
	if err := m.plane.Ensure(context.Background(), id, size); err != nil {
		m.t.Fatal(err)
	}
	if !seen {
		return
	}
	if err := m.plane.Refresh(context.Background(), id); err != nil {
		m.t.Fatal(err)
	}
}

// Device finds the disk with the serial.
func (m *Machine) Device(serial string) device.Device {
	m.t.Helper()
	d, err := m.Find(serial)
	if err != nil {
		m.t.Fatal(err)
	}
	return d
}
