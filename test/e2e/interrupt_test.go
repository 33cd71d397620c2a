package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// interrupted ends when the tests are told to end.
var interrupted, interrupt = context.WithCancel(context.Background())

// children are the programs that tests have started.
var children struct {
	mu  sync.Mutex
	all []*exec.Cmd
}

// start starts a program that is ended with the tests.
func start(cmd *exec.Cmd) error {
	children.mu.Lock()
	defer children.mu.Unlock()
	if err := interrupted.Err(); err != nil {
		return err
	}
	err := cmd.Start()
	if err == nil {
		children.all = append(children.all, cmd)
	}
	return err
}

// cleanUpOnSignal takes down on Ctrl-C or SIGTERM what the tests have brought up, and
// ends the program: the testing package would leave it all behind.
func cleanUpOnSignal() error {
	dir, err := cache.Dir()
	if err != nil {
		return err
	}
	others, err := cluster.Runs(dir)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// Whoever reads the output may be gone before the clean-up is over.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		fmt.Fprintf(os.Stderr, "%s: removing what the tests have started\n", <-signals)
		if err := errors.Join(removeStarted(dir, others), os.RemoveAll(filepath.Dir(program))); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) //nolint:revive // the testing package knows no other end than that of its last test
	}()
	return nil
}

// removeStarted ends the tests' programs, then the shared cluster, then what programs of theirs have left.
func removeStarted(dir string, others []string) error {
	interrupt()
	children.mu.Lock() // for good: nothing is started any more
	for _, cmd := range children.all {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	var errs []error
	shared.mu.Lock() // for good too; a start that was under way has been cut off and has cleaned up
	if shared.c != nil {
		errs = append(errs, shared.c.Down(context.Background()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for _, cmd := range children.all {
		errs = append(errs, waitGone(ctx, cmd.Process.Pid))
	}
	return errors.Join(append(errs, cluster.RemoveAll(ctx, dir, os.Stderr, others...))...)
}

// waitGone waits until a child has ended. Its test may be waiting for it too, so this only looks.
func waitGone(ctx context.Context, pid int) error {
	for {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(state) == 0 { // a zombie has no command line
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", pid, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
