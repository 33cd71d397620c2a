package e2e

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// TestRights looks at what the product's programs have asked the apiserver for in all other tests. It is in a file
// that comes last, so it runs last.
func TestRights(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	t.Run("denied", func(t *testing.T) { play(t, w, scenario.NothingDenied()) })
}
