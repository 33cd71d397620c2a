package filesystem

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
)

func TestMain(m *testing.M) { testns.Main(m) }

// TestNames: what the controller accepts is what the node can make, and the same one is the default.
func TestNames(t *testing.T) {
	if !slices.Equal(Names(), params.FileSystems) {
		t.Errorf("the node knows %v, the controller %v", Names(), params.FileSystems)
	}
	if got, err := Of("zfs"); err == nil {
		t.Errorf("zfs is %v", got)
	}
}

// TestSuperblocks reads what the tools have written.
func TestSuperblocks(t *testing.T) {
	const serial, size = "ewr-ae6c4452b93b4f", 1 << 30
	m := testmachine.New(t)
	m.Plug("disk", serial, size)
	d := m.Device(serial)
	for _, fsType := range All {
		tool := fsType.Make(d.Path, Wish{Overwrite: true, Kernel: Floor})
		if out, err := exec.Command(tool.Name, tool.Args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		file, err := os.Open(d.Path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fsType.SizeOnDisk(file)
		if err != nil || (Sizes{Device: size, FileSystem: got}).CanGrow() || got > size {
			t.Errorf("%s has %d bytes, %v", fsType.Name(), got, err)
		}
		// Only an ext4 can prove that it was made and never mounted.
		if never, err := fsType.NeverMounted(file); err != nil || never != (fsType.Name() == "ext4") {
			t.Errorf("%s was never mounted: %t, %v", fsType.Name(), never, err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

// blank reads as zero.
type blank struct{}

func (blank) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// unreadable fails.
type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, unix.EIO }

func TestSuperblocksThatAreNone(t *testing.T) {
	for _, fsType := range All {
		if size, err := fsType.SizeOnDisk(blank{}); err == nil {
			t.Errorf("a blank device has a %s of %d bytes", fsType.Name(), size)
		}
		if never, err := fsType.NeverMounted(blank{}); err == nil || never {
			t.Errorf("a blank device has a %s that was never mounted: %t, %v", fsType.Name(), never, err)
		}
		if never, err := fsType.NeverMounted(unreadable{}); err == nil || never {
			t.Errorf("a device that cannot be read has a %s that was never mounted: %t, %v", fsType.Name(), never, err)
		}
	}
}

// TestUsedByEither: an ext4 was used when either its time of mount or its count of mounts says so.
func TestUsedByEither(t *testing.T) {
	for name, c := range map[string]struct {
		at    int
		never bool
	}{"made": {-1, true}, "time": {extMountTime, false}, "late time": {extMountTimeHigh, false}, "count": {extMountCount, false}} {
		sb := make([]byte, 2*extStart)
		binary.LittleEndian.PutUint16(sb[extStart+extMagic:], extMagicValue)
		if c.at >= 0 {
			sb[extStart+c.at] = 1
		}
		if never, err := (ext4{}).NeverMounted(bytes.NewReader(sb)); err != nil || never != c.never {
			t.Errorf("%s: never mounted: %t, %v", name, never, err)
		}
	}
}

// TestSizeOfALargeExt4: beyond 2^32 blocks.
func TestSizeOfALargeExt4(t *testing.T) {
	sb := make([]byte, 2*extStart)
	binary.LittleEndian.PutUint16(sb[extStart+extMagic:], extMagicValue)
	binary.LittleEndian.PutUint32(sb[extStart+extLogBlockSize:], 2)
	binary.LittleEndian.PutUint32(sb[extStart+extBlocksLow:], 5)
	binary.LittleEndian.PutUint32(sb[extStart+extBlocksHigh:], 1)
	for incompat, want := range map[uint32]int64{0: 5 << 12, extIs64Bit: 1<<44 + 5<<12} {
		binary.LittleEndian.PutUint32(sb[extStart+extIncompat:], incompat)
		if size, err := (ext4{}).SizeOnDisk(bytes.NewReader(sb)); err != nil || size != want {
			t.Errorf("with %#x: %d, %v", incompat, size, err)
		}
	}
}

// TestRoomToGrow: what is too small to be used is no room.
func TestRoomToGrow(t *testing.T) {
	for room, can := range map[int64]bool{-slack: false, 0: false, slack - 1: false, slack: true, 2 * slack: true} {
		if got := (Sizes{Device: 1<<30 + room, FileSystem: 1 << 30}).CanGrow(); got != can {
			t.Errorf("%d bytes of room: can grow: %t", room, got)
		}
	}
}

// TestToolIsAskedToEnd: a tool gets a signal that it can answer, so that it leaves the device in order.
func TestToolIsAskedToEnd(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	tool := Tool{Name: "sh", Args: []string{"-c", "trap 'touch " + dir + "/in-order; exit 3' TERM; touch " + dir + "/running; while :; do sleep 0.05; done"}}
	ended := make(chan error, 1)
	go func() { ended <- tool.run(ctx, &progress{}) }()
	for {
		if _, err := os.Stat(dir + "/running"); err == nil {
			break
		}
		runtime.Gosched()
	}
	why := errors.New("the process ends")
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir + "/in-order"); err != nil {
		t.Error("it was killed")
	}
}

// TestToolFindsTheDeviceBusy: a device that another program holds for a moment is tried again; nothing is said of faults.
func TestToolFindsTheDeviceBusy(t *testing.T) {
	for _, words := range []string{"/dev/vdb is in use.", "/dev/vdb is apparently in use by the system; will not make a filesystem here!", "cannot open /dev/vdb: Device or resource busy"} {
		tried := filepath.Join(t.TempDir(), "tried")
		script := fmt.Sprintf("[ -e %[1]s ] && exit 0; touch %[1]s; echo '%[2]s'; exit 8", tried, words)
		if err := (Tool{Name: "sh", Args: []string{"-c", script}}).whenFree(t.Context(), &progress{}); err != nil {
			t.Errorf("busy once: %v", err)
		}
		script = fmt.Sprintf("echo '%s'; exit 8", words)
		err := (Tool{Name: "sh", Args: []string{"-c", script}, Advice: "repair it"}).whenFree(t.Context(), &progress{})
		if !errors.Is(err, unix.EBUSY) || strings.Contains(err.Error(), "repair it") {
			t.Errorf("busy for long: %v", err)
		}
	}
	tried := filepath.Join(t.TempDir(), "tried")
	for name, script := range map[string]string{
		"faults":                     "echo UNEXPECTED INCONSISTENCY; exit 4",
		"busy once, and then faults": fmt.Sprintf("[ -e %[1]s ] && { echo UNEXPECTED INCONSISTENCY; exit 4; }; touch %[1]s; echo /dev/vdb is in use.; exit 8", tried),
	} {
		err := (Tool{Name: "sh", Args: []string{"-c", script}, Advice: "repair it"}).whenFree(t.Context(), &progress{})
		if err == nil || errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "repair it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
