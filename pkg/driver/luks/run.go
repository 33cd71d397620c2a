package luks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// The exit codes of cryptsetup(8) that mean something.
const (
	exitPassphrase = 2
	exitBusy       = 5
)

// keyFile is where cryptsetup finds the passphrase with the index.
func keyFile(index int) string { return fmt.Sprintf("/proc/self/fd/%d", firstExtra+index) }

// firstExtra is the descriptor of the first of exec.Cmd's ExtraFiles.
const firstExtra = 3

// endPatience is how long cryptsetup has when it is told to end. Whatever it does is safe to be cut off.
const endPatience = 10 * time.Second

// run runs cryptsetup. The error has its words, which never have a passphrase in them.
func run(ctx context.Context, what string, keys []Passphrase, args ...string) error {
	pipes, err := pipesOf(keys)
	defer closeAll(pipes)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "cryptsetup", append([]string{"--batch-mode", "--disable-locks"}, args...)...) //nolint:gosec // a constant, and paths that were proven
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endPatience
	// Device nodes are made by the kernel and by libdevmapper itself; udev's cookie is a semaphore that a container does
	// not share with it.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DM_DISABLE_UDEV=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = pipes
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	switch exit, ok := errors.AsType[*exec.ExitError](err); {
	case ctx.Err() != nil:
		return fmt.Errorf("cryptsetup %s on %s was told to end: %w: %w: %s", args[0], what, context.Cause(ctx), err, text)
	case ok && exit.ExitCode() == exitPassphrase:
		return fmt.Errorf("%w: cryptsetup %s on %s: %s", ErrPassphrase, args[0], what, text)
	case ok && exit.ExitCode() == exitBusy:
		return fmt.Errorf("%w: cryptsetup %s on %s: %s", ErrBusy, args[0], what, text)
	}
	return fmt.Errorf("cryptsetup %s on %s: %w: %s", args[0], what, err, text)
}

// pipesOf makes a pipe for each key, with the key in it. A key is shorter than what any pipe holds, so nobody has to wait
// for a reader. The caller closes those that were made, also after an error.
func pipesOf(keys []Passphrase) ([]*os.File, error) {
	var pipes []*os.File
	for _, key := range keys {
		if key == "" || len(key) > MaxPassphrase {
			return pipes, fmt.Errorf("a passphrase of %d bytes cannot be used, it must have 1 to %d", len(key), MaxPassphrase)
		}
		reader, writer, err := os.Pipe()
		if err != nil {
			return pipes, err
		}
		pipes = append(pipes, reader)
		_, err = writer.WriteString(string(key))
		if err = errors.Join(err, writer.Close()); err != nil {
			return pipes, fmt.Errorf("handing on a passphrase: %w", err)
		}
	}
	return pipes, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // the child had its own
	}
}
