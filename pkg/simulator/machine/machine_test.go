package machine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

var (
	info = simulator.MachineInfo{ID: "i-1", Label: "worker-1", Hostname: "worker-1.example", Region: "ewr", MainIP: "192.0.2.11"}
	disk = simulator.MachineDisk{ID: "d-1", Serial: "ewr-2f5d7a314fe44f"}
)

func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHookIsToldEverything(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	hook := &Hook{
		Command: script(t, `echo "$@ $INSTANCE_LABEL $INSTANCE_HOSTNAME $INSTANCE_REGION $INSTANCE_MAIN_IP $INSTANCE_DIR" >>`+log+"\n"),
		Dir:     func(id string) (string, error) { return "/instances/" + id, nil },
	}
	ctx := t.Context()
	for _, err := range []error{
		hook.Start(ctx, info), hook.DiskPlugged(ctx, info, disk), hook.Reboot(ctx, info), hook.DiskUnplugged(ctx, info, disk), hook.Kill(ctx, info),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	common := " worker-1 worker-1.example ewr 192.0.2.11 /instances/i-1\n"
	want := "start i-1" + common + "disk-plugged i-1 " + disk.Serial + common + "reboot i-1" + common +
		"disk-unplugged i-1 " + disk.Serial + common + "kill i-1" + common
	if string(text) != want {
		t.Errorf("the hook was told:\n%swant:\n%s", text, want)
	}
}

// TestHookAndHostileNames: a name that does not fit into an environment does not keep the hook from being run.
func TestHookAndHostileNames(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	hook := &Hook{Command: script(t, `echo "$INSTANCE_LABEL" >>`+log+"\n")}
	for label, want := range map[string]string{
		"a\x00b":                          "ab\n",
		strings.Repeat("\u2603", 100<<10): strings.Repeat("\u2603", maxText/3) + "\n",
	} {
		if err := hook.Start(t.Context(), simulator.MachineInfo{ID: "i-1", Label: label, Hostname: label}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(log)
		if err != nil || string(text) != want {
			t.Errorf("told %.40q (%d bytes), %v", text, len(text), err)
		}
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHookFailures(t *testing.T) {
	t.Run("exit code and output", func(t *testing.T) {
		err := (&Hook{Command: script(t, "echo no room left >&2; exit 3\n")}).Start(t.Context(), info)
		if err == nil || !strings.Contains(err.Error(), "exit status 3: no room left") || !strings.Contains(err.Error(), "start for instance i-1") {
			t.Errorf("%v", err)
		}
	})
	t.Run("no such command", func(t *testing.T) {
		if err := (&Hook{Command: "/nonexistent/hook"}).Kill(t.Context(), info); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		err := (&Hook{Command: script(t, "exec sleep 600\n"), Timeout: 100 * time.Millisecond}).Kill(t.Context(), info)
		if err == nil || !strings.Contains(err.Error(), "took longer than 100ms") {
			t.Errorf("%v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := (&Hook{Command: script(t, "exec sleep 600\n")}).Kill(ctx, info); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		hook := &Hook{Command: "true", Dir: func(string) (string, error) { return "", os.ErrPermission }}
		if err := hook.Start(t.Context(), info); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%v", err)
		}
	})
}

// TestHookMayLeaveProcesses: a hook that starts a worker ends while the worker holds its output.
func TestHookMayLeaveProcesses(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	hook := &Hook{Command: script(t, "sleep 600 & echo $! >"+pidFile+"\n")}
	if err := hook.Start(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Hook{Command: script(t, "kill -9 "+string(pid))}).Kill(t.Context(), info); err != nil {
		t.Errorf("the worker did not live: %v", err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	err := (&Hook{Command: script(t, "head -c 100000 /dev/zero | tr '\\0' x; echo end; exit 1\n")}).Start(t.Context(), info)
	if err == nil || len(err.Error()) > maxOutput+200 || !strings.HasSuffix(err.Error(), "xend") {
		t.Errorf("an error of %d characters", len(err.Error()))
	}
}
