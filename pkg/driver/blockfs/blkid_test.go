package blockfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// fakeBlkid puts a script in the place of blkid.
func fakeBlkid(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "blkid"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// TestBlkidMustBeClear: whatever blkid says but a clear "nothing" is not taken for a blank disk, although all of the disk
// reads as zero.
func TestBlkidMustBeClear(t *testing.T) {
	for name, script := range map[string]string{
		"nothing, with a complaint": "echo 'read error' >&2; exit 2",
		"nothing, with output":      "echo something; exit 2",
		"several signatures":        "exit 8",
		"a crash":                   "kill -SEGV $$",
		"usage":                     "exit 4",
		"success without a name":    "exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			fakeBlkid(t, script)
			f, err := Probe(t.Context(), d)
			if err == nil {
				_, err = Decide(Request{VolumeID: "id"}, d, f, nil, "boot")
				if volume.ReasonOf(err) != volume.InUse {
					t.Errorf("it may be formatted: %+v, %v", f, err)
				}
			}
		})
	}
}

// TestTwoLooks: a disk that gets a signature, or loses one, while it is looked at, is not judged.
func TestTwoLooks(t *testing.T) {
	for name, script := range map[string]string{
		"it gets one":   `[ -e "$(dirname $0)/once" ] && { echo TYPE=ext4; exit 0; }; touch "$(dirname $0)/once"; exit 2`,
		"it loses one":  `[ -e "$(dirname $0)/once" ] && exit 2; touch "$(dirname $0)/once"; echo TYPE=zfs_member; exit 0`,
		"it fails then": `[ -e "$(dirname $0)/once" ] && exit 4; touch "$(dirname $0)/once"; exit 2`,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			write(t, d, 12345, []byte("data")) // so that it is not blank
			fakeBlkid(t, script)
			if f, err := Probe(t.Context(), d); err == nil {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// TestSecondLookAtABlankDisk: what gets onto a blank disk until blkid has ended is seen, wherever blkid could recognise it.
func TestSecondLookAtABlankDisk(t *testing.T) {
	for name, at := range map[string]int64{
		"first byte": 0, "ext4": extMagicAt, "swap behind 4 MiB": 4<<20 + 502, "Promise RAID": size - 3087*512, "GPT": size - 512, "last byte": size - 1,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			fakeBlkid(t, fmt.Sprintf("printf x | dd of=%s bs=1 seek=%d conv=notrunc status=none; exit 2", d.Path, at))
			if f, err := Probe(t.Context(), d); err != nil || f.Blank || f.NonZeroAt != at {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
}

// extMagicAt is where ext4 has its magic number.
const extMagicAt = 1024 + 0x38

// TestEdgesAreWhereBlkidLooks: the second look at a blank disk reads every place that blkid reads, at any size.
func TestEdgesAreWhereBlkidLooks(t *testing.T) {
	reads := regexp.MustCompile(`read: off=(\d+) len=(\d+)`)
	for _, size := range []int64{1 << 30, 10 << 30, 40<<30 + 4096, 10 << 40} {
		path := filepath.Join(t.TempDir(), "disk")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("blkid", "-p", path)
		cmd.Env = append(os.Environ(), "LIBBLKID_DEBUG=all")
		out, _ := cmd.CombinedOutput() // it answers 2
		found := reads.FindAllStringSubmatch(string(out), -1)
		if len(found) < 20 {
			t.Fatalf("blkid tells %d reads: %s", len(found), out)
		}
		edges, _ := spans(size)
		for _, m := range found {
			from, errFrom := strconv.ParseInt(m[1], 10, 64)
			length, errLength := strconv.ParseInt(m[2], 10, 64)
			if err := errors.Join(errFrom, errLength); err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(edges, func(s span) bool { return s.from <= from && from+length <= s.to }) {
				t.Errorf("of %d bytes blkid reads %d at %d (%d before the end), which the second look does not", size, length, from, size-from)
			}
		}
	}
}

// write writes to a disk.
func write(t *testing.T, d device.Device, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, at)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestProbeOfRealRubbish: two real signatures at once.
func TestProbeOfRealRubbish(t *testing.T) {
	d := newDisk(t)
	if out, err := exec.Command("mkfs.ext4", "-q", d.Path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write(t, d, 0, []byte("XFSB\x00\x00\x10\x00"))
	found, err := Probe(t.Context(), d)
	if err != nil {
		return // it is not judged at all
	}
	if plan, err := Decide(Request{VolumeID: "id", FSType: "xfs"}, d, found, nil, "boot"); err == nil && plan.Action == Format {
		t.Errorf("found %+v, it may be formatted", found)
	}
}
