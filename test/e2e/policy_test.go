package e2e

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// TestPolicy has the apiserver judge Services by the admission policy, and the controller by itself.
func TestPolicy(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	play(t, w, scenario.Policy())
}
