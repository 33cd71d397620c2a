package device_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testloop"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// refused releases a device that is in use and compares the reasons.
func refused(t *testing.T, d device.Device, words ...string) {
	t.Helper()
	err := device.Release(t.Context(), d, 50*time.Millisecond)
	if err == nil {
		t.Fatal("a device in use was released")
	}
	for _, w := range append(words, "still in use") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestUsersAreNamed: a loop device on top, as the kubelet makes for a raw block volume, the mount of that, and a
// process that has the device open.
func TestUsersAreNamed(t *testing.T) {
	m := newMachine(t)
	m.plug("one", wanted)
	d := m.Device(wanted)
	if users := device.Users(d); len(users) > 0 {
		t.Errorf("an idle device is used by %q", users)
	}
	loop, err := testloop.Attach(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	detached := false
	detach := func() {
		if !detached {
			detached = true
			if err := testloop.Detach(loop); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(detach)
	users := strings.Join(device.Users(d), "; ")
	if want := "loop device " + filepath.Base(loop) + " is on top of it"; !strings.Contains(users, want) {
		t.Errorf("%q does not say %q", users, want)
	}
	detach()

	output(t, "mkfs.ext4", "-q", d.Path)
	point := t.TempDir()
	output(t, "mount", d.Path, point)
	unmounted := false
	unmount := func() {
		if !unmounted {
			output(t, "umount", point)
			unmounted = true
		}
	}
	t.Cleanup(unmount)
	holder := exec.Command("sh", "-c", "exec 3<"+d.Path+"; echo ready; read end")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = holder.Wait() // the read ends without a line
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	refused(t, d, "it is mounted at "+point, fmt.Sprintf("process %d (sh) has it open", holder.Process.Pid))
	unmount()
}

// TestSame: a number is the disk that was recorded until it is unplugged, whatever comes in its place.
func TestSame(t *testing.T) {
	m := newMachine(t)
	name := m.plug("one", wanted)
	d := m.Device(wanted)
	if d.Seq == 0 {
		t.Fatal("this kernel has no disk sequence numbers")
	}
	check := func(what string, seq uint64, serial string, gone, unknown bool) {
		t.Helper()
		err := m.Same(d.Number, serial, seq)
		if errors.Is(err, device.ErrGone) != gone || (err != nil && !gone) != unknown {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("by sequence number", d.Seq, wanted, false, false)
	check("by serial", 0, wanted, false, false)
	check("another serial", 0, absent, true, false)
	check("the same disk, plugged in once more", d.Seq-1, wanted, true, false)
	check("another stay, whichever came first", d.Seq+1, wanted, true, false)
	check("nothing is known", 0, "", false, true)

	// A disk that was proven by its sequence number is not asked for its serial.
	path := filepath.Join(m.SysfsDir, name)
	if err := errors.Join(os.Remove(filepath.Join(path, "serial")), os.Mkdir(filepath.Join(path, "serial"), 0o700)); err != nil {
		t.Fatal(err)
	}
	check("a sick disk by sequence number", d.Seq, wanted, false, false)
	check("a sick disk by serial", 0, wanted, false, true)
	if err := os.Remove(filepath.Join(path, "serial")); err != nil {
		t.Fatal(err)
	}
	m.set(name, "serial", wanted)

	// sysfs tells the number without the node.
	m.set(name, "diskseq", fmt.Sprintln(d.Seq))
	check("by sysfs", d.Seq, wanted, false, false)
	m.set(name, "diskseq", fmt.Sprintln(d.Seq+1))
	check("by sysfs, another", d.Seq, wanted, true, false)
	if err := os.Remove(filepath.Join(path, "diskseq")); err != nil {
		t.Fatal(err)
	}

	// While one number cannot be read, no absence is proven.
	m.Unplug("one")
	m.set("vdz", "dev", "seven")
	check("a number that cannot be read", d.Seq, wanted, false, true)
	if err := os.RemoveAll(filepath.Join(m.SysfsDir, "vdz")); err != nil {
		t.Fatal(err)
	}
	check("unplugged", d.Seq, wanted, true, false)
	check("unplugged, by serial", 0, wanted, true, false)
}
