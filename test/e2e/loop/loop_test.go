package loop

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestPick(t *testing.T) {
	all := []Device{
		{Path: "/dev/loop0", Number: 1, File: File{1, 10}},
		{Path: "/dev/loop1", Number: 2, File: File{5, 10}, On: 1},
		{Path: "/dev/loop2", Number: 3, File: File{5, 11}, On: 2},
		{Path: "/dev/loop3", Number: 4, File: File{2, 10}},
		{Path: "/dev/loop4", Number: 5, File: File{1, 11}},
	}
	paths := func(devices []Device) []string {
		var names []string
		for _, d := range devices {
			names = append(names, d.Path)
		}
		slices.Sort(names)
		return names
	}
	if got, want := paths(Backed(map[File]bool{{1, 10}: true, {1, 11}: true, {5, 12}: true}, all)), []string{"/dev/loop0", "/dev/loop1", "/dev/loop2", "/dev/loop4"}; !slices.Equal(got, want) {
		t.Errorf("backed by files: %v, want %v", got, want)
	}
	if got, want := paths(On([]uint64{1}, all)), []string{"/dev/loop1", "/dev/loop2"}; !slices.Equal(got, want) {
		t.Errorf("on a device: %v, want %v", got, want)
	}
	if got := On([]uint64{5}, all); got != nil {
		t.Errorf("on a device that has none on it: %v", got)
	}
}

// TestFileWithoutItsName: a device is known by its file when the kernel cannot name the file any more.
func TestFileWithoutItsName(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: loop devices")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/disks", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/disks/image", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	// The device is made by a process whose only mount of the file ends with it.
	script := `mount --bind "$1/disks" /mnt && exec losetup --find --show /mnt/image`
	out, err := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	path := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = clearDevice(path) }) // it is clear if the test went well
	files, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	pick := func(all []Device) []Device { return Backed(files, all) }
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	if mine := pick(all); len(mine) != 1 || mine[0].Path != path {
		t.Fatalf("%s is not known by its file: %v of %v", path, mine, all)
	}
	if err := Clear(t.Context(), pick); err != nil {
		t.Fatal(err)
	}
}
