//go:build faultpoints

package node_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// envCrash makes the test binary a node plugin that stages, publishes or takes down a volume once; its value is what.
const (
	envCrash = "NODE_CRASH_DO"
	envDir   = "NODE_CRASH_DIR"
	envFS    = "NODE_CRASH_FS"

	envDevices = "NODE_CRASH_DEVICES"
	envSysfs   = "NODE_CRASH_SYSFS"
)

// TestVictim is the process that TestKilledAtEveryStep kills.
func TestVictim(t *testing.T) {
	do := os.Getenv(envCrash)
	if do == "" {
		t.Skip("only run by TestKilledAtEveryStep")
	}
	dir := os.Getenv(envDir)
	r := &rig{t: t, dir: dir, staging: filepath.Join(dir, "staging"), target: filepath.Join(dir, "pod", "target")}
	records, err := state.Open(filepath.Join(dir, "state"))
	r.must(err)
	step.SetDir(filepath.Join(dir, "steps"))
	finder := device.Finder{DeviceDir: os.Getenv(envDevices), SysfsDir: os.Getenv(envSysfs)}
	r.Service = node.New(node.Config{Finder: finder, State: records, BootID: bootID, Patience: time.Second})
	capability := mountCapability(writer, os.Getenv(envFS))
	switch do {
	case "up":
		r.must(r.stage(capability))
		r.must(r.publish(capability, r.target, false))
	case "unstage":
		r.must(r.unstage())
	case "down":
		r.must(r.unpublish(r.target))
		r.must(r.unstage())
	}
}

// TestKilledAtEveryStep kills the node plugin before every step of a volume's way up and down, and has a new one do
// it all again. Whatever was killed, the volume comes up with what was written to it, and goes down.
func TestKilledAtEveryStep(t *testing.T) {
	down := []step.Name{step.Unbind, step.Unmount, step.Flush}
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		for _, at := range step.All {
			if at == step.Grow || (at == step.Check && fsType != "ext4") {
				continue // not on the way of a new volume
			}
			t.Run(fsType+" "+string(at), func(t *testing.T) {
				v := newVictim(t, fsType)
				switch {
				case at == step.Check: // a file system is checked when it is there already
					v.do("up")
					v.do("down")
					v.kill("up", at)
				case slices.Contains(down, at):
					v.do("up")
					v.write(filepath.Join(v.target, "file"), "data")
					v.kill("down", at)
					v.do("down")
				default:
					v.kill("up", at)
				}
				if at == step.MkfsHalf {
					f, err := blockfs.Probe(t.Context(), v.machine.Device(serial))
					if err != nil || f.Blank || f.Signature != "" {
						t.Fatalf("half a file system is %+v, %v", f, err)
					}
				}
				if at == step.MkfsHalf {
					// The pod was deleted meanwhile, and comes back: the record of the format is still there, as the disk is.
					v.do("unstage")
				}
				v.do("up")
				if slices.Contains(down, at) && v.read(filepath.Join(v.target, "file")) != "data" {
					t.Error("the data is gone")
				}
				v.write(filepath.Join(v.target, "more"), "data")
				v.do("down")
				if i, err := v.state.Intent(volumeID); err != nil || i != nil {
					t.Errorf("a record is left: %v, %v", i, err)
				}
			})
		}
	}
}

// victim is a rig whose service is in a process of its own.
type victim struct {
	*rig
	fsType, steps string
	// encrypted makes the process for an encrypted volume.
	encrypted func(do string) *exec.Cmd
}

func newVictim(t *testing.T, fsType string) *victim {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	v := &victim{rig: r, fsType: fsType, steps: filepath.Join(r.dir, "steps")}
	r.must(os.Mkdir(v.steps, 0o700))
	return v
}

func (v *victim) command(do string) *exec.Cmd {
	if v.encrypted != nil {
		return v.encrypted(do)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestVictim$")
	cmd.Env = append(os.Environ(), envCrash+"="+do, envDir+"="+v.dir, envFS+"="+v.fsType,
		envDevices+"="+v.machine.DeviceDir, envSysfs+"="+v.machine.SysfsDir)
	return cmd
}

// do has it done.
func (v *victim) do(what string) {
	v.t.Helper()
	if out, err := v.command(what).CombinedOutput(); err != nil {
		v.t.Fatalf("%s: %v\n%s", what, err, out)
	}
}

// kill begins it and kills it right before a step.
func (v *victim) kill(what string, at step.Name) {
	v.t.Helper()
	stop, reached := filepath.Join(v.steps, string(at)+".stop"), filepath.Join(v.steps, string(at)+".reached")
	v.must(os.WriteFile(stop, nil, 0o600))
	cmd := v.command(what)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
	v.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	limit, limited := v.t.Deadline() // a busy machine takes minutes to make the header of an encrypted disk
	for {
		if _, err := os.Stat(reached); err == nil {
			break
		}
		select {
		case err := <-ended:
			v.t.Fatalf("it ended before step %s: %v\n%s", at, err, &out)
		case <-time.After(10 * time.Millisecond): // a poll of what another process does
		}
		if limited && time.Until(limit) < time.Minute {
			_ = cmd.Process.Kill()
			v.t.Fatalf("step %s was not reached", at)
		}
	}
	v.must(cmd.Process.Kill())
	if err := <-ended; err == nil {
		v.t.Errorf("it ended by itself at step %s", at)
	}
	v.must(os.Remove(stop))
	v.must(os.Remove(reached))
}
