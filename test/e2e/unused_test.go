package e2e

import (
	"flag"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// TestRights compares the product's roles with what its programs have asked the apiserver for in all other tests. It is in a file
// that comes last, so it runs last.
func TestRights(t *testing.T) {
	w := world(t)
	if err := w.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	t.Run("denied", func(t *testing.T) { play(t, w, scenario.NothingDenied()) })
	t.Run("needless", func(t *testing.T) {
		for _, chosen := range []string{"test.run", "test.skip"} {
			if f := flag.Lookup(chosen); f != nil && f.Value.String() != "" {
				t.Skipf("-%s=%s leaves tests out that use rights", chosen, f.Value)
			}
		}
		play(t, w, scenario.NothingNeedless())
	})
}
