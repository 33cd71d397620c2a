package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/suite"
)

// shortLimit bounds the tests of one definition, which take a few minutes.
const shortLimit = 15 * time.Minute

// TestConformance runs a few of Kubernetes' own tests of storage and of load balancers, those of test/e2e/conformance/short.yaml;
// make e2e-conformance runs all. Afterwards the cloud has nothing left of any.
func TestConformance(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := w.ReadyForServices(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := shortRun(t, w)
	short, err := suite.ReadShort(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, definition := range short.Definitions() {
		t.Run(definition, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), shortLimit)
			defer cancel()
			run.Focus = short.Focus(definition)
			result, err := run.Definition(ctx, definition)
			if result != nil {
				for _, line := range result.Ran() {
					t.Log(line)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := result.Err(); err != nil {
				var summary strings.Builder
				_ = result.Summary(&summary) // writing to a Builder never fails
				t.Errorf("%v\n%s", err, &summary)
			}
			if err := short.Check(result); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("nothing is left", func(t *testing.T) { play(t, w, scenario.CloudEmpty()) })
}

// shortRun prepares the suite for the shared cluster.
func shortRun(t *testing.T, w *scenario.World) *suite.Run {
	t.Helper()
	conditions, err := scenario.SuiteConditions()
	if err != nil {
		t.Fatal(err)
	}
	run, err := suite.Prepare(t.Context(), t.Output(), conditions)
	if err != nil {
		t.Fatal(err)
	}
	run.Inside, run.Output = w.Inside, filepath.Join(run.Output, "short")
	if err := os.MkdirAll(run.Output, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.AddImages(t.Context(), run.Suite.Images...); err != nil {
		t.Fatal(err)
	}
	return run
}
