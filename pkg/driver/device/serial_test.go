package device_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

const (
	wanted = "ewr-00000000000001"
	absent = "ewr-00000000000009"
)

// silence adds a device whose serial is never told: who reads it waits until the test ends, or until speak is called.
func (m *machine) silence(name string) (speak func(serial string)) {
	m.t.Helper()
	m.set(name, "dev", "240:1")
	path := filepath.Join(m.SysfsDir, name, "serial")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		m.t.Fatal(err)
	}
	var once sync.Once
	speak = func(serial string) {
		once.Do(func() {
			end, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				m.t.Error(err)
				return
			}
			defer end.Close()
			// From now on a plain file; who has opened the pipe reads to its end.
			temporary := path + ".new"
			if err := errors.Join(os.WriteFile(temporary, []byte(serial), 0o600), os.Rename(temporary, path)); err != nil {
				m.t.Error(err)
			}
			if _, err := end.WriteString(serial); err != nil {
				m.t.Error(err)
			}
		})
	}
	m.t.Cleanup(func() {
		speak("")
		_ = os.RemoveAll(filepath.Join(m.SysfsDir, name))
	})
	return speak
}

// asked reports whether somebody reads the serial of a device that silence made.
func (m *machine) asked(name string) bool {
	m.t.Helper()
	file, err := os.OpenFile(filepath.Join(m.SysfsDir, name, "serial"), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		return false
	}
	if err != nil {
		m.t.Fatal(err)
	}
	_ = file.Close()
	return true
}

// spoil adds a device whose serial cannot be read.
func (m *machine) spoil(name string) {
	m.t.Helper()
	m.set(name, "dev", "240:2")
	if err := os.Symlink("serial", filepath.Join(m.SysfsDir, name, "serial")); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = os.RemoveAll(filepath.Join(m.SysfsDir, name)) })
}

// TestSickDisksHideNoOther: what a sick disk would say matters only when no other has the serial.
func TestSickDisksHideNoOther(t *testing.T) {
	m := newMachine(t)
	m.plug("one", wanted)
	// Before and after the wanted one in the listing.
	m.silence("aaa-hangs")
	m.silence("zzz-hangs")
	m.spoil("aaa-fails")
	before := runtime.NumGoroutine()
	began := time.Now()
	d, err := m.Find(wanted)
	if err != nil || d.Serial != wanted {
		t.Fatalf("found %+v, %v", d, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	began = time.Now()
	for range 200 {
		if again, err := m.Find(wanted); err != nil || again != d {
			t.Fatalf("found %+v, %v", again, err)
		}
		if got := m.Serials(); len(got) != 1 || got[0] != wanted {
			t.Fatalf("serials are %v", got)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("with disks that are known to hang it took %s", took)
	}
	if more := runtime.NumGoroutine() - before; more > 4 {
		t.Errorf("%d goroutines for two disks that hang", more)
	}
	_, err = m.Find(absent)
	if !errors.Is(err, device.ErrUndecided) || errors.Is(err, device.ErrNotFound) {
		t.Errorf("a serial that a sick disk may have: %v", err)
	}
	for _, words := range []string{"aaa-hangs could not be read", "zzz-hangs could not be read", "aaa-fails could not be read", absent} {
		if !strings.Contains(fmt.Sprint(err), words) {
			t.Errorf("%v does not say %q", err, words)
		}
	}
	other := m.plug("two", "ewr-00000000000002")
	m.set(other, "serial", wanted)
	if d, err := m.Find(wanted); err == nil || !strings.Contains(err.Error(), "ambiguous") {
		t.Errorf("two devices with one serial beside sick ones: %+v, %v", d, err)
	}
}

// TestManyAtOnceAskOnce: however many look at once, a disk that hangs is asked by one.
func TestManyAtOnceAskOnce(t *testing.T) {
	m := newMachine(t)
	m.plug("one", wanted)
	m.silence("vdz")
	before := runtime.NumGoroutine()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := m.Find(wanted); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for range 3 { // readers that gave up need to be scheduled once more
		if _, err := m.Find(wanted); err != nil {
			t.Error(err)
		}
	}
	if more := runtime.NumGoroutine() - before; more > 6 {
		t.Errorf("%d goroutines are left", more)
	}
}

// TestByNumberAsksNoOther: a device that is known by its number is found whatever the others do, and without them.
func TestByNumberAsksNoOther(t *testing.T) {
	m := newMachine(t)
	m.plug("one", wanted)
	d := m.Device(wanted)
	m.silence("aaa")
	if again, err := m.ByNumber(d.Number); err != nil || again != d {
		t.Errorf("found %+v, %v", again, err)
	}
	if m.asked("aaa") {
		t.Error("another disk was asked")
	}
	// Its own serial must be read.
	if got, err := m.ByNumber(device.Number{Major: 240, Minor: 1}); err == nil || !strings.Contains(err.Error(), "could not be read") {
		t.Errorf("found %+v, %v", got, err)
	}
}

// TestDiskThatRecovers: it is found when it answers, by one that waited for it and by those who come later.
func TestDiskThatRecovers(t *testing.T) {
	m := newMachine(t)
	speak := m.silence("aaa")
	if _, err := m.Wait(t.Context(), wanted, 100*time.Millisecond); !errors.Is(err, device.ErrUndecided) || !strings.Contains(err.Error(), "aaa could not be read") {
		t.Errorf("the last word of a wait is %v", err)
	}
	ctx, waits := waiting(t)
	done := make(chan error, 1)
	go func() {
		_, err := m.Wait(ctx, wanted, time.Minute)
		done <- err
	}()
	<-waits
	m.plug("one", wanted) // a wait goes on beside a sick disk, and finds one that comes
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(m.DeviceDir, "aaa"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	speak("ewr-00000000000005")
	// Whoever asks next may still meet the read that is coming back.
	ctx, _ = waiting(t)
	if _, err := m.Wait(ctx, "ewr-00000000000005", time.Minute); err == nil || errors.Is(err, device.ErrUndecided) {
		t.Errorf("the device that recovered has a file as its node here, so it is found and refused: %v", err)
	}
}

// TestComplaintIsLoggedOnce for each fault of a device, and that it is over.
func TestComplaintIsLoggedOnce(t *testing.T) {
	m := newMachine(t)
	m.plug("one", wanted)
	m.spoil("vdz")
	var log bytes.Buffer
	klog.SetLogger(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log))))
	defer klog.ClearLogger()
	for range 5 {
		_ = m.Serials()
	}
	if got := strings.Count(log.String(), "cannot be read"); got != 1 || !strings.Contains(log.String(), "vdz") {
		t.Errorf("%d complaints: %s", got, &log)
	}
	if err := os.Remove(filepath.Join(m.SysfsDir, "vdz", "serial")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_ = m.Serials()
	}
	if got := strings.Count(log.String(), "can be read again"); got != 1 {
		t.Errorf("%d say that it is over: %s", got, &log)
	}
}

// TestReplacedWhileProven: the name goes to another disk between the reading of its serial and the opening of its node.
func TestReplacedWhileProven(t *testing.T) {
	for name, c := range map[string]struct {
		replace func(path string) error
		words   string
	}{
		"by another disk":       {func(path string) error { return os.WriteFile(path, []byte("ewr-00000000000002"), 0o600) }, "replaced"},
		"by a blank serial":     {func(path string) error { return os.WriteFile(path, nil, 0o600) }, "replaced"},
		"by one that fails":     {func(path string) error { return os.Mkdir(path, 0o700) }, "could not be read"},
		"by one that hangs":     {func(path string) error { return unix.Mkfifo(path, 0o600) }, "could not be read"},
		"by one that has none":  {func(string) error { return nil }, "could not be read"},
		"by itself, unreplaced": {func(path string) error { return os.WriteFile(path, []byte(wanted), 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			path := filepath.Join(m.SysfsDir, m.plug("one", wanted), "serial")
			if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := m.Find(wanted)
				done <- err
			}()
			first, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for the first reading
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Remove(path), c.replace(path)); err != nil {
				t.Fatal(err)
			}
			if _, err := first.WriteString(wanted); err != nil {
				t.Fatal(err)
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			err = <-done
			if (err != nil) != (c.words != "") || !strings.Contains(fmt.Sprint(err), c.words) {
				t.Errorf("got %v", err)
			}
			if end, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
				_ = end.Close() // ends a reading that hangs
			}
			_ = os.RemoveAll(path)
			m.set(filepath.Base(filepath.Dir(path)), "serial", wanted)
		})
	}
}

// BenchmarkFind16 finds one disk among sixteen.
func BenchmarkFind16(b *testing.B) {
	f := device.Finder{DeviceDir: b.TempDir(), SysfsDir: b.TempDir()}
	for i := range 16 {
		dir := filepath.Join(f.SysfsDir, fmt.Sprintf("vd%c", 'a'+i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		serial := fmt.Sprintf("ewr-%014d", i)
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "serial"), []byte(serial), 0o600), os.WriteFile(filepath.Join(dir, "dev"), []byte("240:1"), 0o600)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := f.Find(absent + "x"); !errors.Is(err, device.ErrNotFound) {
			b.Fatal(err)
		}
	}
}
