package loop

import (
	"slices"
	"testing"
)

func TestPick(t *testing.T) {
	all := []Device{
		{Path: "/dev/loop0", Number: 1, Backing: "/cache/runs/a/disk"},
		{Path: "/dev/loop1", Number: 2, Backing: "/dev/something", On: 1},
		{Path: "/dev/loop2", Number: 3, Backing: "/gone", On: 2},
		{Path: "/dev/loop3", Number: 4, Backing: "/cache/runs/ab/disk"},
		{Path: "/dev/loop4", Number: 5, Backing: "/cache/runs/a/other (deleted)"},
	}
	paths := func(devices []Device) []string {
		var names []string
		for _, d := range devices {
			names = append(names, d.Path)
		}
		slices.Sort(names)
		return names
	}
	if got, want := paths(Under("/cache/runs/a", all)), []string{"/dev/loop0", "/dev/loop1", "/dev/loop2", "/dev/loop4"}; !slices.Equal(got, want) {
		t.Errorf("under a directory: %v, want %v", got, want)
	}
	if got, want := paths(On([]uint64{1}, all)), []string{"/dev/loop1", "/dev/loop2"}; !slices.Equal(got, want) {
		t.Errorf("on a device: %v, want %v", got, want)
	}
	if got := On([]uint64{5}, all); got != nil {
		t.Errorf("on a device that has none on it: %v", got)
	}
}
