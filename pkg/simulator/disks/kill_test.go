package disks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
)

// The child's environment: the root to work on and the number of the step at which it kills itself.
const (
	childRoot = "DISKS_TEST_ROOT"
	childStep = "DISKS_TEST_STEP"
	childPlot = "DISKS_TEST_PLOT" // "snapshot", else a disk's life
)

func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		if err := childLife(root, os.Getenv(childStep)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testns.Main(m)
}

// childLife leads a disk through all it can meet and dies at the given step.
func childLife(root, step string) error {
	last, err := strconv.Atoi(step)
	if err != nil {
		return err
	}
	p, err := New(root)
	if err != nil {
		return err
	}
	p.share = cannotShare
	done := 0
	p.step = func(string) {
		if done++; done == last {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	if os.Getenv(childPlot) == "snapshot" {
		alwaysBusy(p)
		return snapshotLife(context.Background(), p)
	}
	return life(context.Background(), p)
}

// alwaysBusy has something written during every copy but the last, which the freeze protects.
func alwaysBusy(p *Plane) {
	step, frozen := p.step, false
	p.step = func(name string) {
		if frozen = frozen || name == "frozen"; name == "copied" && !frozen {
			now := time.Now()
			_ = os.Chtimes(p.image(disk), now, now) // as a write does
		}
		step(name)
	}
}

func life(ctx context.Context, p *Plane) error {
	return errors.Join(
		p.Ensure(ctx, disk, mib),
		p.Plug(ctx, disk, serial, alpha),
		p.Ensure(ctx, disk, 2*mib),
		p.Refresh(ctx, disk),
		p.Unplug(ctx, disk, alpha),
	)
}

// TestKilledAtEveryStep kills a process with SIGKILL after each single step of a disk's life, and has the next
// process either repeat the call or undo it.
func TestKilledAtEveryStep(t *testing.T) {
	next := map[string]func(ctx context.Context, p *Plane) error{
		"repeats":         life,
		"unplugs":         func(ctx context.Context, p *Plane) error { return p.Unplug(ctx, disk, alpha) },
		"plugs elsewhere": plugElsewhere,
	}
	for name, proceed := range next {
		t.Run(name, func(t *testing.T) {
			steps := 0
			for ended := false; !ended; steps++ {
				p := newPlane(t)
				ended = runChild(t, p.root, steps+1)
				p.step = func(name string) {
					if got := len(loopsUnder(t, p.root)); got > 1 {
						t.Errorf("killed at step %d, %s: %d loop devices for one backing file", steps+1, name, got)
					}
				}
				p.step("looked at by the next process")
				if err := proceed(t.Context(), p); err != nil {
					t.Fatalf("step %d: the next process: %v", steps+1, err)
				}
				wantNothingPlugged(t, p)
				must(t, p.Remove(t.Context(), disk))
			}
			if steps < 12 {
				t.Errorf("only %d steps were cut at", steps)
			}
		})
	}
}

// plugElsewhere is what a control plane does that has unplugged the disk in its books: end the old plug, begin a new.
func plugElsewhere(ctx context.Context, p *Plane) error {
	plugged, err := p.Plugged(ctx)
	if err != nil {
		return err
	}
	for id, instance := range plugged {
		if err := p.Unplug(ctx, id, instance); err != nil {
			return err
		}
	}
	return errors.Join(
		p.Ensure(ctx, disk, mib),
		p.Plug(ctx, disk, serial, beta),
		p.Unplug(ctx, disk, beta),
	)
}

// runChild reports whether the child lived to its end instead of being killed.
func runChild(t *testing.T, root string, step int) (ended bool) {
	t.Helper()
	return runChildOf(t, "life", root, step)
}

func runChildOf(t *testing.T, plot, root string, step int) (ended bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childRoot+"="+root, childStep+"="+strconv.Itoa(step), childPlot+"="+plot)
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	if err == nil {
		return true
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child failed: %v", err)
	}
	return false
}

// TestTwoProcessesPlugAtOnce has many goroutines of several planes (each with a lock of its own, as processes have)
// plug and unplug the same disk.
func TestTwoProcessesPlugAtOnce(t *testing.T) {
	p := newPlane(t)
	must(t, p.Ensure(t.Context(), disk, mib))
	var all sync.WaitGroup
	for range 4 {
		other, err := New(p.root)
		must(t, err)
		for range 2 {
			all.Go(func() {
				for range 5 {
					if err := errors.Join(other.Plug(t.Context(), disk, serial, alpha), other.Unplug(t.Context(), disk, alpha)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	wantNothingPlugged(t, p)
}

func TestGateGivesUpWithItsContext(t *testing.T) {
	p := newPlane(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := p.gate.Do(t.Context(), func() error {
		other, err := New(p.root)
		must(t, err)
		cancel()
		return other.Ensure(ctx, disk, mib)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for the lock with a cancelled context: %v", err)
	}
}
