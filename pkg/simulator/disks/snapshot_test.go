package disks

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	snap   = "5aa95401-0000-4000-8000-00000000000a"
	copied = "c10ec10e-0000-4000-8000-00000000000b"
)

// noise is data that no other call gives.
func noise(n int64) []byte {
	data := make([]byte, n)
	for i := 0; i+8 <= len(data); i += 8 {
		binary.NativeEndian.PutUint64(data[i:], rand.Uint64())
	}
	return data
}

func fileBytes(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

// onDevice writes to the plugged disk, down to its medium.
func onDevice(t *testing.T, p *Plane, data []byte, at int64) {
	t.Helper()
	f, err := os.OpenFile(p.instance(alpha).path("devices", "vdb"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(data, at)
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

func wantNoRemains(t *testing.T, p *Plane) {
	t.Helper()
	for _, dir := range []string{p.disksDir(), p.snapshotsDir()} {
		for _, suffix := range []string{partSuffix, frozenSuffix} {
			left, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
			must(t, err)
			if len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		}
	}
}

func TestSnapshotOfADiskInUse(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Ensure(ctx, disk, 256*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	first, last := noise(3*mib), noise(mib)
	onDevice(t, p, first, 5*mib+4096)
	onDevice(t, p, last, 255*mib)
	want := fileBytes(t, p.image(disk))
	must(t, p.Snapshot(ctx, snap, disk))

	onDevice(t, p, noise(8*mib), 4*mib) // what comes later is not in it
	must(t, p.Snapshot(ctx, snap, disk))
	if !bytes.Equal(fileBytes(t, p.snapshotFile(snap)), want) {
		t.Fatal("the snapshot is not what was on the disk")
	}
	var st unix.Stat_t
	must(t, unix.Stat(p.snapshotFile(snap), &st))
	if st.Blocks*512 > 16*mib {
		t.Errorf("the snapshot of 4 MiB of data takes %d bytes", st.Blocks*512)
	}

	must(t, p.Unplug(ctx, disk, alpha))
	must(t, p.Remove(ctx, disk)) // the snapshot outlives the disk
	must(t, p.Restore(ctx, copied, snap))
	must(t, p.RemoveSnapshot(ctx, snap)) // and the clone outlives the snapshot
	must(t, p.RemoveSnapshot(ctx, snap))
	must(t, p.Ensure(ctx, copied, 300*mib))
	got := fileBytes(t, p.image(copied))
	if int64(len(got)) != 300*mib || !bytes.Equal(got[:256*mib], want) {
		t.Error("the restored disk is not what was on the disk")
	}
	must(t, p.Restore(ctx, copied, snap)) // a disk that exists is left as it is
	if ids, err := p.Snapshots(ctx); err != nil || len(ids) != 0 {
		t.Errorf("snapshots %v, %v", ids, err)
	}
	wantNoRemains(t, p)
}

func TestNothingToCopyFrom(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	if err := p.Snapshot(ctx, snap, disk); !errors.Is(err, simulator.ErrNoDisk) {
		t.Errorf("snapshot of no disk: %v", err)
	}
	if err := p.Restore(ctx, disk, snap); !errors.Is(err, simulator.ErrNoDisk) {
		t.Errorf("restore of no snapshot: %v", err)
	}
	if p.Snapshot(ctx, "../x", disk) == nil || p.Restore(ctx, "a/b", snap) == nil || p.RemoveSnapshot(ctx, "") == nil {
		t.Error("bad names are accepted")
	}
	wantNoRemains(t, p)
}

// TestSnapshotOfABusyFileSystem takes snapshots while a program writes records to two files in turn, each flushed
// before the next. Of one moment are only those in which the second file is never ahead of the first.
func TestSnapshotOfABusyFileSystem(t *testing.T) {
	t.Run("copied", func(t *testing.T) { snapshotWhileBusy(t, newPlane(t)) })
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run("shared on "+kind, func(t *testing.T) { snapshotWhileBusy(t, newPlaneOn(t, kind)) })
	}
}

func snapshotWhileBusy(t *testing.T, p *Plane) {
	t.Helper()
	ctx := t.Context()
	must(t, p.Ensure(ctx, disk, 128*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	node, target := p.instance(alpha).path("devices", "vdb"), t.TempDir()
	run(t, "mkfs.ext4", "-q", node)
	must(t, unix.Mount(node, target, "ext4", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) }) // usually unmounted below
	must(t, os.WriteFile(filepath.Join(target, "ballast"), noise(24*mib), 0o600))

	stop, written := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { writeInTurn(t, target, stop, written) })
	for i := range 3 {
		if _, ok := <-written; !ok {
			t.Fatal("the writer has ended")
		}
		must(t, p.Snapshot(ctx, fmt.Sprintf("s%d", i), disk))
	}
	close(stop)
	writer.Wait()
	must(t, unix.Unmount(target, 0))
	must(t, p.Unplug(ctx, disk, alpha))
	wantNoRemains(t, p)
	for i := range 3 {
		id := fmt.Sprintf("clone%d", i)
		must(t, p.Restore(ctx, id, fmt.Sprintf("s%d", i)))
		wantConsistent(t, p, id, target)
	}
}

// writeInTurn writes the same numbers to two files, one after the other. It says after each number, to whoever waits for
// it then, that it has been written, and closes written at its end.
func writeInTurn(t *testing.T, dir string, stop <-chan struct{}, written chan<- struct{}) {
	defer close(written)
	var files [2]*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close() // every record has been flushed
		}
	}()
	for i := range files {
		var err error
		if files[i], err = os.Create(filepath.Join(dir, fmt.Sprint("turn", i))); err != nil {
			t.Error(err)
			return
		}
	}
	for n := uint64(1); ; n++ {
		for _, f := range files {
			if err := errors.Join(binary.Write(f, binary.NativeEndian, n), f.Sync()); err != nil {
				t.Error(err)
				return
			}
		}
		select {
		case <-stop:
			return
		case written <- struct{}{}:
		default:
		}
	}
}

// wantConsistent looks at a restored disk as a machine does after its power failed: the journal, then a full check.
func wantConsistent(t *testing.T, p *Plane, id, target string) {
	t.Helper()
	ctx := t.Context()
	must(t, p.Plug(ctx, id, "ewr-"+id, alpha))
	node := p.instance(alpha).path("devices", "vdb")
	must(t, unix.Mount(node, target, "ext4", 0, ""))
	first, errFirst := os.Stat(filepath.Join(target, "turn0"))
	second, errSecond := os.Stat(filepath.Join(target, "turn1"))
	must(t, errors.Join(errFirst, errSecond, unix.Unmount(target, 0)))
	if ahead := first.Size() - second.Size(); ahead != 0 && ahead != 8 {
		t.Errorf("%s: the first file has %d bytes, the second %d: not of one moment", id, first.Size(), second.Size())
	}
	run(t, "e2fsck", "-f", "-n", node)
	must(t, p.Unplug(ctx, id, alpha))
}

// TestSnapshotOfADiskThatIsNeverQuiet has a program write to the raw disk all the time: there is nothing to freeze, and
// no copy is of one moment. It is refused in words, and works as soon as there is a pause.
func TestSnapshotOfADiskThatIsNeverQuiet(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Ensure(ctx, disk, 64*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	p.step = func(name string) {
		if name == "copied" { // surely between the two looks
			onDevice(t, p, noise(4096), mib)
		}
	}
	err := p.Snapshot(ctx, snap, disk)
	if err == nil || !strings.Contains(err.Error(), "written to all the time") {
		t.Errorf("a snapshot of no moment: %v", err)
	}
	wantNoRemains(t, p)
	if ids, err := p.Snapshots(ctx); err != nil || len(ids) != 0 {
		t.Errorf("snapshots %v, %v", ids, err)
	}
	p.step = func(string) {}
	must(t, p.Snapshot(ctx, snap, disk))
	if !bytes.Equal(fileBytes(t, p.snapshotFile(snap)), fileBytes(t, p.image(disk))) {
		t.Error("the snapshot is not what is on the disk")
	}
}

// TestCopiesOnAFullDisk: no part is left, and the error says what it is.
func TestCopiesOnAFullDisk(t *testing.T) {
	newPlane(t) // skips where planes are impossible
	root := t.TempDir()
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=20m"))
	t.Cleanup(func() { must(t, unix.Unmount(root, 0)) })
	p, err := New(root)
	must(t, err)
	ctx := t.Context()
	must(t, p.Ensure(ctx, disk, 64*mib))
	must(t, os.WriteFile(p.image(disk), noise(12*mib), 0o600))
	if err := p.Snapshot(ctx, snap, disk); !errors.Is(err, simulator.ErrNoSpace) {
		t.Errorf("a snapshot without room: %v", err)
	}
	wantNoRemains(t, p)
	must(t, os.Truncate(p.image(disk), 8*mib))
	must(t, p.Snapshot(ctx, snap, disk))
	if err := p.Restore(ctx, copied, snap); !errors.Is(err, simulator.ErrNoSpace) {
		t.Errorf("a restore without room: %v", err)
	}
	wantNoRemains(t, p)
	if files, err := p.Files(ctx); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}

// TestCancelledCopy leaves nothing and can be repeated.
func TestCancelledCopy(t *testing.T) {
	p := newPlane(t)
	must(t, p.Ensure(t.Context(), disk, 16*mib))
	ctx, cancel := context.WithCancel(t.Context())
	p.step = func(name string) {
		if name == "part created" {
			cancel()
		}
	}
	if err := p.Snapshot(ctx, snap, disk); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled snapshot: %v", err)
	}
	wantNoRemains(t, p)
	must(t, p.Snapshot(t.Context(), snap, disk))
}

// snapshotLife is what the child of the kill test does.
func snapshotLife(ctx context.Context, p *Plane) error {
	return errors.Join(p.Snapshot(ctx, snap, disk), p.Restore(ctx, copied, snap), p.RemoveSnapshot(ctx, snap))
}

// TestSnapshotKilledAtEveryStep kills a process after each step of a snapshot and a restore. What the next process
// finds is whole or not there, it ends the work, and no file system stays frozen.
func TestSnapshotKilledAtEveryStep(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Ensure(ctx, disk, 16*mib))
	must(t, p.Plug(ctx, disk, serial, alpha))
	node, target := p.instance(alpha).path("devices", "vdb"), t.TempDir()
	run(t, "mkfs.ext4", "-q", node)
	must(t, unix.Mount(node, target, "ext4", 0, ""))
	t.Cleanup(func() {
		_ = p.thawDisk(context.WithoutCancel(ctx), disk) // usually thawed
		_ = unix.Unmount(target, unix.MNT_DETACH)
	})
	must(t, os.WriteFile(filepath.Join(target, "ballast"), noise(4*mib), 0o600))
	steps, ended := 0, false
	for ; !ended; steps++ {
		ended = runChildOf(t, "snapshot", p.root, steps+1)
		for _, path := range []string{p.snapshotFile(snap), p.image(copied)} {
			wantWhole(t, path, p.image(disk))
		}
		next, err := New(p.root)
		must(t, err)
		_, err = next.Snapshots(ctx) // as a simulator does at its start
		must(t, err)
		wantThawed(t, target)
		must(t, snapshotLife(ctx, next))
		wantNoRemains(t, p)
		must(t, next.Remove(ctx, copied))
	}
	if steps < 12 {
		t.Errorf("only %d steps were cut at", steps)
	}
	must(t, unix.Unmount(target, 0))
	must(t, p.Unplug(ctx, disk, alpha))
}

// wantWhole demands that a copy, if there is one, has the ballast at the place where the original has it.
func wantWhole(t *testing.T, path, original string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		return
	}
	got, want := fileBytes(t, path), fileBytes(t, original)
	differ := 0
	for at := 0; at < len(want); at += 4096 {
		if at+4096 > len(got) || !bytes.Equal(got[at:at+4096], want[at:at+4096]) {
			differ++
		}
	}
	if len(got) != len(want) || differ > 64 { // the file system's own writes since
		t.Errorf("%s: %d bytes of %d, %d pages differ", path, len(got), len(want), differ)
	}
}

// wantThawed writes to the file system, which waits as long as it is frozen.
func wantThawed(t *testing.T, target string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "touch", filepath.Join(target, "thawed"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the file system stays frozen: %v %s", err, out)
	}
}

// TestSharedBlocks takes the other way: a file system that gives the moment itself.
func TestSharedBlocks(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			p, ctx := newPlaneOn(t, kind), t.Context()
			must(t, p.Ensure(ctx, disk, 256*mib))
			must(t, p.Plug(ctx, disk, serial, alpha))
			onDevice(t, p, noise(64*mib), 0)
			share := p.share
			p.share = func(dst, src *os.File) (bool, error) {
				done, err := share(dst, src)
				if !done {
					t.Errorf("blocks of %s are not shared: %v", src.Name(), err)
				}
				return done, err
			}
			want := fileBytes(t, p.image(disk))
			must(t, p.Snapshot(ctx, snap, disk))
			onDevice(t, p, noise(8*mib), 0)
			must(t, p.Restore(ctx, copied, snap))
			if !bytes.Equal(fileBytes(t, p.image(copied)), want) {
				t.Error("the restored disk is not what was on the disk")
			}
			must(t, p.Unplug(ctx, disk, alpha))
			for _, id := range []string{disk, copied} {
				must(t, p.Plug(ctx, id, serial, alpha))
				dev := loopsUnder(t, p.root)[0]
				if got := read(t, filepath.Join(sysBlock, dev.name(), "queue", "logical_block_size")); got != "512\n" {
					t.Errorf("disk %s has blocks of %s bytes", id, got)
				}
				must(t, p.Unplug(ctx, id, alpha))
			}
		})
	}
}
