package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadLagFlag: a volume that was just made is there for writes alone.
func TestReadLagFlag(t *testing.T) {
	p := launch(t, "--no-disks", "--balancers=off", "--state="+t.TempDir(), "--read-lag=blocks.get=1h")
	var made struct{ Block struct{ ID string } }
	if !call(http.MethodPost, p.api+"/blocks", map[string]any{"region": "ewr", "size_gb": 10}, &made) {
		t.Fatal("no volume was made")
	}
	if call(http.MethodGet, p.api+"/blocks/"+made.Block.ID, nil, nil) {
		t.Error("a read sees what was just made")
	}
	if !call(http.MethodPatch, p.api+"/blocks/"+made.Block.ID, map[string]any{"label": "x"}, nil) {
		t.Error("a write does not see what was just made")
	}
}

// TestReadLagDefault: reads are a second behind, scaled, and those that a flag speaks of as it says; "off" ends it.
func TestReadLagDefault(t *testing.T) {
	for flag, want := range map[string][]string{
		"--time-scale=0.1":                 {"all                    100ms "},
		"--read-lag=blocks.get=2s,vfs=30s": {"all                    1s ", "blocks.get             2s ", "vfs                    30s "},
		"--read-lag=off":                   {"all                    0s "},
		"--read-lag=off,blocks=3s":         {"all                    0s ", "blocks                 3s "},
	} {
		p := launch(t, "--no-disks", "--balancers=off", "--state="+t.TempDir(), flag)
		for _, line := range want {
			if !strings.Contains(p.out.String(), line) {
				t.Errorf("%s: %q is not said:\n%s", flag, line, p.out)
			}
		}
		var made struct{ VPC struct{ ID string } }
		began := time.Now()
		if !call(http.MethodPost, p.api+"/vpcs", map[string]any{"region": "ewr"}, &made) {
			t.Fatal("no VPC was made")
		}
		off := strings.HasPrefix(flag, "--read-lag=off")
		if seen := call(http.MethodGet, p.api+"/vpcs/"+made.VPC.ID, nil, nil); seen != off && time.Since(began) < 100*time.Millisecond {
			t.Errorf("%s: a read sees what was just made: %t", flag, seen)
		}
		p.await("the new VPC to be seen", func() bool { return call(http.MethodGet, p.api+"/vpcs/"+made.VPC.ID, nil, nil) })
	}
}

// TestReadsAfterAKill: nothing that was overwritten before a kill comes back after it.
func TestReadsAfterAKill(t *testing.T) {
	args := []string{"--no-disks", "--balancers=off", "--state=" + t.TempDir(), "--read-lag=all=1h"}
	p := launch(t, args...)
	var made struct{ VPC struct{ ID string } }
	if !call(http.MethodPost, p.api+"/vpcs", map[string]any{"region": "ewr"}, &made) {
		t.Fatal("no VPC was made")
	}
	seen := func() bool { return call(http.MethodGet, p.api+"/vpcs/"+made.VPC.ID, nil, nil) }
	if seen() {
		t.Error("it is seen at once")
	}
	p.stop(syscall.SIGKILL)
	if p = launch(t, args...); !seen() {
		t.Error("after the kill reads are older than the kill")
	}
	if !call(http.MethodDelete, p.api+"/vpcs/"+made.VPC.ID, nil, nil) || !seen() {
		t.Error("it is not deleted, or seen to be at once")
	}
	p.stop(syscall.SIGKILL)
	if p = launch(t, args...); seen() {
		t.Error("after the second kill reads are older than the kill")
	}
}
