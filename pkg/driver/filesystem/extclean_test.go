package filesystem

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
)

// TestCleanExt4: what is said to be over at once is what e2fsck calls clean, and nothing else.
func TestCleanExt4(t *testing.T) {
	const serial = "ewr-ae6c4452b93b4f"
	m := testmachine.New(t)
	m.Plug("disk", serial, 64<<20)
	d := m.Device(serial)
	for name, c := range map[string]struct {
		command string // of debugfs
		clean   bool
	}{
		"as it was made":         {"ssv mnt_count 3", true},
		"not unmounted in order": {"ssv state 0", false},
		"errors were seen":       {"ssv state 3", false},
		"checked by the count":   {"ssv max_mnt_count 1", false},
		"checked by the time":    {"ssv checkinterval 1", false},
	} {
		tool := ext4{}.Make(d.Path, Wish{Overwrite: true, Kernel: Floor})
		for _, args := range [][]string{append([]string{tool.Name}, tool.Args...), {"debugfs", "-w", "-R", c.command, d.Path}, {"debugfs", "-w", "-R", "ssv lastcheck 19700102000000", d.Path}, {"debugfs", "-w", "-R", "ssv mnt_count 3", d.Path}} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		disk, err := os.Open(d.Path)
		if err != nil {
			t.Fatal(err)
		}
		check := ext4{}.Check(d.Path)[0]
		if got := check.Quick(disk); got != c.clean {
			t.Errorf("%s: over at once is %t", name, got)
		}
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
		out, _ := exec.Command("e2fsck", "-p", d.Path).CombinedOutput() // which repairs it, and says so by its code
		if bytes.Contains(out, []byte(": clean,")) != c.clean || bytes.Contains(out, []byte("forced")) == c.clean && c.clean {
			t.Errorf("%s: e2fsck says %s", name, out)
		}
	}
	if extIsClean(blank{}) || extIsClean(unreadable{}) {
		t.Error("a disk without an ext4 counts as clean")
	}
	if check := (ext4{}).GrowUnmounted(d.Path)[0]; !check.Checks || check.Quick != nil {
		t.Errorf("a whole check is %+v", check)
	}
}
