package instances_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A node whose kubelet does not wait for this controller never gets a provider ID. What is told of it is not what was listed
// when it was new.
func TestNodeThatStaysWithoutID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1"}}})
		n := bare("a", "")
		for range 3 { // as when it is initialised
			if got, err := r.addresses(n); err != nil || !slices.Equal(got, []string{"Internal 192.0.2.1", "External 192.0.2.1"}) {
				t.Fatalf("got %v, %v", got, err)
			}
			time.Sleep(time.Second) // of the fake clock
		}
		if r.lists != 1 {
			t.Errorf("%d lists", r.lists)
		}
		time.Sleep(time.Hour) // of the fake clock
		r.list = []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.9", PowerStatus: "stopped"}}
		if got, err := r.addresses(n); err != nil || !slices.Equal(got, []string{"Internal 192.0.2.9", "External 192.0.2.9"}) {
			t.Errorf("got %v, %v", got, err)
		}
		if stopped, err := r.InstanceShutdown(t.Context(), n); err != nil || !stopped {
			t.Errorf("stopped %v, %v", stopped, err)
		}
		time.Sleep(time.Hour) // of the fake clock
		r.list = nil
		if exists, err := r.InstanceExists(t.Context(), n); err == nil {
			t.Errorf("exists %v though nothing has its name", exists)
		}
	})
}
