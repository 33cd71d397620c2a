package mounts

import (
	"os"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const line = `36 35 98:0 /mnt1 /mnt\0402 rw,noatime shared:5 master:1 unbindable - ext3 /dev/root\134x rw,errors=continue`
	want := Mount{
		ID: 36, Parent: 35, Numbers: "98:0", Root: "/mnt1", Target: "/mnt 2", FSType: "ext3", Source: `/dev/root\x`, Shared: 5, Master: 1,
	}
	if got, ok := parse(line); !ok || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "36 35 98:0 / /mnt rw", "36 35 98:0 / - ext3 x rw"} {
		if m, ok := parse(bad); ok {
			t.Errorf("%q was read as %+v", bad, m)
		}
	}
}

func TestOwnNamespace(t *testing.T) {
	own, err := Read("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(own, func(m Mount) bool { return m.Target == "/proc" }) {
		t.Errorf("no /proc among %+v", own)
	}
	if len(Namespaces()) == 0 || !slices.Contains(Processes(), "/proc/1") {
		t.Error("the namespaces and processes of this machine were not found")
	}
	if got := Describe("/proc/self"); got == "self" {
		t.Errorf("process %d has no name", os.Getpid())
	}
}
