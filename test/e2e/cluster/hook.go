package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// HookCommand is the argument by which the cluster command becomes a run's machine
// hook; it is followed by the run's directory and what the simulator says.
const HookCommand = "machine-hook"

// hookTimeout bounds one call of the hook; the simulator calls again what failed.
const hookTimeout = 3 * time.Minute

// writeHook makes the program that the simulator calls.
func (r *Run) writeHook() error {
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' %s '%s' \"$@\"\n", r.path("bin", "cluster"), HookCommand, r.Dir)
	return os.WriteFile(r.path("hook"), []byte(script), 0o700) //nolint:gosec // G306: it is to be executed
}

// Hook does what the simulated cloud asks of an instance's machine.
func Hook(ctx context.Context, runDir string, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: start|kill|reboot|disk-plugged|disk-unplugged INSTANCE_ID [SERIAL]")
	}
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	r, config, err := openRun(runDir)
	if err != nil {
		return err
	}
	action, id := args[0], args[1]
	switch action {
	case "start":
		m, err := described(r, config, id)
		if err != nil {
			return err
		}
		return m.start(ctx)
	case "kill", "reboot":
		m, err := recall(r, config, id)
		if err != nil || m == nil {
			return err // it never ran
		}
		if err := m.kill(ctx); err != nil || action == "kill" {
			return err
		}
		return m.start(ctx)
	case "disk-plugged", "disk-unplugged":
		return nil // the worker sees the directory in which the cloud publishes disks
	default:
		return fmt.Errorf("unknown action %q", action)
	}
}

// described is the machine of the instance that the environment describes.
func described(r *Run, config runConfig, id string) (*machine, error) {
	address, err := netip.ParseAddr(os.Getenv("INSTANCE_MAIN_IP"))
	if err != nil {
		return nil, fmt.Errorf("INSTANCE_MAIN_IP: %w", err)
	}
	i := Instance{ID: id, Label: os.Getenv("INSTANCE_LABEL"), Address: address, Disks: os.Getenv("INSTANCE_DIR")}
	if i.Label == "" || i.Disks == "" {
		return nil, fmt.Errorf("the environment does not describe the instance %s", id)
	}
	return newMachine(r, config, i), nil
}
