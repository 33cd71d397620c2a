package disks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	mib    = int64(1) << 20
	disk   = "2f5d7a31-4fe4-4f8e-9a51-0c8f1c9f0001"
	serial = "ewr-2f5d7a314fe44f"
	alpha  = "aaaaaaaa-0000-4000-8000-000000000001"
	beta   = "bbbbbbbb-0000-4000-8000-000000000002"
)

// newPlane makes a plane that copies, whatever file system tests run on, and leaves no loop device behind, however the
// test ends.
func newPlane(t *testing.T) *Plane {
	t.Helper()
	testns.NeedDisks(t)
	root := t.TempDir()
	p, err := New(root)
	if err != nil {
		t.Fatal(err)
	}
	p.share = cannotShare
	clearAtTheEnd(t, root)
	return p
}

func cannotShare(*os.File, *os.File) (bool, error) { return false, nil }

func clearAtTheEnd(t *testing.T, root string) {
	t.Helper()
	t.Cleanup(func() {
		for _, dev := range loopsUnder(t, root) {
			if held, err := dev.clear(context.WithoutCancel(t.Context())); held || err != nil {
				t.Errorf("clearing %s: held %v, %v", dev.name(), held, err)
			}
		}
	})
}

// newPlaneOn makes a plane on a file system of its own, which is made of a plugged disk and does what it can.
func newPlaneOn(t *testing.T, kind string) *Plane {
	t.Helper()
	ctx, outer := t.Context(), newPlane(t)
	must(t, outer.Ensure(ctx, "host", 512*mib))
	must(t, outer.Plug(ctx, "host", "ewr-host", alpha))
	node, root := outer.instance(alpha).path("devices", "vdb"), t.TempDir()
	run(t, "mkfs."+kind, "-q", node)
	must(t, unix.Mount(node, root, kind, 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(root, 0)) })
	p, err := New(root)
	must(t, err)
	clearAtTheEnd(t, root)
	return p
}

// loopsUnder finds the loop devices of all backing files under root, as a leak check does.
func loopsUnder(t *testing.T, root string) []loop {
	t.Helper()
	images, err := filepath.Glob(filepath.Join(root, "disks", "*.img"))
	if err != nil {
		t.Fatal(err)
	}
	var all []loop
	for _, image := range images {
		f, err := os.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		devices, err := loopsOf(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		all = append(all, devices...)
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestLifeOfADisk(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Ensure(ctx, disk, 64*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	must(t, p.Plug(ctx, disk, serial, alpha)) // again: no change

	devices := loopsUnder(t, p.root)
	if len(devices) != 1 {
		t.Fatalf("%d loop devices, want 1", len(devices))
	}
	dir := p.instance(alpha)
	if got := read(t, dir.path("block", "vdb", "serial")); got != serial {
		t.Errorf("serial %q", got)
	}
	if got := read(t, dir.path("block", "vdb", "dev")); got != devices[0].numbers() {
		t.Errorf("dev %q, want %q", got, devices[0].numbers())
	}
	if got := read(t, dir.path("block", "vdb", "size")); got != "131072\n" {
		t.Errorf("size %q", got)
	}
	if target, err := os.Readlink(dir.path("devices", "disk", "by-id", "virtio-"+serial)); err != nil || target != "../../vdb" {
		t.Errorf("link to %q, %v", target, err)
	}
	writeAt(t, dir.path("devices", "vdb"), "hello")

	if err := p.Remove(ctx, disk); !errors.Is(err, simulator.ErrPlugged) {
		t.Errorf("removing a plugged disk: %v", err)
	}
	if busy, ok := errors.AsType[*simulator.BusyError](p.Plug(ctx, disk, serial, beta)); !ok || !strings.Contains(busy.Holder, alpha) {
		t.Errorf("plugging it into a second instance: %v", busy)
	}
	must(t, p.Unplug(ctx, disk, beta)) // it is not there: nothing to do
	must(t, p.Unplug(ctx, disk, alpha))
	must(t, p.Unplug(ctx, disk, alpha))
	wantNothingPlugged(t, p)

	must(t, p.Plug(ctx, disk, serial, beta))
	if got := readStart(t, p.instance(beta).path("devices", "vdb"), 5); got != "hello" {
		t.Errorf("the data did not follow the disk: %q", got)
	}
	must(t, p.Unplug(ctx, disk, beta))
	must(t, p.Remove(ctx, disk))
	must(t, p.Remove(ctx, disk))
	if files, err := p.Files(ctx); err != nil || len(files) != 0 {
		t.Errorf("files %v, %v", files, err)
	}
	must(t, p.Forget(ctx, beta))
	if _, err := os.Stat(string(p.instance(beta))); !os.IsNotExist(err) {
		t.Errorf("the forgotten instance's directory: %v", err)
	}
}

func writeAt(t *testing.T, device, text string) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte(text), 0)
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

func readStart(t *testing.T, device string, n int) string {
	t.Helper()
	f, err := os.Open(device)
	must(t, err)
	text := make([]byte, n)
	_, err = f.ReadAt(text, 0)
	must(t, errors.Join(err, f.Close()))
	return string(text)
}

func wantNothingPlugged(t *testing.T, p *Plane) {
	t.Helper()
	if devices := loopsUnder(t, p.root); len(devices) != 0 {
		t.Errorf("loop devices are left: %s", names(devices))
	}
	if plugged, err := p.Plugged(t.Context()); err != nil || len(plugged) != 0 {
		t.Errorf("plugged: %v, %v", plugged, err)
	}
	left, err := filepath.Glob(filepath.Join(p.root, "instances", "*", "block", "*"))
	must(t, err)
	nodes, err := filepath.Glob(filepath.Join(p.root, "instances", "*", "devices", "vd*"))
	must(t, err)
	links, err := filepath.Glob(filepath.Join(p.root, "instances", "*", "devices", "disk", "by-id", "*"))
	must(t, err)
	if entries := slices.Concat(left, nodes, links); len(entries) != 0 {
		t.Errorf("entries are left: %v", entries)
	}
}

func TestDeviceNamesAreReusedFromTheLowest(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	ids := []string{"d1", "d2", "d3"}
	for _, id := range ids {
		must(t, p.Ensure(ctx, id, mib))
		must(t, p.Plug(ctx, id, "ewr-"+id, alpha))
	}
	must(t, p.Unplug(ctx, "d2", alpha))
	must(t, p.Ensure(ctx, "d4", mib))
	must(t, p.Plug(ctx, "d4", "ewr-d4", alpha))
	want := map[string]string{"vdb": "ewr-d1", "vdc": "ewr-d4", "vdd": "ewr-d3"}
	for name, serial := range want {
		if got := read(t, p.instance(alpha).path("block", name, "serial")); got != serial {
			t.Errorf("%s has serial %q, want %q", name, got, serial)
		}
	}
}

func TestGrowthIsSeenAfterRefreshOrReplug(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Ensure(ctx, disk, 8*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	size := func() string { return strings.TrimSpace(read(t, p.instance(alpha).path("block", "vdb", "size"))) }
	must(t, p.Ensure(ctx, disk, 16*mib))
	must(t, p.Plug(ctx, disk, serial, alpha)) // as a restarted simulator does: no way to see growth early
	if dev := loopsUnder(t, p.root)[0]; deviceSectors(t, dev) != 16384 || size() != "16384" {
		t.Errorf("the guest sees growth before its time: %d, %s", deviceSectors(t, dev), size())
	}
	must(t, p.Refresh(ctx, disk))
	if dev := loopsUnder(t, p.root)[0]; deviceSectors(t, dev) != 32768 || size() != "32768" {
		t.Errorf("after a refresh: %d, %s", deviceSectors(t, dev), size())
	}
	must(t, p.Ensure(ctx, disk, 4*mib)) // never shrinks
	must(t, p.Ensure(ctx, disk, 24*mib))
	must(t, p.Unplug(ctx, disk, alpha))
	must(t, p.Refresh(ctx, disk))
	must(t, p.Plug(ctx, disk, serial, alpha))
	if size() != "49152" {
		t.Errorf("after a new plug: %s", size())
	}
}

func deviceSectors(t *testing.T, dev loop) int64 {
	t.Helper()
	n, err := dev.sectors()
	must(t, err)
	return n
}

// TestHeldDisks shows that a disk in use is never taken away, that the holder is named, and that the disk goes as
// soon as it is released.
func TestHeldDisks(t *testing.T) {
	tests := map[string]struct {
		hold func(t *testing.T, node string) (holder string, letGo func())
	}{
		"mounted":                   {holdByMount},
		"mounted in a namespace":    {holdByForeignMount},
		"open in a process":         {holdByProcess},
		"open in this very process": {holdByOwnDescriptor},
		"under a loop device":       {holdByLoop},
		"by a copy of a mount":      {holdByCopy},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, ctx := newPlane(t), t.Context()
			must(t, p.Ensure(ctx, disk, 32*mib))
			must(t, p.Plug(ctx, disk, serial, alpha))
			dev := loopsUnder(t, p.root)[0]
			holder, letGo := test.hold(t, p.instance(alpha).path("devices", "vdb"))

			for range 2 {
				busy, ok := errors.AsType[*simulator.BusyError](p.Unplug(ctx, disk, alpha))
				if !ok || !strings.Contains(busy.Holder, holder) || busy.Disk != disk {
					t.Fatalf("unplugging gave %v, want a BusyError that names %q", busy, holder)
				}
			}
			if now := loopsUnder(t, p.root); len(now) != 1 || now[0].flags&unix.LO_FLAGS_AUTOCLEAR != 0 || now[0].number != dev.number {
				t.Errorf("the loop device of the held disk: %+v", now)
			}
			if plugged, err := p.Plugged(ctx); err != nil || plugged[disk] != alpha {
				t.Errorf("plugged: %v, %v", plugged, err)
			}
			if entries, _ := os.ReadDir(p.instance(alpha).path("block")); len(entries) != 0 {
				t.Errorf("the instance still sees the disk: %v", entries)
			}
			if _, ok := errors.AsType[*simulator.BusyError](p.Plug(ctx, disk, serial, beta)); !ok {
				t.Error("a held disk could be plugged into another instance")
			}
			letGo()
			must(t, p.Unplug(ctx, disk, alpha))
			wantNothingPlugged(t, p)
		})
	}
}

func holdByMount(t *testing.T, node string) (string, func()) {
	run(t, "mkfs.ext4", "-q", node)
	target := t.TempDir()
	must(t, unix.Mount(node, target, "ext4", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) }) // usually unmounted by letGo
	return "mounted on " + target, func() { must(t, unix.Unmount(target, 0)) }
}

// holdByForeignMount mounts in a mount namespace that this process does not see.
func holdByForeignMount(t *testing.T, node string) (string, func()) {
	run(t, "mkfs.ext4", "-q", node)
	target := t.TempDir()
	stop := startHolder(t, "unshare", "-m", "--propagation", "private", "sh", "-c",
		`mount -t ext4 "$1" "$2" && echo held && read line`, "sh", node, target)
	return "mounted on " + target, stop
}

// holdByCopy unmounts while a process lives that was given a mount namespace when the disk was mounted.
func holdByCopy(t *testing.T, node string) (string, func()) {
	_, unmount := holdByMount(t, node)
	stop := startHolder(t, "unshare", "-m", "--propagation", "private", "sh", "-c", "echo held && read line")
	unmount()
	return "(sh) in a mount namespace of its own", stop
}

func holdByProcess(t *testing.T, node string) (string, func()) {
	return "(sh)", startHolder(t, "sh", "-c", `exec 3<"$1" && echo held && read line`, "sh", node)
}

func holdByOwnDescriptor(t *testing.T, node string) (string, func()) {
	f, err := os.Open(node)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() }) // usually closed by letGo
	return "open in process " + strconv.Itoa(os.Getpid()), func() { must(t, f.Close()) }
}

func holdByLoop(t *testing.T, node string) (string, func()) {
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	must(t, err)
	upper, err := configure(f, func(string) {})
	must(t, errors.Join(err, f.Close()))
	letGo := func() {
		if held, err := upper.clear(t.Context()); held || err != nil {
			t.Fatalf("clearing %s: held %v, %v", upper.name(), held, err)
		}
	}
	return upper.name() + " on top of it", letGo
}

// startHolder runs a command that says "held" and then waits for its input to end.
func startHolder(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil {
		t.Fatalf("%s did not get hold of the disk: %v", name, err)
	}
	return func() {
		must(t, in.Close())
		_ = cmd.Wait() // read ends with an error at end of file
	}
}

// TestAutoclearIsUndone covers the race that no check can exclude: a user that comes between the look and the clear
// makes the kernel clear the device later, when it may have been plugged again.
func TestAutoclearIsUndone(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Ensure(ctx, disk, mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	dev := loopsUnder(t, p.root)[0]
	f, err := os.Open(p.instance(alpha).path("devices", "vdb"))
	must(t, err)
	must(t, dev.setAutoclear(true))
	must(t, p.Plug(ctx, disk, serial, alpha))
	must(t, f.Close())
	if now := loopsUnder(t, p.root); len(now) != 1 {
		t.Errorf("the plugged disk lost its loop device: %v", now)
	}
}

func TestForeignLoopDeviceIsRefused(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Ensure(ctx, disk, mib))
	f, err := os.OpenFile(p.image(disk), os.O_RDWR, 0)
	must(t, err)
	for range 2 {
		_, err := configure(f, func(string) {})
		must(t, err)
	}
	must(t, f.Close())
	if err := p.Plug(ctx, disk, serial, alpha); err == nil || !strings.Contains(err.Error(), "has 2 loop devices") {
		t.Errorf("plugging a disk with two loop devices: %v", err)
	}
}

// TestRecordWithoutDevice is what a reboot of the machine leaves: records and entries, but no loop device.
func TestRecordWithoutDevice(t *testing.T) {
	for _, instance := range []string{alpha, beta} {
		p, ctx := newPlane(t), t.Context()
		must(t, p.Ensure(ctx, disk, mib))
		must(t, p.Plug(ctx, disk, serial, alpha))
		if held, err := loopsUnder(t, p.root)[0].clear(ctx); held || err != nil {
			t.Fatal(held, err)
		}
		must(t, p.Plug(ctx, disk, serial, instance))
		if got := len(loopsUnder(t, p.root)); got != 1 {
			t.Errorf("%d loop devices", got)
		}
		must(t, p.Unplug(ctx, disk, instance))
		wantNothingPlugged(t, p)
	}
}

// TestDiskTooLarge: ext4 bounds the size of a file to less than what the platform sells.
func TestDiskTooLarge(t *testing.T) {
	p, ctx := newPlaneOn(t, "ext4"), t.Context()
	if err := p.Ensure(ctx, disk, 40000<<30); !errors.Is(err, simulator.ErrNoSpace) {
		t.Errorf("a disk of 40 TB: %v", err)
	}
	must(t, p.Remove(ctx, disk))
}

func TestBadNames(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	for name, err := range map[string]error{
		"parent":      p.Ensure(ctx, "../x", mib),
		"empty":       p.Plug(ctx, "", serial, alpha),
		"slash":       p.Plug(ctx, disk, "a/b", alpha),
		"long serial": p.Plug(ctx, disk, "ewr-2f5d7a314fe44f-123", alpha),
		"dot":         p.Unplug(ctx, disk, "."),
		"no file":     p.Plug(ctx, "unknown", serial, alpha),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
