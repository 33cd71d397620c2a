package soak

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestSoakSees: what a broken driver would do is done behind the driver's back, before all has to be well, and is found.
func TestSoakSees(t *testing.T) {
	t.Parallel()
	block := func(w *world, fits func(*vol) bool) *vol {
		i := slices.IndexFunc(w.volumes, func(v *vol) bool { return v.id != "" && !v.shared && v.op == nil && fits(v) })
		if i < 0 {
			return nil
		}
		return w.volumes[i]
	}
	unused := func(v *vol) bool { return len(v.uses) == 0 }
	used := func(staged bool) func(*vol) bool {
		return func(v *vol) bool {
			return len(v.uses) == 1 && v.uses[0].attached && !v.uses[0].node.dead && v.uses[0].staged == staged && v.uses[0].tried == staged
		}
	}
	create := func(ctx context.Context, w *world, label string) error {
		_, err := w.api.CreateVolume(ctx, vultr.VolumeRequest{Label: label, Region: region, SizeGB: 10, Type: vultr.HighPerf})
		return err
	}
	for rule, harm := range map[string]struct {
		fits func(*vol) bool
		do   func(ctx context.Context, w *world, v *vol) error
	}{
		"an orphan": {unused, func(ctx context.Context, w *world, _ *vol) error { return create(ctx, w, "pvc-of-nobody") }},
		"not one volume of a name": {unused, func(ctx context.Context, w *world, v *vol) error {
			time.Sleep(2 * time.Minute) // of the fake clock: it is not a twin
			return create(ctx, w, v.name)
		}},
		"a wrong attachment":    {used(false), func(ctx context.Context, w *world, v *vol) error { return w.api.DetachVolume(ctx, v.id) }},
		"detached while staged": {used(true), func(ctx context.Context, w *world, v *vol) error { return w.api.DetachVolume(ctx, v.id) }},
		"a wrong size":          {unused, func(ctx context.Context, w *world, v *vol) error { return w.api.ResizeVolume(ctx, v.id, 100) }},
		"data is lost": {unused, func(_ context.Context, w *world, v *vol) error {
			w.machines.(*memory).disks.write(v.id, "nobody's") //nolint:errcheck,forcetypeassert // it is
			return nil
		}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); ; seed++ {
				done := false
				broken, _ := runAnd(t, planOf(seed, 40), 40, newMemory(), func(w *world) {
					v := block(w, harm.fits)
					if v == nil {
						return
					}
					done = true
					w.unlocked(func() {
						if err := harm.do(w.t.Context(), w, v); err != nil {
							w.t.Error(err)
						}
					})
				})
				if done && broken.rule != rule {
					t.Errorf("seed %d: found is %q: %s", seed, broken.rule, broken.text)
				}
				if done || seed == 100 {
					if !done {
						t.Error("no plan has a volume to harm")
					}
					return
				}
			}
		})
	}
}
