package e2e

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// TestStorage plays scenarios about volumes, all at once. Afterwards the cloud has nothing left of any.
func TestStorage(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	t.Run("documentation", func(t *testing.T) { play(t, w, scenario.Documentation()) })
	t.Run("together", func(t *testing.T) {
		for _, step := range scenario.Storage() {
			t.Run(step.Name, func(t *testing.T) {
				t.Parallel()
				play(t, world(t), step)
			})
		}
	})
	t.Run("nothing is left", func(t *testing.T) { play(t, w, scenario.CloudEmpty()) })
}

// TestNodes plays scenarios that need the nodes for themselves.
func TestNodes(t *testing.T) {
	w := world(t)
	for _, step := range scenario.Nodes() {
		t.Run(step.Name, func(t *testing.T) {
			if err := w.Ready(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			play(t, w, step)
		})
	}
}
