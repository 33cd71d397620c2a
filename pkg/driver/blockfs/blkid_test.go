package blockfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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
			fakeBlkid(t, script)
			if f, err := Probe(t.Context(), d); err == nil {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// TestProbeOfRealRubbish: two real signatures at once.
func TestProbeOfRealRubbish(t *testing.T) {
	d := newDisk(t)
	if out, err := exec.Command("mkfs.ext4", "-q", d.Path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("XFSB\x00\x00\x10\x00"), 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	found, err := Probe(t.Context(), d)
	if err != nil {
		return // it is not judged at all
	}
	if plan, err := Decide(Request{VolumeID: "id", FSType: "xfs"}, d, found, nil, "boot"); err == nil && plan.Action == Format {
		t.Errorf("found %+v, it may be formatted", found)
	}
}
