package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testloop"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// image makes a file for a disk.
func (tr *tree) image(name string) string {
	tr.t.Helper()
	path := filepath.Join(tr.dir, name+".image")
	tr.must(os.WriteFile(path, nil, 0o600))
	tr.must(os.Truncate(path, 300<<20))
	return path
}

// loop makes a loop device of a file.
func (tr *tree) loop(image string) string {
	tr.t.Helper()
	return testloop.Device(tr.t, image)
}

// mounted mounts a btrfs and ends it with the test.
func (tr *tree) mounted(dev, name string, options ...string) string {
	tr.t.Helper()
	path := tr.path(name)
	tr.must(FileSystem(tr.t.Context(), dev, path, "btrfs", options))
	tr.t.Cleanup(func() { _ = unix.Unmount(path, 0) }) // what a test unmounted itself
	return path
}

// number is the device number in the table of what is mounted at a path.
func (tr *tree) number(path string) device.Number {
	tr.t.Helper()
	table, err := Read()
	tr.must(err)
	e, ok := table.At(path)
	if !ok {
		tr.t.Fatalf("nothing is mounted at %s", path)
	}
	return e.Number
}

// deviceNumber is that of a device node.
func (tr *tree) deviceNumber(dev string) device.Number {
	tr.t.Helper()
	n, isBlock, err := device.At(dev)
	if err != nil || !isBlock {
		tr.t.Fatalf("%s: %t, %v", dev, isBlock, err)
	}
	return n
}

// TestDiskOfABtrfs: the mounts of a btrfs, whole or in part, have the number of its disk, and so have those of a copy with
// the same UUID beside it, even where another mount covers one.
func TestDiskOfABtrfs(t *testing.T) {
	tr := newTree(t)
	source, copied := tr.image("source"), filepath.Join(tr.dir, "copy.image")
	run(t, "mkfs.btrfs", "-q", source)
	run(t, "cp", "--sparse=always", source, copied)
	one, two := tr.loop(source), tr.loop(copied)
	first, second := tr.mounted(one, "first"), tr.mounted(two, "second")
	run(t, "btrfs", "subvolume", "create", filepath.Join(first, "part"))
	tr.must(os.Mkdir(filepath.Join(first, "part", "dir"), 0o700))
	part := tr.mounted(one, "sub", "subvol=part")
	bound := tr.path("bound")
	tr.must(unix.Mount(filepath.Join(first, "part", "dir"), bound, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(bound, 0) })
	for path, dev := range map[string]string{first: one, part: one, bound: one, second: two} {
		if got, want := tr.number(path), tr.deviceNumber(dev); got != want {
			t.Errorf("%s has device %s, want %s (%s)", path, got, want, dev)
		}
	}
	tr.must(unix.Mount("cover", first, "tmpfs", 0, ""))
	table, err := Read()
	tr.must(err)
	if got := len(table.Of(tr.deviceNumber(one))); got != 3 {
		t.Errorf("%d mounts of the disk are found, there are 3", got)
	}
	tr.must(unix.Unmount(first, 0))
}

// TestCoveredBtrfs: a mount that no path leads to is not taken for what covers it.
func TestCoveredBtrfs(t *testing.T) {
	tr := newTree(t)
	images := []string{tr.image("one"), tr.image("two")}
	for _, image := range images {
		run(t, "mkfs.btrfs", "-q", image)
	}
	one, two := tr.loop(images[0]), tr.loop(images[1])
	path := tr.mounted(one, "at")
	tr.mounted(two, "at")
	table, err := Read()
	tr.must(err)
	if e, _ := table.At(path); e.Number != tr.deviceNumber(two) {
		t.Errorf("on top is %+v", e)
	}
	for _, e := range table {
		if e.Path == path && e.Source == one && (e.Number.Major != 0 || e.Lost) {
			t.Errorf("below is %+v", e)
		}
	}
}

// TestBtrfsOnSeveralDisks: it has no disk of its own, and a copy of one of its disks cannot be mounted beside it: the
// kernel refuses it as kernels before Linux 6.7 refuse every copy, and the error says what to do.
func TestBtrfsOnSeveralDisks(t *testing.T) {
	tr := newTree(t)
	source, copied := tr.image("one"), filepath.Join(tr.dir, "copy.image")
	one, two := tr.loop(source), tr.loop(tr.image("two"))
	run(t, "mkfs.btrfs", "-q", "-d", "single", "-m", "single", one, two)
	run(t, "sync")
	run(t, "cp", "--sparse=always", source, copied)
	other := tr.loop(copied)
	run(t, "btrfs", "device", "scan", two)
	path := tr.mounted(one, "both")
	if n := tr.number(path); n.Major != 0 {
		t.Errorf("it is on device %s", n)
	}
	err := FileSystem(t.Context(), other, tr.path("copy"), "btrfs", nil)
	if err == nil || !strings.Contains(err.Error(), "same UUID") || !strings.Contains(err.Error(), "another node") {
		t.Errorf("a copy: %v", err)
	}
}

// TestStaleBtrfs: what the kernel still knows of a device does not keep another disk, which gets its number later, from being
// mounted beside the disk of which it is a copy.
func TestStaleBtrfs(t *testing.T) {
	for name, mounts := range map[string]int{"older than the copy": 0, "newer than the copy": 4} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			source, copied := tr.image("source"), filepath.Join(tr.dir, "copy.image")
			run(t, "mkfs.btrfs", "-q", source)
			one := tr.loop(source)
			for range 4 - mounts { // each makes it a generation newer
				tr.write(tr.mounted(one, "source"))
			}
			run(t, "cp", "--sparse=always", source, copied)
			dev, other := tr.loop(tr.image("before")), tr.loop(tr.image("before-too"))
			run(t, "mkfs.btrfs", "-q", "-d", "single", "-m", "single", dev, other)
			run(t, "btrfs", "device", "scan", other)
			for range 1 + mounts {
				tr.write(tr.mounted(dev, "before"))
			}
			// The kernel knows the disk still. Now there is another one in its place.
			run(t, "dd", "if="+copied, "of="+dev, "bs=1M", "conv=notrunc,fsync", "status=none")
			first := tr.mounted(one, "first")
			if err := unix.Mount(dev, tr.path("second"), "btrfs", 0, ""); err == nil {
				t.Log("this kernel is not misled")
				tr.must(unix.Unmount(tr.path("second"), 0))
			}
			second := tr.mounted(dev, "second")
			if tr.number(first) != tr.deviceNumber(one) || tr.number(second) != tr.deviceNumber(dev) {
				t.Errorf("mounted are %s and %s", tr.number(first), tr.number(second))
			}
		})
	}
}

// write makes a file in a file system and unmounts it.
func (tr *tree) write(path string) {
	tr.t.Helper()
	tr.must(os.WriteFile(filepath.Join(path, "file"), nil, 0o600))
	tr.must(unix.Unmount(path, 0))
}

// TestDiskOf: a disk is gone only when the kernel's link to it leads nowhere; whatever else is wrong leaves it unknown.
func TestDiskOf(t *testing.T) {
	const uuid, id = "933a4dcf-4c00-4e86-85f1-65b8b1895ddb", 0x16cb2877fd89135d // as a real kernel told them
	for name, c := range map[string]struct {
		files map[string]string // links to nowhere have no content
		want  disk
		ok    bool
	}{
		"a disk":         {map[string]string{uuid + "/devices/vdb/dev": "252:16\n"}, disk{number: device.Number{Major: 252, Minor: 16}}, true},
		"gone":           {map[string]string{uuid + "/devices/vdb": ""}, disk{lost: true}, true},
		"two disks":      {map[string]string{uuid + "/devices/vdb/dev": "252:16\n", uuid + "/devices/vdc/dev": "252:32\n"}, disk{}, false},
		"no disk":        {map[string]string{uuid + "/devices/": ""}, disk{}, false},
		"broken":         {map[string]string{uuid + "/devices/vdb/dev": "x\n"}, disk{}, false},
		"another":        {map[string]string{"e4444467-225b-451c-9769-186ae13aa5f0/devices/vdb/dev": "252:16\n"}, disk{}, false},
		"no file system": {map[string]string{"features/x/dev": "252:16\n"}, disk{}, false},
	} {
		dir := t.TempDir()
		for path, content := range c.files {
			path = filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			var err error
			switch {
			case content != "":
				err = os.WriteFile(path, []byte(content), 0o600)
			case !strings.HasSuffix(path, "devices"):
				err = os.Symlink("nowhere", path)
			default:
				err = os.MkdirAll(path, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got, ok := diskOf(dir, id); ok != c.ok || got != c.want {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
}
