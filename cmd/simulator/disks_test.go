package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// attachedDisk returns an instance with a disk, and the disk's node.
func attachedDisk(t *testing.T, p *process, state string) (node string) {
	t.Helper()
	instance := p.addInstance("worker-1")
	var made struct{ Block struct{ ID string } }
	if !call(http.MethodPost, p.api+"/blocks", map[string]any{"region": "ewr", "size_gb": 10, "block_type": "high_perf", "label": "pvc"}, &made) {
		t.Fatal("no volume was made")
	}
	p.await("the volume to be attached", func() bool {
		return call(http.MethodPost, p.api+"/blocks/"+made.Block.ID+"/attach", map[string]any{"instance_id": instance, "live": true}, nil)
	})
	node = filepath.Join(state, "instances", instance, "devices", "vdb")
	p.await("the disk in the instance", func() bool {
		_, err := os.Stat(filepath.Join(state, "instances", instance, "block", "vdb", "serial"))
		return err == nil
	})
	return node
}

func TestKeepDisks(t *testing.T) {
	needsRoot(t)
	state := t.TempDir()
	p := launch(t, "--state="+state, "--time-scale=0.01", "--keep-disks")
	attachedDisk(t, p, state)
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if got := loopsOf(t, state); len(got) != 1 {
		t.Errorf("loop devices %v, want the kept one", got)
	}
	p = launch(t, "--state="+state, "--time-scale=0.01")
	if got := loopsOf(t, state); len(got) != 1 {
		t.Errorf("loop devices %v after the next start", got)
	}
	if code := p.stop(syscall.SIGTERM); code != 0 || len(loopsOf(t, state)) != 0 {
		t.Errorf("exit code %d, loop devices %v:\n%s", code, loopsOf(t, state), p.out)
	}
}

// TestHeldDiskAtTheEnd: a disk that somebody still uses is not torn away; the end says so and fails.
func TestHeldDiskAtTheEnd(t *testing.T) {
	needsRoot(t)
	state := t.TempDir()
	p := launch(t, "--state="+state, "--time-scale=0.01")
	f, err := os.Open(attachedDisk(t, p, state))
	if err != nil {
		t.Fatal(err)
	}
	if code := p.stop(syscall.SIGTERM); code != 1 || !strings.Contains(p.out.String(), "simulator: a disk stays attached") || !strings.Contains(p.out.String(), fmt.Sprint("open in process ", os.Getpid())) {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p = launch(t, "--state="+state, "--time-scale=0.01")
	if code := p.stop(syscall.SIGTERM); code != 0 || len(loopsOf(t, state)) != 0 {
		t.Errorf("exit code %d, loop devices %v:\n%s", code, loopsOf(t, state), p.out)
	}
}

// TestMachineHook: an instance's machine is started with its directories in place, and is dead before the API says
// that the instance is gone.
func TestMachineHook(t *testing.T) {
	needsRoot(t)
	state, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	hook := filepath.Join(t.TempDir(), "hook")
	write(t, hook, `#!/bin/sh
if [ "$1" = kill ]; then sleep 1; fi
[ -d "$INSTANCE_DIR/devices/disk/by-id" ] && [ -d "$INSTANCE_DIR/block" ] && there=yes
echo "$1 $2 $INSTANCE_LABEL $INSTANCE_MAIN_IP $there" >>`+log+"\n")
	if err := os.Chmod(hook, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	p := launch(t, "--state="+state, "--time-scale=0.01", "--machine-hook="+hook, "--instance-range=192.0.2.0/24")
	var made struct{ Instance struct{ ID string } }
	wanted := map[string]any{"region": "ewr", "plan": "vc2-1c-1gb", "os_id": 2136, "label": "worker-1"}
	if !call(http.MethodPost, p.api+"/instances", wanted, &made) {
		t.Fatal("no instance was made")
	}
	said := func(event string) bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), event+" "+made.Instance.ID+" worker-1 192.0.2.11 yes\n")
	}
	p.await("the machine's start", func() bool { return said("start") })
	p.await("the instance to be ready", func() bool { return p.view().Instances[0].ServerStatus == "ok" })
	if !call(http.MethodDelete, p.api+"/instances/"+made.Instance.ID, nil, nil) {
		t.Fatal("the instance cannot be destroyed")
	}
	p.await("the instance to be gone", func() bool {
		return !call(http.MethodGet, p.api+"/instances/"+made.Instance.ID, nil, nil)
	})
	if !said("kill") {
		t.Error("the API says that the instance is gone while its machine lives")
	}
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if left, err := os.ReadDir(filepath.Join(state, "instances")); err != nil || len(left) != 0 {
		t.Errorf("directories of former instances: %v, %v", left, err)
	}
}
