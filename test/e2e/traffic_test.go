package e2e

import (
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// TestTraffic plays scenarios in which clients count what fails while load balancers, pods and nodes change under them.
func TestTraffic(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	t.Run("together", func(t *testing.T) {
		for _, step := range slices.Concat(scenario.Traffic(), scenario.Conflicts()) {
			t.Run(step.Name, func(t *testing.T) {
				t.Parallel()
				play(t, world(t), step)
			})
		}
	})
	t.Run("nothing is left", func(t *testing.T) { play(t, w, scenario.CloudEmpty()) })
	for _, step := range scenario.TrafficOnNodes() {
		t.Run(step.Name, func(t *testing.T) {
			if err := w.Ready(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			play(t, w, step)
		})
	}
}
