package blockstage

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcrypt"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestEncryptionsAreCounted: what is done to the disk of an encrypted volume is in the metric, a wrong passphrase by itself.
func TestEncryptionsAreCounted(t *testing.T) {
	g := newStage(t, "ext4")
	testcrypt.Install(t, g.machine)
	registry := prometheus.NewRegistry()
	cfg := g.cfg
	cfg.Registerer = registry
	g.Stager = New(cfg)
	g.volume.Encryption, g.volume.Keys = luks.Name, luks.Keys{Current: "right"}
	g.must(g.Stage(t.Context(), g.volume, g.path))
	g.must(g.Unstage(t.Context(), id, g.path))
	if len(g.opens.known) != 0 {
		t.Error("how the disk was opened is remembered, although it is closed")
	}
	g.volume.Keys.Current = "wrong"
	if err := g.Stage(t.Context(), g.volume, g.path); volume.ReasonOf(err) != volume.Denied {
		t.Errorf("got %v", err)
	}
	want := map[string]float64{
		"luksFormat done": 1, "open done": 1, "config done": 1, "close done": 1, "open passphrase": 1,
	}
	families, err := registry.Gather()
	g.must(err)
	for _, f := range families {
		if f.GetName() != "csi_luks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := m.GetLabel() // in the order of their names
			series := labels[0].GetValue() + " " + labels[1].GetValue()
			if got := m.GetCounter().GetValue(); got != want[series] {
				t.Errorf("%s: %v, want %v", series, got, want[series])
			}
			delete(want, series)
		}
	}
	if len(want) > 0 {
		t.Errorf("not counted are %v", want)
	}
}

// TestEncryptionOutcomes: each is told from the others, and what was cut off is no failure of the disk or of the passphrase.
func TestEncryptionOutcomes(t *testing.T) {
	e := newEncryptions(nil)
	for outcome, errs := range map[string][]error{
		"done":       {nil},
		"ended":      {context.Canceled, fmt.Errorf("%w: %w", longwork.ErrEnding, luks.ErrPassphrase), context.DeadlineExceeded},
		"passphrase": {fmt.Errorf("it: %w", luks.ErrPassphrase)},
		"busy":       {luks.ErrBusy},
		"memory":     {luks.ErrMemory},
		"failed":     {errors.New("another")},
	} {
		for _, err := range errs {
			e.ended("open", err)
		}
		if got := testutil.ToFloat64(e.total.WithLabelValues("open", outcome)); got != float64(len(errs)) {
			t.Errorf("%s: %v", outcome, got)
		}
	}
}
