package device

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestStackedDevicesAreNamed reads a sysfs as a machine with LVM, multipath and partitions has it.
func TestStackedDevicesAreNamed(t *testing.T) {
	sys := t.TempDir()
	for path, text := range map[string]string{
		"252:16/holders/dm-0/dm/uuid": "LVM-AbC\n", "252:16/holders/dm-0/dm/name": "vg-data\n",
		"252:16/holders/dm-1/dm/uuid": "mpath-1\n", "252:16/holders/dm-1/dm/name": "mpatha\n",
		"252:16/holders/md127/size":  "1\n",
		"252:16/vdb1/partition":      "1\n",
		"252:16/vdb1/dev":            "252:17\n",
		"252:16/queue/not-partition": "",
	} {
		path = filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	disk := Number{252, 16}
	want := []string{"device dm-0 (LVM vg-data) is made of it", "device dm-1 (mpath mpatha) is made of it", "device md127 is made of it"}
	if got := stacked(sys, disk); !slices.Equal(got, want) {
		t.Errorf("made of it are %q", got)
	}
	numbers, users := partitions(sys, disk)
	if !slices.Equal(numbers, []Number{{252, 17}}) || !slices.Equal(users, []string{"it has partition vdb1"}) {
		t.Errorf("partitions are %v, %q", numbers, users)
	}
}

// TestSearchAmongProcessesIsBounded: the search ends when its time is over.
func TestSearchAmongProcessesIsBounded(t *testing.T) {
	if got := processes([]Number{{1, 1}}, time.Now().Add(-time.Second)); !slices.Equal(got, []string{"there was no time to look at every process"}) {
		t.Errorf("got %q", got)
	}
}
