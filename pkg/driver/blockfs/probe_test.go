package blockfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
)

func TestMain(m *testing.M) { testns.Main(m) }

const (
	serial = "ewr-00000000000001"
	size   = 1 << 30
)

// places lists all that is read of a device of the size, in order.
func places(size int64) []span {
	edges, between := spans(size)
	return slices.Insert(edges, 1, between...)
}

func newDisk(t *testing.T) device.Device {
	t.Helper()
	m := testmachine.New(t)
	m.Plug("disk", serial, size)
	return m.Device(serial)
}

func TestProbe(t *testing.T) {
	d := newDisk(t)
	f, err := Probe(t.Context(), d)
	if err != nil || !f.Blank || f.Signature != "" {
		t.Fatalf("a blank disk is %+v, %v", f, err)
	}
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		if err := format(t, d, fsType, true); err != nil {
			t.Fatal(err)
		}
		f, err := Probe(t.Context(), d)
		if err != nil || f.Signature != fsType || f.Blank || f.NeverMounted != (fsType == "ext4") {
			t.Errorf("%s is %+v, %v", fsType, f, err)
		}
	}
}

// TestProbeNeedsTheDeviceAlone: what somebody has mounted or claimed is not judged.
func TestProbeNeedsTheDeviceAlone(t *testing.T) {
	d := newDisk(t)
	holder, err := device.Open(d, os.O_RDONLY|unix.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if f, err := Probe(t.Context(), d); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %+v, %v", f, err)
	}
}

// TestMkfsGuards: without being told to overwrite, mkfs.xfs and mkfs.btrfs refuse a device with a file system themselves.
func TestMkfsGuards(t *testing.T) {
	d := newDisk(t)
	if out, err := exec.Command("mkfs.ext4", "-q", d.Path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, fsType := range []string{"xfs", "btrfs"} {
		if err := format(t, d, fsType, false); err == nil || !strings.Contains(err.Error(), "ext4") {
			t.Errorf("mkfs.%s over ext4: %v", fsType, err)
		}
	}
}

// TestProbeOfADiskThatFails: a disk of which a part cannot be read is not judged, although blkid finds nothing.
func TestProbeOfADiskThatFails(t *testing.T) {
	d := newDisk(t)
	if err := os.Truncate(backing(t, d), size-512<<10); err != nil { // reads beyond are errors
		t.Fatal(err)
	}
	fakeBlkid(t, "exit 2")
	if f, err := Probe(t.Context(), d); !errors.Is(err, unix.EIO) {
		t.Errorf("got %+v, %v", f, err)
	}
}

// backing is the file below a disk.
func backing(t *testing.T, d device.Device) string {
	t.Helper()
	path, err := os.ReadFile(filepath.Join("/sys/dev/block", d.Number.String(), "loop", "backing_file"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(path))
}

// broken fails to read at one place.
type broken struct{ at int64 }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off <= b.at && b.at < off+int64(len(p)) {
		return int(b.at - off), unix.EIO
	}
	clear(p)
	return len(p), nil
}

// TestReadErrorsCountAsData: a disk that cannot be read is not blank, wherever the error is.
func TestReadErrorsCountAsData(t *testing.T) {
	for _, at := range []int64{0, 4096, headBytes - 1, 64 << 20, size - 1} {
		if got, err := firstNonZero(t.Context(), broken{at}, places(size)); !errors.Is(err, unix.EIO) {
			t.Errorf("an error at %d: %d, %v", at, got, err)
		}
	}
	if got, err := firstNonZero(t.Context(), broken{-1}, places(size)); err != nil || got != -1 {
		t.Errorf("all zero: %d, %v", got, err)
	}
	d := newDisk(t)
	d.Size = 0
	if f, err := Probe(t.Context(), d); err == nil {
		t.Errorf("no size: %+v", f)
	}
}

// TestReadsFitTheDisk: reads past the cache are refused unless they and their buffers are aligned.
func TestReadsFitTheDisk(t *testing.T) {
	for _, c := range []struct{ size, block int64 }{{size, 4096}, {40 << 30, 4096}, {10<<30 + 4096, 4096}, {13<<20 + 512, 512}, {20<<20 + 512, 512}, {512, 512}} {
		for _, s := range chunks(places(c.size)) {
			if s.from%c.block != 0 || s.to%c.block != 0 || s.to > c.size || s.to <= s.from {
				t.Errorf("of %d bytes, from %d to %d is read", c.size, s.from, s.to)
			}
		}
	}
	for range 8 {
		b := aligned(chunkBytes)
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); at%alignment != 0 || len(b) != chunkBytes {
			t.Errorf("a buffer of %d bytes is at %x", len(b), at)
		}
	}
}

// TestDiskIsReadPastTheCache: what is judged is what the disk has, whatever the cache has, and the descriptor is as it
// was afterwards.
func TestDiskIsReadPastTheCache(t *testing.T) {
	d := newDisk(t)
	file, err := device.Claim(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, at := range []int64{0, size - 4096} {
		if _, err := file.ReadAt(make([]byte, 4096), at); err != nil { // now it is in the cache
			t.Fatal(err)
		}
	}
	below, err := os.OpenFile(backing(t, d), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = below.WriteAt([]byte{1}, size-1)
	if err := errors.Join(err, below.Sync(), below.Close()); err != nil {
		t.Fatal(err)
	}
	if z := readZeroes(t.Context(), file, places(d.Size)); z.err != nil || z.nonZeroAt != size-1 {
		t.Errorf("a disk with a byte in the end is %+v", z)
	}
	if _, err := file.ReadAt(make([]byte, 3), 5); err != nil {
		t.Errorf("reading a few bytes afterwards: %v", err)
	}
}

// someByte is a disk with one byte that is not zero.
type someByte struct{ at int64 }

func (s someByte) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if i := s.at - off; i >= 0 && i < int64(len(p)) {
		p[i] = 1
	}
	return len(p), nil
}

// TestEveryByteThatIsReadCounts: the first and the last of a range as well.
func TestEveryByteThatIsReadCounts(t *testing.T) {
	for _, at := range []int64{0, 1, chunkBytes - 1, chunkBytes, headBytes - 1, 64 << 20, size - tailBytes, size - 1} {
		if got, err := firstNonZero(t.Context(), someByte{at}, places(size)); err != nil || got != at {
			t.Errorf("a byte at %d: %d, %v", at, got, err)
		}
	}
}

// TestDataAnywhere: data between the edges counts as well, and the first byte is told.
func TestDataAnywhere(t *testing.T) {
	d := newDisk(t)
	for _, at := range []int64{768 << 20, 64<<20 + 5, headBytes - 1, 0} { // each before the one before
		write(t, d, at, []byte{1})
		if f, err := Probe(t.Context(), d); err != nil || f.Blank || f.NonZeroAt != at {
			t.Errorf("with a byte at %d: %+v, %v", at, f, err)
		}
	}
}

// TestJoinedReads: what either found counts.
func TestJoinedReads(t *testing.T) {
	for _, c := range []struct{ a, b, want int64 }{{-1, -1, -1}, {-1, 7, 7}, {7, -1, 7}, {0, 7, 0}, {7, 0, 0}, {9, 8, 8}} {
		if got := (zeroes{nonZeroAt: c.a}).and(zeroes{nonZeroAt: c.b}); got.nonZeroAt != c.want || got.err != nil {
			t.Errorf("%d and %d are %+v", c.a, c.b, got)
		}
	}
	for _, z := range []zeroes{(zeroes{err: unix.EIO}).and(zeroes{nonZeroAt: -1}), (zeroes{nonZeroAt: -1}).and(zeroes{err: unix.EIO})} {
		if !errors.Is(z.err, unix.EIO) {
			t.Errorf("an error is lost: %+v", z)
		}
	}
}
