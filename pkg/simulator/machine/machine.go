// Package machine has what can stand behind a simulated instance: nothing, or a command that brings real processes up
// and down.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	// DefaultTimeout is how long a hook may take when nothing else is said.
	DefaultTimeout = simulator.DefaultMachineTimeout
	// dying is how long a hook has between SIGTERM and SIGKILL, and its children to release its output.
	dying = 5 * time.Second
	// maxOutput is how much of a hook's output is kept for errors and logs.
	maxOutput = 4 << 10
	// maxText bounds what a hook is told of each text that a client chose; Linux takes 128 KB.
	maxText = 4 << 10
)

// None stands behind instances that are only entries in the API. Its methods do nothing.
type None struct{}

var (
	_ simulator.Machine = None{}
	_ simulator.Machine = (*Hook)(nil)
)

// Start does nothing.
func (None) Start(context.Context, simulator.MachineInfo) error { return nil }

// Kill does nothing.
func (None) Kill(context.Context, simulator.MachineInfo) error { return nil }

// Reboot does nothing.
func (None) Reboot(context.Context, simulator.MachineInfo) error { return nil }

// DiskPlugged does nothing.
func (None) DiskPlugged(context.Context, simulator.MachineInfo, simulator.MachineDisk) error {
	return nil
}

// DiskUnplugged does nothing.
func (None) DiskUnplugged(context.Context, simulator.MachineInfo, simulator.MachineDisk) error {
	return nil
}

// Hook runs a command for everything that happens to an instance:
//
//	COMMAND start|kill|reboot INSTANCE_ID
//	COMMAND disk-plugged|disk-unplugged INSTANCE_ID SERIAL
//
// with INSTANCE_LABEL, INSTANCE_HOSTNAME, INSTANCE_REGION, INSTANCE_MAIN_IP and INSTANCE_DIR in its environment. The
// command must be idempotent: one that fails, or was cut off, is called again until it succeeds.
type Hook struct {
	// Command is the program; it is run as it is, without a shell.
	Command string
	// Timeout bounds one run; 0 means DefaultTimeout. A longer one must be the simulator's MachineTimeout too.
	Timeout time.Duration
	// Dir gives an instance's directory, in which its disks appear; nil for none. It makes sure that it exists.
	Dir func(instanceID string) (string, error)
}

// Start runs COMMAND start.
func (h *Hook) Start(ctx context.Context, instance simulator.MachineInfo) error {
	return h.run(ctx, instance, "start")
}

// Kill runs COMMAND kill, which returns when no process of the instance lives any more.
func (h *Hook) Kill(ctx context.Context, instance simulator.MachineInfo) error {
	return h.run(ctx, instance, "kill")
}

// Reboot runs COMMAND reboot.
func (h *Hook) Reboot(ctx context.Context, instance simulator.MachineInfo) error {
	return h.run(ctx, instance, "reboot")
}

// DiskPlugged runs COMMAND disk-plugged.
func (h *Hook) DiskPlugged(ctx context.Context, instance simulator.MachineInfo, disk simulator.MachineDisk) error {
	return h.run(ctx, instance, "disk-plugged", disk.Serial)
}

// DiskUnplugged runs COMMAND disk-unplugged.
func (h *Hook) DiskUnplugged(ctx context.Context, instance simulator.MachineInfo, disk simulator.MachineDisk) error {
	return h.run(ctx, instance, "disk-unplugged", disk.Serial)
}

// run waits for the command. Its output is logged line by line when it succeeds, and is part of the error otherwise.
func (h *Hook) run(ctx context.Context, instance simulator.MachineInfo, event string, more ...string) error {
	dir := ""
	if h.Dir != nil {
		var err error
		if dir, err = h.Dir(instance.ID); err != nil {
			return fmt.Errorf("machine hook %s: %w", event, err)
		}
	}
	timeout := h.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("took longer than %s", timeout))
	defer cancel()
	arguments := append([]string{event, instance.ID}, more...)
	cmd := exec.CommandContext(ctx, h.Command, arguments...) //nolint:gosec // the operator's own command
	cmd.Env = append(os.Environ(),
		"INSTANCE_LABEL="+bounded(instance.Label), "INSTANCE_HOSTNAME="+bounded(instance.Hostname), "INSTANCE_REGION="+instance.Region,
		"INSTANCE_MAIN_IP="+instance.MainIP, "INSTANCE_DIR="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	// A worker that the hook leaves running must not keep the simulator waiting for the end of the hook's output.
	cmd.WaitDelay = dying
	output := &tail{limit: maxOutput}
	cmd.Stdout, cmd.Stderr = output, output
	began := time.Now()
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // it ended well; only its children still hold the output
		err = nil
	}
	if err != nil {
		return failure(ctx, err, event, instance.ID, output.String())
	}
	log := klog.FromContext(ctx).WithValues("event", event, "instance", instance.ID)
	log.Info("Machine hook ran", "took", time.Since(began).Round(time.Millisecond))
	for line := range strings.Lines(output.String()) {
		log.V(2).Info("Machine hook said", "line", strings.TrimSpace(line))
	}
	return nil
}

// bounded is a client's text in a form that fits into an environment: a NUL, or more than the kernel takes, would keep
// the hook from ever being run.
func bounded(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}

func failure(ctx context.Context, err error, event, instance, output string) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if output = strings.TrimSpace(output); output != "" {
		err = fmt.Errorf("%w: %s", err, output)
	}
	return fmt.Errorf("machine hook %s for instance %s: %w", event, instance, err)
}

// tail keeps the last bytes that were written to it.
type tail struct {
	limit int
	text  bytes.Buffer
	cut   bool
}

// Write never fails. exec uses one goroutine for both outputs when they are the same writer.
func (t *tail) Write(p []byte) (int, error) {
	t.text.Write(p)
	if over := t.text.Len() - t.limit; over > 0 {
		t.text.Next(over)
		t.cut = true
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	if t.cut {
		return "... " + t.text.String()
	}
	return t.text.String()
}
