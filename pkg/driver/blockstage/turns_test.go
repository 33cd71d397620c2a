package blockstage

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// takeTurns takes all turns of checks, until the function is called.
func (g *stage) takeTurns() (give func()) {
	g.t.Helper()
	var works longwork.Runner
	end := make(chan struct{})
	var taken sync.WaitGroup
	for _, volume := range []string{"a", "b"} {
		taken.Add(1)
		go works.Do(context.Background(), volume, "call", func(task *longwork.Task) error { //nolint:errcheck // it cannot fail
			_, done, err := g.checks.turns.Take(task, "check")
			taken.Done()
			<-end
			done()
			return err
		})
	}
	taken.Wait()
	return sync.OnceFunc(func() { close(end) })
}

// stageUntil stages until that is done or the work says the words, and gives up then, whatever the machine is busy with.
func (g *stage) stageUntil(words string) error {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- g.Stage(ctx, g.volume, g.path) }()
	poll := time.NewTicker(10 * time.Millisecond) // work tells nothing by itself
	defer poll.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-poll.C:
			if now := g.cfg.Work.Running(id); now != nil && strings.Contains(now.Error(), words) {
				cancel()
				return <-ended
			}
		}
	}
}

// TestChecksTakeTurns: while two checks run a third one waits, and says so; a file system that needs none is mounted. When
// its turn has come the disk is proven once more.
func TestChecksTakeTurns(t *testing.T) {
	g := newStage(t, "ext4")
	g.must(g.Stage(t.Context(), g.volume, g.path))
	g.must(g.Unstage(t.Context(), id, g.path))
	give := g.takeTurns()
	defer give()
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g.must(g.Stage(soon, g.volume, g.path)) // there is nothing to check
	g.must(g.Unstage(t.Context(), id, g.path))

	run(t, "debugfs", "-w", "-R", "ssv state 2", g.device.Path)
	err := g.stageUntil("waiting for a turn")
	if _, running := errors.AsType[*longwork.RunningError](err); !running || !strings.Contains(err.Error(), "waiting for a turn to check the file system on "+g.device.Path) {
		t.Fatalf("got %v", err)
	}
	g.machine.Unplug("disk")
	g.machine.Plug("disk", serial, 1<<30)
	give()
	if err := g.cfg.Work.Join(soon, id, StageCall); err == nil || !strings.Contains(err.Error(), "unplugged") && !strings.Contains(err.Error(), "moved") {
		t.Errorf("got %v", err)
	}
}
