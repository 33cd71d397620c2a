package vfsstore

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const claimed = "pvc-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"

// both has the file system grown to 20 GiB and labelled at once, each a while after the begin.
func (r *rig) both(id string, expandAfter, modifyAfter time.Duration) (expanded, modified error) {
	var all sync.WaitGroup
	all.Go(func() {
		time.Sleep(expandAfter) // of the fake clock
		_, _, expanded = r.Expand(r.t.Context(), id, volume.Capacity{Required: 20 * volume.GiB})
	})
	all.Go(func() {
		time.Sleep(modifyAfter) // of the fake clock
		modified = r.Modify(r.t.Context(), id, map[string]string{"label": "x"})
	})
	all.Wait()
	return expanded, modified
}

// is20AndNoted checks that the file system is what both make of it.
func (r *rig) is20AndNoted(id string) {
	r.t.Helper()
	if f, _ := r.view(id); f.SizeGB != 20 || f.Label != claimed+" (x)" {
		r.t.Errorf("it has %d GB and the label %q", f.SizeGB, f.Label)
	}
}

// TestExpandAndModifyAreOneChange whichever comes first and however long the expansion reads, and two when they do not come
// together. An expansion that has nothing to do keeps no modification waiting.
func TestExpandAndModifyAreOneChange(t *testing.T) {
	for name, c := range map[string]struct {
		expand, modify, list time.Duration
		before               int // GB
		changes              int
	}{
		"at once":       {changes: 1},
		"modify first":  {expand: 200 * time.Millisecond, changes: 1},
		"a slow read":   {modify: time.Second, list: 2 * time.Second, changes: 1},
		"long before":   {expand: 2 * time.Second, changes: 2},
		"long after":    {modify: 20 * time.Second, changes: 2},
		"nothing to do": {before: 20, changes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				id := r.create(claimed)
				if c.before > 0 {
					r.must(r.api.ResizeFileSystem(t.Context(), id, c.before))
				}
				time.Sleep(time.Minute) // of the fake clock
				if c.list > 0 {
					r.cloud.Fault(simulator.Fault{Operation: "list_vfs", Action: simulator.FaultLatency, LatencyMS: int(c.list.Milliseconds())})
				}
				changed := r.cloud.Count("update_vfs")
				if expanded, modified := r.both(id, c.expand, c.modify); expanded != nil || modified != nil {
					t.Errorf("got %v, %v", expanded, modified)
				}
				r.is20AndNoted(id)
				if n := r.cloud.Count("update_vfs") - changed; n != c.changes {
					t.Errorf("it took %d changes, want %d", n, c.changes)
				}
			})
		})
	}
}

// TestNothingToChange: should the platform say of a label what it says of that of block storage, that it is so already, then it is
// looked whether it is.
func TestNothingToChange(t *testing.T) {
	inBubble(t, simulator.ReadLags{"vfs": 10 * time.Second}, func(t *testing.T, r *rig) {
		id := r.create(claimed)
		note := func(note string) error {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			return r.Modify(ctx, id, map[string]string{"label": note})
		}
		time.Sleep(time.Minute) // of the fake clock
		r.must(note("x"))
		r.cloud.Fault(simulator.Fault{
			Operation: "update_vfs", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Nothing to change","status":400}`,
		})
		r.must(note("x"))
		if err := note("y"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another one: got %v", err)
		}
	})
}

// TestOneOfBothIsRefused: neither fails for the other.
func TestOneOfBothIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id := r.create(claimed)
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{
			Operation: "update_vfs", Action: simulator.FaultStatus, Status: http.StatusUnprocessableEntity, Body: `{"error":"no","status":422}`, Times: 1,
		})
		if expanded, modified := r.both(id, 0, 0); expanded != nil || modified != nil || r.cloud.Count("update_vfs") != 3 {
			t.Errorf("got %v, %v after %d changes", expanded, modified, r.cloud.Count("update_vfs"))
		}
		r.is20AndNoted(id)
	})
}

// TestLostAnswerOfBoth: what was done is found to be done, and nothing is made smaller.
func TestLostAnswerOfBoth(t *testing.T) {
	inBubble(t, simulator.ReadLags{"vfs": 10 * time.Second}, func(_ *testing.T, r *rig) {
		id := r.create(claimed)
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "update_vfs", Action: simulator.FaultResetAfter, Times: 1})
		r.must(r.repeat(2*time.Minute, func(context.Context) error { return errors.Join(r.both(id, 0, 0)) }))
		r.is20AndNoted(id)
	})
}
