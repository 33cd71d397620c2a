package e2e

import (
	"errors"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// TestMainJob plays the demo's steps; each builds on the one before.
func TestMainJob(t *testing.T) {
	w := world(t)
	for _, step := range scenario.MainJob() {
		if !t.Run(step.Name, func(t *testing.T) { play(t, w, step) }) {
			t.Fatal("the rest builds on this step")
		}
	}
}

// TestFaults plays the scenarios in which something is killed or away.
func TestFaults(t *testing.T) {
	w := world(t)
	for _, step := range scenario.Faults() {
		t.Run(step.Name, func(t *testing.T) {
			if err := w.Ready(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			play(t, w, step)
		})
	}
}

// TestExt4 grows an ext4 in the way that this kernel allows.
func TestExt4(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	play(t, w, scenario.Ext4())
}

func TestMetadata(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	play(t, w, scenario.Metadata())
}

// TestCosts counts API calls.
func TestCosts(t *testing.T) {
	w := world(t)
	for _, step := range scenario.Costs() {
		t.Run(step.Name, func(t *testing.T) {
			if err := w.Ready(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			play(t, w, step)
		})
	}
}

func play(t *testing.T, w *scenario.World, step scenario.Step) {
	t.Helper()
	detail, err := step.Do(t.Context(), w)
	if skipped, ok := errors.AsType[*scenario.SkippedError](err); ok {
		t.Skip(skipped.Why)
	}
	for _, line := range w.Report.Take() {
		t.Log(line)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(detail)
}
