package blockstore

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const claimed = "pvc-0f3c9c0e-9f5c-4b3e-8a53-4a6b1c8f0d11"

func (r *rig) label(id string) string {
	r.t.Helper()
	for _, b := range r.cloud.Sim.View().Blocks {
		if b.ID == id {
			return b.Label
		}
	}
	return "nothing: it does not exist"
}

// TestModifyAddsANote: the volume is found by its name with any note, and each modification is one call.
func TestModifyAddsANote(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		for cluster, bare := range map[string]string{"": claimed, "one": "one/" + claimed} {
			s := r.of("")
			if cluster != "" {
				s = r.of("one")
			}
			spec := specOf(claimed)
			spec.Regions = []string{map[string]string{"": "ewr", "one": "lax"}[cluster]}
			if cluster == "one" { // the other one is there, without an ID
				time.Sleep(10 * time.Minute) // of the fake clock
				for _, b := range r.cloud.Sim.View().Blocks {
					if err := r.api.DeleteVolume(t.Context(), b.ID); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Minute) // of the fake clock
			}
			v, err := s.Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				note, label string
			}{{"", bare}, {"team a", bare + " (team a)"}, {"team a", bare + " (team a)"}, {"b", bare + " (b)"}, {"", bare}} {
				before := r.cloud.Count("update_block")
				if err := s.Modify(t.Context(), v.ID, map[string]string{"label": c.note}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // of the fake clock
				if got, n := r.label(v.ID), r.cloud.Count("update_block")-before; got != c.label || n != 1 {
					t.Errorf("the note %q: the label is %q after %d changes", c.note, got, n)
				}
				if found, err := r.of(s.opts.Cluster).Create(t.Context(), spec); err != nil || found.ID != v.ID {
					t.Errorf("labelled %q it is not found: %s, %v", c.label, found.ID, err)
				}
			}
		}
	})
}

// TestModifyBelievesNoOldList: a list that shows the label from before the last change is no reason to send nothing.
func TestModifyBelievesNoOldList(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 20 * time.Second}, func(t *testing.T, r *rig) {
		v := r.create(claimed)
		time.Sleep(time.Minute) // of the fake clock
		for _, c := range []struct{ note, label string }{{"a", claimed + " (a)"}, {"", claimed}} {
			if err := r.Modify(t.Context(), v.ID, map[string]string{"label": c.note}); err != nil || r.label(v.ID) != c.label {
				t.Errorf("the note %q: %v, the label is %q", c.note, err, r.label(v.ID))
			}
		}
		time.Sleep(time.Minute) // of the fake clock
		before := r.cloud.Count("update_block")
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := r.Expand(t.Context(), v.ID, volume.Capacity{Required: 20 * volume.GiB}); err != nil {
				t.Error(err)
			}
		})
		for _, note := range []string{"b", ""} {
			if err := r.Modify(t.Context(), v.ID, map[string]string{"label": note}); err != nil {
				t.Error(err)
			}
		}
		if n := r.cloud.Count("update_block") - before; n != 2 || r.label(v.ID) != claimed {
			t.Errorf("after an expansion with a note: %d changes, the label is %q", n, r.label(v.ID))
		}
		all.Wait()
	})
}

// TestNoteOfANewVolume is judged before that is made: only the label of a claim's volume can have one.
func TestNoteOfANewVolume(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name, note string
		reason     volume.Reason
	}{{claimed, "x", 0}, {"data", "", 0}, {"data", "x", volume.Invalid}, {"", "x", 0}} {
		if err := r.CheckModify(c.name, map[string]string{"label": c.note}); volume.ReasonOf(err) != c.reason || (err == nil) != (c.reason == 0) {
			t.Errorf("%q with %q: %v", c.name, c.note, err)
		}
	}
}

// TestModifyIsJudgedAsAWhole: every fault is named, and nothing is changed.
func TestModifyIsJudgedAsAWhole(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, other := r.create(claimed), r.create("data")
		for _, c := range []struct {
			id         string
			parameters map[string]string
			reason     volume.Reason
			words      []string
		}{
			{v.ID, map[string]string{"label": "x", "iops": "1", "tags": "y"}, volume.Invalid, []string{`"iops"`, `"tags"`, `valid is "label"`}},
			{v.ID, map[string]string{"label": "(x)", "iops": "1"}, volume.Invalid, []string{`"(x)"`, `"iops"`}},
			{v.ID, map[string]string{"label": strings.Repeat("x", 64)}, volume.Invalid, []string{"at most 63"}},
			{v.ID, map[string]string{"label": "a\nb"}, volume.Invalid, []string{"label"}},
			{other.ID, map[string]string{"label": "x"}, volume.Invalid, []string{`"data"`, "claim"}},
			{uuid.NewString(), map[string]string{"label": "x"}, volume.NotFound, nil},
			{uuid.NewString(), nil, volume.NotFound, nil},
		} {
			err := r.Modify(t.Context(), c.id, c.parameters)
			if volume.ReasonOf(err) != c.reason {
				t.Errorf("%v: got %v", c.parameters, err)
				continue
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v: %q does not say %q", c.parameters, err, w)
				}
			}
		}
		if err := r.Modify(t.Context(), v.ID, nil); err != nil {
			t.Errorf("nothing: %v", err)
		}
		if n := r.cloud.Count("update_block"); n != 0 {
			t.Errorf("%d changes", n)
		}
	})
}

// TestModifyUnderLag: neither a modification that the network delivered twice, nor one that a read shows as it was before
// the last one, is taken for what it is not.
func TestModifyUnderLag(t *testing.T) {
	for name, f := range map[string]simulator.Fault{
		"none": {}, "twice": {Operation: "update_block", Action: simulator.FaultDuplicate}, "lost": {Operation: "update_block", Action: simulator.FaultResetAfter, Times: 3},
	} {
		inBubble(t, simulator.ReadLags{"blocks": 20 * time.Second}, func(t *testing.T, r *rig) {
			v := r.create(claimed)
			time.Sleep(time.Minute) // of the fake clock
			if f.Action != "" {
				r.cloud.Fault(f)
			}
			for _, note := range []string{"a", "b", "a", ""} {
				began := time.Now()
				if err := r.repeat(5*time.Minute, func(ctx context.Context) error {
					err := r.Modify(ctx, v.ID, map[string]string{"label": note})
					if reason := volume.ReasonOf(err); err != nil && reason != volume.Busy && ctx.Err() == nil {
						t.Errorf("fault %s, note %q: the reason is %d of %v", name, note, reason, err)
					}
					return err
				}); err != nil {
					t.Errorf("fault %s, note %q: %v", name, note, err)
				}
				want := claimed
				if note != "" {
					want += " (" + note + ")"
				}
				if got := r.label(v.ID); got != want {
					t.Errorf("fault %s: after %s the label is %q, not %q", name, time.Since(began), got, want)
				}
			}
		})
	}
}

// both has the volume grown and labelled at once, the second a while after the first.
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

// TestExpandAndModifyAreOneChange whichever comes first, and two when they do not come together.
func TestExpandAndModifyAreOneChange(t *testing.T) {
	for name, c := range map[string]struct {
		expand, modify time.Duration
		changes        int
	}{
		"at once": {0, 0, 1}, "modify first": {200 * time.Millisecond, 0, 1}, "long before": {2 * time.Second, 0, 2}, "long after": {0, 20 * time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				v := r.create(claimed)
				time.Sleep(time.Minute) // of the fake clock
				expanded, modified := r.both(v.ID, c.expand, c.modify)
				now, err := r.Read(t.Context(), v.ID)
				if expanded != nil || modified != nil || err != nil || now.SizeGiB != 20 || r.label(v.ID) != claimed+" (x)" {
					t.Errorf("got %v, %v: %+v, label %q", expanded, modified, now, r.label(v.ID))
				}
				if n := r.cloud.Count("update_block"); n != c.changes {
					t.Errorf("it took %d changes", n)
				}
			})
		})
	}
}

// TestExpandDuringItsRead: a modification that comes while the expansion still reads goes with it, however long that takes.
func TestExpandDuringItsRead(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create(claimed)
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultLatency, LatencyMS: 2000})
		expanded, modified := r.both(v.ID, 0, time.Second)
		if n := r.cloud.Count("update_block"); expanded != nil || modified != nil || n != 1 || r.label(v.ID) != claimed+" (x)" {
			t.Errorf("got %v, %v after %d changes, label %q", expanded, modified, n, r.label(v.ID))
		}
	})
}

// TestOneOfBothIsRefused: neither fails for the other.
func TestOneOfBothIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create(claimed)
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{
			Operation: "update_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"no","status":400}`, Times: 1,
		})
		expanded, modified := r.both(v.ID, 0, 0)
		if expanded != nil || modified != nil || r.label(v.ID) != claimed+" (x)" || r.cloud.Count("update_block") != 3 {
			t.Errorf("got %v, %v, label %q after %d changes", expanded, modified, r.label(v.ID), r.cloud.Count("update_block"))
		}
	})
}

// TestLostAnswerOfBoth: what was done is found to be done.
func TestLostAnswerOfBoth(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create(claimed)
		time.Sleep(time.Minute) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "update_block", Action: simulator.FaultResetAfter, Times: 1})
		expanded, modified := r.both(v.ID, 0, 0)
		if err := r.repeat(time.Minute, func(context.Context) error {
			expanded, modified = r.both(v.ID, 0, 0)
			return errors.Join(expanded, modified)
		}); err != nil {
			t.Error(err)
		}
		now, err := r.Read(t.Context(), v.ID)
		if err != nil || now.SizeGiB != 20 || r.label(v.ID) != claimed+" (x)" {
			t.Errorf("it is %+v, %v, label %q (%v, %v)", now, err, r.label(v.ID), expanded, modified)
		}
	})
}

// TestChangesForget: an offer whose caller has gone is never taken by a later expansion.
func TestChangesForget(t *testing.T) {
	c := newChanges()
	end := c.expand("v")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if merged, err := c.offer(ctx, "v", "label", time.Minute); merged || !errors.Is(err, context.Canceled) {
		t.Errorf("got %t, %v", merged, err)
	}
	if o := c.take("v"); o != nil {
		t.Errorf("it is still offered: %+v", o)
	}
	end()
	end()
	if len(c.expanding)+len(c.offered) != 0 {
		t.Errorf("left are %v and %v", c.expanding, c.offered)
	}
	if merged, err := c.offer(t.Context(), "v", "label", time.Millisecond); merged || err != nil {
		t.Errorf("alone: %t, %v", merged, err)
	}
}
