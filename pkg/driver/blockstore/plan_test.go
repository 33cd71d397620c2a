package blockstore

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestPlanKeepsTheWish: what is planned is what was asked for, and a source that can't be copied is refused: a volume made
// empty in its place would be formatted.
func TestPlanKeepsTheWish(t *testing.T) {
	api, err := vultr.New(vultr.Config{Key: "KEY", BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	s := New(api, Options{})
	r := volume.Request{
		Name: "pvc-1", Type: volume.HDD, Capacity: volume.Capacity{Required: 50*volume.GiB + 1, Limit: 60 * volume.GiB},
		Accesses: []volume.Access{{Mode: volume.SingleNodeWriter}}, Regions: []string{"ewr", "lax"},
	}
	got, err := s.Plan(r)
	if err != nil || got.Name != "pvc-1" || got.Type != volume.HDD || got.SizeGiB != 51 || got.Capacity != r.Capacity ||
		len(got.Regions) != 2 || got.Regions[0] != "ewr" || !got.Source.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, source := range []volume.Source{{Snapshot: "s"}, {Volume: "v"}} {
		r.Source = source
		if got, err := s.Plan(r); volume.ReasonOf(err) != volume.Invalid {
			t.Errorf("from %s: %+v, %v", source, got, err)
		}
	}
}
