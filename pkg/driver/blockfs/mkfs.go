package blockfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// Formatter makes file systems. Only a few at a time: each needs memory for its tables, and the node plugin has a
// limit.
type Formatter struct{ slots chan struct{} }

// NewFormatter makes a formatter that runs at most n at a time.
func NewFormatter(n int) *Formatter { return &Formatter{slots: make(chan struct{}, n)} }

// Make makes the file system. Waiting for a turn can take long, and its tool gets no more than a path, so when the
// turn has come the device is held open, which keeps its number from going to another disk, and prove is asked
// whether it is still the one that was judged. Without overwrite mkfs.xfs itself refuses a device that holds
// something, as a last guard.
func (f *Formatter) Make(ctx context.Context, d device.Device, fsType string, overwrite bool, prove func() error) error {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	held, err := device.Open(d, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer held.Close() //nolint:errcheck // only held
	if err := prove(); err != nil {
		return err
	}
	if err := step.At(ctx, step.MkfsFirst); err != nil {
		return err
	}
	if step.Wanted(step.MkfsHalf) {
		if err := makeHalf(ctx, d, fsType); err != nil {
			return err
		}
		if err := step.At(ctx, step.MkfsHalf); err != nil {
			return err
		}
		overwrite = true
	}
	if err := mkfs(ctx, d.Path, fsType, overwrite); err != nil {
		return err
	}
	return step.At(ctx, step.MkfsDone)
}

// mkfs runs the file system's own tool. Nothing is discarded: the device is blank, and a discard of a large device
// takes longer than all the rest.
func mkfs(ctx context.Context, path, fsType string, overwrite bool) error {
	var args []string
	switch fsType {
	case "ext4":
		// No blocks are reserved for root: volumes belong to pods.
		args = []string{"-m", "0", "-E", "nodiscard", path}
	case "xfs":
		args = []string{"-K", path}
		if overwrite {
			args = []string{"-f", "-K", path}
		}
	default:
		return fmt.Errorf("no tool makes a %s file system", fsType)
	}
	return run(ctx, "mkfs."+fsType, args...)
}

// Check repairs what can be repaired without losing anything. Only ext4 needs that: xfs replays its log when it is
// mounted, and its repair tool is for people.
func Check(ctx context.Context, d device.Device, fsType string) error {
	if fsType != "ext4" {
		return nil
	}
	err := run(ctx, "e2fsck", "-p", d.Path)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return nil // faults were found and repaired
	}
	if err != nil {
		return fmt.Errorf("the file system on %s (serial %s) has faults that are not repaired without being told to: %w", d.Path, d.Serial, err)
	}
	return nil
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // the names are constants, the paths proven
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, brief(string(out)))
	}
	return nil
}

// briefAt is how much of a tool's output goes into an error. Its end says why it gave up.
const briefAt = 600

// brief makes one line of the end of a tool's output.
func brief(out string) string {
	line := strings.Join(strings.Fields(out), " ")
	if len(line) > briefAt {
		line = "... " + strings.ToValidUTF8(line[len(line)-briefAt:], "")
	}
	return line
}
