package device_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
)

func TestMain(m *testing.M) { testns.Main(m) }

const gib = 1 << 30

// machine is a node whose files can be spoiled.
type machine struct {
	*testmachine.Machine
	t *testing.T
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{Machine: testmachine.New(t), t: t}
}

func (m *machine) plug(id, serial string) string { return m.Plug(id, serial, gib) }

func (m *machine) set(name, attribute, value string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Join(m.SysfsDir, name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.SysfsDir, name, attribute), []byte(value), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	m := newMachine(t)
	m.plug("one", "ewr-00000000000001")
	name := m.plug("two", "ewr-00000000000002")
	d, err := m.Find("ewr-00000000000002")
	if err != nil {
		t.Fatal(err)
	}
	if d.Path != filepath.Join(m.DeviceDir, name) || d.Size != gib || d.Serial != "ewr-00000000000002" {
		t.Errorf("found %+v", d)
	}
	again, err := m.ByNumber(d.Number)
	if err != nil || again != d {
		t.Errorf("by number: %+v, %v", again, err)
	}
	if _, err := m.Find("ewr-00000000000003"); !errors.Is(err, device.ErrNotFound) {
		t.Errorf("an absent serial: %v", err)
	}
	if _, err := m.ByNumber(device.Number{Major: 7, Minor: 9999}); !errors.Is(err, device.ErrNotFound) {
		t.Errorf("an absent number: %v", err)
	}
	for _, bad := range []string{"", "a/b", "ewr 1", strings.Repeat("x", 21)} {
		if _, err := m.Find(bad); err == nil || errors.Is(err, device.ErrNotFound) {
			t.Errorf("serial %q: %v", bad, err)
		}
	}
}

// TestFindFailsClosed has every way in which a device could be taken for another one.
func TestFindFailsClosed(t *testing.T) {
	const serial = "ewr-00000000000001"
	for name, c := range map[string]struct {
		spoil func(m *machine, name string)
		words string
	}{
		"two devices with one serial": {func(m *machine, _ string) {
			other := m.plug("two", "ewr-00000000000002")
			m.set(other, "serial", serial+"\n")
		}, "ambiguous"},
		"a node of another device": {func(m *machine, name string) {
			other := m.plug("two", "ewr-00000000000002")
			swap(m.t, filepath.Join(m.DeviceDir, name), filepath.Join(m.DeviceDir, other))
		}, "refused"},
		"a node that is a file": {func(m *machine, name string) {
			path := filepath.Join(m.DeviceDir, name)
			if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
				m.t.Fatal(err)
			}
		}, "not a block device"},
		"no node": {func(m *machine, name string) {
			if err := os.Remove(filepath.Join(m.DeviceDir, name)); err != nil {
				m.t.Fatal(err)
			}
		}, "no such file"},
		"a number that is none": {func(m *machine, name string) { m.set(name, "dev", "seven") }, "not a device number"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.spoil(m, m.plug("one", serial))
			d, err := m.Find(serial)
			if err == nil || errors.Is(err, device.ErrNotFound) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("found %+v, %v", d, err)
			}
		})
	}
}

func swap(t *testing.T, a, b string) {
	t.Helper()
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
}

// TestLinksAreNotTrusted: a stale by-id link that points to another disk changes nothing.
func TestLinksAreNotTrusted(t *testing.T) {
	m := newMachine(t)
	right, wrong := m.plug("one", "ewr-00000000000001"), m.plug("two", "ewr-00000000000002")
	link := filepath.Join(m.DeviceDir, "disk", "by-id", "virtio-ewr-00000000000001")
	if err := errors.Join(os.RemoveAll(link), os.Symlink(filepath.Join("..", "..", wrong), link)); err != nil {
		t.Fatal(err)
	}
	d, err := m.Find("ewr-00000000000001")
	if err != nil || filepath.Base(d.Path) != right {
		t.Errorf("found %+v, %v", d, err)
	}
}

// TestOpenNoticesReplacement: between finding and opening, the node may come to stand for another disk.
func TestOpenNoticesReplacement(t *testing.T) {
	m := newMachine(t)
	name, other := m.plug("one", "ewr-00000000000001"), m.plug("two", "ewr-00000000000002")
	d, err := m.Find("ewr-00000000000001")
	if err != nil {
		t.Fatal(err)
	}
	swap(t, filepath.Join(m.DeviceDir, name), filepath.Join(m.DeviceDir, other))
	if f, err := device.Open(d, os.O_RDONLY); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("opened %v, %v", f, err)
	}
	swap(t, filepath.Join(m.DeviceDir, name), filepath.Join(m.DeviceDir, other))
}

// signal is a log that tells once that something was written to it.
type signal struct {
	once    sync.Once
	written chan struct{}
}

func (s *signal) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.written) })
	return len(p), nil
}

// waiting is a context with whose log Wait says that it waits.
func waiting(t *testing.T) (context.Context, <-chan struct{}) {
	t.Helper()
	s := &signal{written: make(chan struct{})}
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Verbosity(4), textlogger.Output(s)))
	return klog.NewContext(t.Context(), logger), s.written
}

func TestWait(t *testing.T) {
	m := newMachine(t)
	const serial = "ewr-00000000000001"
	began := time.Now()
	if _, err := m.Wait(t.Context(), serial, 200*time.Millisecond); !errors.Is(err, device.ErrNotFound) || time.Since(began) < 200*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	ctx, waits := waiting(t)
	done := make(chan error, 1)
	go func() {
		d, err := m.Wait(ctx, serial, time.Minute)
		if err == nil && d.Serial != serial {
			err = fmt.Errorf("found %+v", d)
		}
		done <- err
	}()
	<-waits
	m.plug("one", serial)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReadOnlyFlagAndRelease(t *testing.T) {
	m := newMachine(t)
	m.plug("one", "ewr-00000000000001")
	d, err := m.Find("ewr-00000000000001")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []bool{true, false} {
		if err := device.SetReadOnly(d, value); err != nil {
			t.Fatal(err)
		}
		if got, err := device.ReadOnly(d); err != nil || got != value {
			t.Errorf("read-only is %t, %v", got, err)
		}
	}
	holder, err := device.Open(d, os.O_RDWR|unix.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	if err := device.Release(t.Context(), d, 300*time.Millisecond); err == nil || !strings.Contains(err.Error(), "still in use") {
		t.Errorf("release of a device in use: %v", err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := device.Release(t.Context(), d, time.Minute); err != nil {
		t.Error(err)
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]device.Number{"7:0\n": {Major: 7}, "254:16": {Major: 254, Minor: 16}} {
		if got, err := device.ParseNumber(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "7", ":", "7:x", "-1:2", "7:4294967296"} {
		if got, err := device.ParseNumber(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// FuzzParseNumber: what is read is what is written.
func FuzzParseNumber(f *testing.F) {
	f.Add("7:0")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := device.ParseNumber(text)
		if err != nil {
			return
		}
		if again, err := device.ParseNumber(n.String()); err != nil || again != n {
			t.Errorf("%q: %v, %v, %v", text, n, again, err)
		}
	})
}
