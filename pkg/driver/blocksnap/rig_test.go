package blocksnap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// rig is a store on a simulated cloud, in fake time.
type rig struct {
	*Store

	api   *vultr.Client
	cloud *simtest.Cloud
	// used is what Options.Unused answers.
	used error
	t    *testing.T
}

// inBubble runs a test on the platform's own delays in fake time.
func inBubble(t *testing.T, lags simulator.ReadLags, f func(t *testing.T, r *rig)) {
	t.Helper()
	inCloud(t, simulator.Config{ReadLags: lags}, f)
}

func inCloud(t *testing.T, cfg simulator.Config, f func(t *testing.T, r *rig)) {
	t.Helper()
	testcloud.Bubble(t, cfg, 10*time.Minute, func(t *testing.T, cloud *simtest.Cloud) {
		cloud.AddInstance(simulator.NewServer{Label: "controller", Region: "ewr"})
		f(t, (&rig{cloud: cloud, t: t}).another())
	})
}

// another is one more controller process, as it were, on the cloud of the bubble.
func (r *rig) another() *rig {
	r.t.Helper()
	api := testcloud.Client(r.t, r.cloud)
	next := &rig{api: api, cloud: r.cloud, t: r.t}
	next.Store = New(api, Options{
		Cluster: "prod", Account: account.New(api, nil), Unused: func(context.Context, string) error { return next.used },
		Unseen: 2 * time.Minute, TwinCheck: 45 * time.Second, LookAgain: 3 * time.Second,
	})
	return next
}

// volume makes a volume that reads show.
func (r *rig) volume() string {
	r.t.Helper()
	v, err := r.api.CreateVolume(r.t.Context(), vultr.VolumeRequest{Label: "source", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
	if err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(time.Minute) // of the fake clock
	return v.ID
}

// repeat calls as a sidecar does, until the call succeeds or the time is up.
func (r *rig) repeat(atMost time.Duration, call func(ctx context.Context) error) error {
	r.t.Helper()
	return testcloud.Repeat(r.t, atMost, call)
}

func (r *rig) create(name, volumeID string) vultr.Snapshot {
	r.t.Helper()
	var snap vultr.Snapshot
	if err := r.repeat(5*time.Minute, func(ctx context.Context) (err error) {
		snap, err = r.Create(ctx, name, volumeID)
		return err
	}); err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	return snap
}

func (r *rig) remove(id string) {
	r.t.Helper()
	if err := r.repeat(5*time.Minute, func(ctx context.Context) error { return r.Delete(ctx, id) }); err != nil {
		r.t.Fatalf("delete %s: %v", id, err)
	}
}

// removeAsked deletes a snapshot as Kubernetes has it done.
func (r *rig) removeAsked(id string) {
	r.t.Helper()
	if err := r.repeat(5*time.Minute, func(ctx context.Context) error { return r.DeleteWithTwins(ctx, id) }); err != nil {
		r.t.Fatalf("delete %s and its twins: %v", id, err)
	}
}

// inTruth are the IDs of the snapshots of a name.
func (r *rig) inTruth(name string) []string {
	var ids []string
	for _, snap := range r.cloud.Sim.View().Snapshots {
		if snap.Description == name {
			ids = append(ids, snap.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// only fails the test unless the name has this snapshot alone.
func (r *rig) only(name, id string) {
	r.t.Helper()
	if got := r.inTruth(name); !slices.Equal(got, []string{id}) {
		r.t.Errorf("%s: %s was answered, the platform has %s", name, id, got)
	}
}

// listed is a list of these snapshots alone, as the platform answers it.
func listed(snaps ...vultr.Snapshot) string {
	var items []string
	for _, snap := range snaps {
		at := snap.Created.UTC().Format(time.DateTime)
		items = append(items, fmt.Sprintf(`{"id":%q,"block_id":%q,"description":%q,"state":%q,"added_at":%q,"updated_at":%q,"size":10737418240}`,
			snap.ID, snap.VolumeID, snap.Description, snap.State, at, at))
	}
	return fmt.Sprintf(`{"snapshots":[%s],"meta":{"total":%d,"links":{"next":"","prev":""}}}`, strings.Join(items, ","), len(items))
}

// contextOf returns one that lasts as long as a short call of a sidecar.
func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), 10*time.Second)
}
