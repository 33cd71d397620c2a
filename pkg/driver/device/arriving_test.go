package device_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// TestArriving has the states through which a disk goes while the kernel adds it: it has a serial already, and cannot be
// opened yet. Such a disk is waited for, and nothing is said of it that would end the wait.
func TestArriving(t *testing.T) {
	for state, hide := range map[string]func(t *testing.T, sysfs, node string) (back func() error){
		"without a number": func(t *testing.T, sysfs, _ string) func() error {
			return aside(t, filepath.Join(sysfs, "dev"))
		},
		"without a node": func(t *testing.T, _, node string) func() error { return aside(t, node) },
		"not to be opened": func(t *testing.T, _, node string) func() error {
			back := aside(t, node)
			// A number that no driver has, of those for experiments: opening it is answered with ENXIO.
			if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(240, 1))); err != nil {
				t.Fatal(err)
			}
			return back
		},
	} {
		t.Run(state, func(t *testing.T) {
			m := newMachine(t)
			const serial = "ewr-00000000000001"
			name := m.plug("one", serial)
			back := hide(t, filepath.Join(m.SysfsDir, name), filepath.Join(m.DeviceDir, name))
			t.Cleanup(func() { _ = back() }) // what plugged it can unplug it
			if d, err := m.Find(serial); !errors.Is(err, device.ErrUndecided) {
				t.Errorf("found %+v, %v", d, err)
			}
			ctx, waits := waiting(t)
			done := make(chan error, 1)
			go func() {
				_, err := m.Wait(ctx, serial, time.Minute)
				done <- err
			}()
			select {
			case <-waits:
			case err := <-done:
				t.Fatalf("it did not wait: %v", err)
			}
			if err := back(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// aside moves a file away until it is moved back.
func aside(t *testing.T, path string) (back func() error) {
	t.Helper()
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(path, away); err != nil {
		t.Fatal(err)
	}
	return func() error { return os.Rename(away, path) }
}
