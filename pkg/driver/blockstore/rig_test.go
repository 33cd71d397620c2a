package blockstore

import (
	"context"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// rig is a store on a simulated cloud.
type rig struct {
	*Store
	cloud *simtest.Cloud
	t     *testing.T
}

func newRig(t *testing.T) *rig {
	t.Helper()
	cloud := simtest.Start(t, simtest.Options{})
	return newRigOn(t, cloud, cloud.URL)
}

// newRigOn makes a store that reaches the cloud at the address.
func newRigOn(t *testing.T, cloud *simtest.Cloud, url string) *rig {
	t.Helper()
	api, err := vultr.New(vultr.Config{
		BaseURL: url, Key: simtest.Key, StartRate: 500, MaxRate: 500, SettleTime: 100 * time.Millisecond, TimeScale: simtest.FastTimeScale,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Store: New(api, Options{}), cloud: cloud, t: t}
}

func specOf(name string) volume.Spec {
	return volume.Spec{Name: name, Type: volume.NVMe, SizeGiB: 10, Regions: []string{"ewr"}}
}

func (r *rig) create(name string) volume.Volume {
	r.t.Helper()
	v, err := r.Create(r.t.Context(), specOf(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *rig) attach(id, instance string) {
	r.t.Helper()
	if _, err := r.Attach(r.t.Context(), id, instance); err != nil {
		r.t.Fatal(err)
	}
}

// age makes what is known of a volume older.
func (r *rig) age(id string, by time.Duration) {
	r.placed.mu.Lock()
	defer r.placed.mu.Unlock()
	e := r.placed.byID[id]
	e.at = e.at.Add(-by)
	r.placed.byID[id] = e
}

// byAnother changes a volume as somebody else would.
func (r *rig) byAnother(change func(ctx context.Context, api API) error, until func(v vultr.Volume) bool, id string) {
	r.t.Helper()
	if err := change(r.t.Context(), r.api); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.api.WaitVolume(r.t.Context(), "attach", id, func(v vultr.Volume) (bool, error) { return until(v), nil }); err != nil {
		r.t.Fatal(err)
	}
}
