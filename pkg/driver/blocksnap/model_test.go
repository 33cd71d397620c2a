package blocksnap

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// wish is a snapshot as Kubernetes wishes for it: it keeps the first ID that it was told.
type wish struct {
	name, volume string

	mu   sync.Mutex
	told string
}

// TestSnapshotsUnderFaults: wishes come and go while answers get lost, requests are delivered twice or refused and reads
// are late, and two processes serve them. What was told is never lost, a name has one snapshot in the end, and nothing is
// left of what was deleted.
func TestSnapshotsUnderFaults(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			lag := []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}[seed%3]
			inBubble(t, simulator.ReadLags{"block_snapshots": lag}, func(_ *testing.T, r *rig) {
				random := rand.New(rand.NewPCG(seed, 1))
				m := &model{r: r, processes: []*rig{r, r.another()}, volumes: []string{r.volume(), r.volume()}, kept: map[string]*wish{}}
				m.addFaults(seed)
				var all sync.WaitGroup
				for i := range 12 {
					w := &wish{name: fmt.Sprintf("snapshot-%d", i), volume: m.volumes[random.IntN(len(m.volumes))]}
					deleted, failover := random.IntN(3) == 0, time.Duration(random.IntN(60))*time.Second
					time.Sleep(time.Duration(random.IntN(2500)) * time.Millisecond) // of the fake clock
					all.Go(func() { m.live(w, deleted, failover) })
				}
				all.Wait()
				r.cloud.Sim.ClearFaults()
				time.Sleep(10 * time.Minute) // of the fake clock
				m.check()
			})
		})
	}
}

// model is what the platform should have.
type model struct {
	r         *rig
	processes []*rig
	volumes   []string

	mu   sync.Mutex
	kept map[string]*wish // by name
}

func (m *model) addFaults(seed uint64) {
	for operation, actions := range map[string][]simulator.Fault{
		"create_block_snapshot": {
			{Action: simulator.FaultResetAfter, Probability: 0.2},
			{Action: simulator.FaultResetBefore, Probability: 0.1},
			{Action: simulator.FaultStatus, Status: 429, RetryAfter: 1, Probability: 0.1},
			{Action: simulator.FaultStatusAfter, Status: 502, Probability: 0.1},
		},
		"delete_block_snapshot": {
			{Action: simulator.FaultResetAfter, Probability: 0.2},
			{Action: simulator.FaultStatus, Status: 404, Probability: 0.1},
			{Action: simulator.FaultStatus, Status: 500, Probability: 0.1},
		},
		"list_block_snapshots": {{Action: simulator.FaultStatus, Status: 503, Probability: 0.1}, {Action: simulator.FaultTruncate, Probability: 0.1}},
		"get_block_snapshot":   {{Action: simulator.FaultStatus, Status: 404, Probability: 0.1}, {Action: simulator.FaultResetAfter, Probability: 0.1}},
	} {
		for i, f := range actions {
			f.Operation, f.Seed = operation, seed*100+uint64(i)+1 //nolint:gosec // i is an index and not negative
			m.r.cloud.Fault(f)
		}
	}
}

// live has a wish served by one process and, from some time on, by the other one, until it is complete, and has it deleted
// if that is wished.
func (m *model) live(w *wish, deleted bool, failover time.Duration) {
	began := time.Now()
	process := func() *rig {
		if time.Since(began) > failover {
			return m.processes[1]
		}
		return m.processes[0]
	}
	err := m.r.repeat(time.Hour, func(ctx context.Context) error {
		snap, err := process().Create(ctx, w.name, w.volume)
		if err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.told == "" {
			w.told = snap.ID
		}
		if !snap.Complete() {
			return volume.Errorf(volume.Busy, "not complete")
		}
		return nil
	})
	if err != nil {
		m.r.t.Errorf("%s: %v", w.name, err)
		return
	}
	if !deleted {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.kept[w.name] = w
		return
	}
	if err := m.r.repeat(time.Hour, func(ctx context.Context) error { return process().Delete(ctx, w.told) }); err != nil {
		m.r.t.Errorf("delete %s: %v", w.name, err)
	}
}

// check compares what there is with what was told.
func (m *model) check() {
	t := m.r.t
	for name, w := range m.kept {
		if got := m.r.inTruth(name); !slices.Equal(got, []string{w.told}) {
			t.Errorf("%s: told was %s, the platform has %s", name, w.told, got)
		}
	}
	for _, snap := range m.r.cloud.Sim.View().Snapshots {
		if m.kept[snap.Description] == nil {
			t.Errorf("%s was deleted, and %s is left of it", snap.Description, snap.ID)
		}
	}
	if len(m.kept) == 0 {
		t.Error("all were deleted, the test is of little use")
	}
}
