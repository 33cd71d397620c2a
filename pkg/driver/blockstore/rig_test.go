package blockstore

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// patience bounds waits of tests on a busy machine.
const patience = time.Minute

// testOptions are those of a platform that is fifty times as fast.
var testOptions = Options{AttachWindow: 600 * time.Millisecond, TwinCheck: 50 * time.Millisecond, LookAgain: 50 * time.Millisecond}

// rig is a store on a simulated cloud.
type rig struct {
	*Store

	api   *vultr.Client
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
	addController(cloud)
	api, err := vultr.New(vultr.Config{
		BaseURL: url, Key: simtest.Key, StartRate: 500, MaxRate: 500, SettleTime: 100 * time.Millisecond, TimeScale: simtest.FastTimeScale,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Store: New(api, testOptions), api: api, cloud: cloud, t: t}
}

// addController adds the instance that a controller runs on: an account without instances is no cluster's.
func addController(cloud *simtest.Cloud) {
	cloud.AddInstance(simulator.NewServer{Label: "controller", Region: "ewr"})
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

func (r *rig) instance(label string) string {
	r.t.Helper()
	return r.cloud.AddInstance(simulator.NewServer{Label: label, Region: "ewr"})
}

func (r *rig) mustAttach(id, instance string) {
	r.t.Helper()
	if _, err := r.Attach(r.t.Context(), id, instance); err != nil {
		r.t.Fatal(err)
	}
}

// attachedTo is where the volume is in truth.
func (r *rig) attachedTo(id string) string {
	r.t.Helper()
	for _, b := range r.cloud.Sim.View().Blocks {
		if b.ID == id {
			return b.AttachedTo
		}
	}
	return "nowhere: it does not exist"
}

// named are the IDs of the volumes of a name, in truth.
func (r *rig) named(name string) []string {
	var ids []string
	for _, b := range r.cloud.Sim.View().Blocks {
		if b.Label == name {
			ids = append(ids, b.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// await waits until the simulated cloud is as wished.
func (r *rig) await(what string, is func() bool) {
	r.t.Helper()
	r.cloud.Await(what, is)
}

// readList has the client read a list now, so that it has none from before.
func (r *rig) readList() {
	r.t.Helper()
	if _, err := r.api.Volumes(r.t.Context(), 0); err != nil {
		r.t.Fatal(err)
	}
}

// age makes what was seen of a volume older.
func (r *rig) age(id string, by time.Duration) {
	r.ledger.With(id, func(e *entry, _ time.Time) { e.at = e.at.Add(-by) })
}

// byAnother changes where a volume is as somebody else would, and waits until that has happened and reads show it.
func (r *rig) byAnother(id, instance string, change func(ctx context.Context) error) {
	r.t.Helper()
	if err := change(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.await("the change by somebody else", func() bool { return r.attachedTo(id) == instance })
	r.cloud.AwaitReads()
}
