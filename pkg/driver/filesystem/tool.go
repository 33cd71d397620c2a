package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// Tool is a program that works on a device, possibly for long.
type Tool struct {
	Name string
	Args []string
	// Fine are exit codes besides 0 that mean success.
	Fine []int
	// Ending says how it is to end when the process has to, and Limit how long it may take, 0 for as long as it needs.
	Ending longwork.Ending
	Limit  time.Duration
	// Checks is set when its outcome says how well the file system is.
	Checks bool
	// Quick reports whether a check will be over at once, by what is on the device; nil is for one that never is.
	Quick func(r io.ReaderAt) bool
	// Ended is told the exit code of a run that succeeded, 0 or one of Fine. nil tells nobody.
	Ended func(code int)
	// Advice says what a person can do when it fails.
	Advice string
	// tellsPasses is set when it writes e2fsck's progress to descriptor 3.
	tellsPasses bool
	// instead returns the arguments with which it is run once more after it failed, by what it printed; nil leaves it failed.
	// The function may be nil, too.
	instead func(out string) []string
	// howFar reads from what it has printed so far how far it is, "" for unknown. nil when it prints nothing of that.
	howFar func(out string) string
}

// The limits are far beyond what any volume needs: they end what is stuck.
const (
	makeLimit  = 2 * time.Hour
	checkLimit = 48 * time.Hour
)

// Run runs the tool as a step of long work on the device.
func (t Tool) Run(task *longwork.Task, d device.Device) error {
	p := &progress{device: d.Number, before: written(d.Number), howFar: t.howFar}
	what := fmt.Sprintf("%s on device %s (serial %s)", t.Name, d.Path, d.Serial)
	ctx, err := task.Step(what, t.Ending, t.Limit, p.String)
	if err != nil {
		return fmt.Errorf("%s is not begun: %w", what, err)
	}
	return t.whenFree(ctx, p)
}

// whenFree runs the tool again while it finds the device busy for a moment: that says nothing about what is on it.
func (t Tool) whenFree(ctx context.Context, p *progress) error {
	return device.UntilFree(ctx, device.Moment, func() error { return t.run(ctx, p) })
}

func (t Tool) run(ctx context.Context, p *progress) error {
	cmd := exec.CommandContext(ctx, t.Name, t.Args...) //nolint:gosec // the names are constants, the paths proven
	// It is asked to end, never killed: it leaves the device in order, or ends when it is done.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	// Its messages are read, by people and by RefusesOnline: in English, whatever the node speaks.
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// What a terminal sends to the node plugin is not for its tools.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := p.restart()
	cmd.Stdout, cmd.Stderr = out, out
	var passes *os.File
	if t.tellsPasses {
		reader, writer, err := os.Pipe()
		if err != nil {
			return err
		}
		defer writer.Close() //nolint:errcheck // closed below as soon as it was handed on
		passes = writer
		cmd.ExtraFiles = []*os.File{writer}
		go p.follow(reader)
	}
	err := cmd.Start()
	if passes != nil {
		_ = passes.Close() // the child has its own
	}
	if err == nil {
		err = cmd.Wait()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); err == nil || ok && slices.Contains(t.Fine, exit.ExitCode()) {
		if t.Ended != nil {
			t.Ended(cmd.ProcessState.ExitCode())
		}
		return nil
	}
	err = fmt.Errorf("%s %s: %w: %s", t.Name, strings.Join(t.Args, " "), err, brief(out.String()))
	if saysBusy(out.String()) {
		return fmt.Errorf("%w: %w", unix.EBUSY, err) // it did not begin, and says nothing about the file system
	}
	if args := t.otherwise(ctx, out.String()); args != nil {
		klog.FromContext(ctx).Info("The tool is run in another way", "tool", t.Name, "args", args, "why", err)
		other := t
		other.Args, other.instead = args, nil
		return other.run(ctx, p)
	}
	if t.Advice != "" && ctx.Err() == nil {
		err = fmt.Errorf("%w. %s", err, t.Advice)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("it was told to end: %w: %w", context.Cause(ctx), err)
	}
	return err
}

// otherwise returns the arguments of another run, nil for none.
func (t Tool) otherwise(ctx context.Context, out string) []string {
	if t.instead == nil || ctx.Err() != nil {
		return nil
	}
	return t.instead(out)
}

// saysBusy recognises that a tool could not have the device for itself: the words of e2fsck, mkfs.ext4 and of the C library.
func saysBusy(out string) bool {
	return strings.Contains(out, " is in use.") || strings.Contains(out, "apparently in use by the system") ||
		strings.Contains(out, "Device or resource busy")
}

// briefAt is how much of a tool's output goes into an error. Its end says why it gave up.
const briefAt = 600

// bar is a progress bar of resize2fs.
var bar = regexp.MustCompile(`[-X]{40,}`)

// brief makes one line of the end of a tool's output.
func brief(out string) string {
	out = bar.ReplaceAllString(strings.Map(printable, out), "")
	line := strings.Join(strings.Fields(out), " ")
	if len(line) > briefAt {
		line = "... " + strings.ToValidUTF8(line[len(line)-briefAt:], "")
	}
	return line
}

// printable drops the backspaces of progress displays.
func printable(r rune) rune {
	if r == '\b' {
		return -1
	}
	return r
}
