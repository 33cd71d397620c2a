package controller_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/controller"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/router"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// inBubble runs a test on the platform's own delays in fake time.
func inBubble(t *testing.T, cfg simulator.Config, f func(t *testing.T, r *rig)) {
	t.Helper()
	testcloud.Bubble(t, cfg, 5*time.Minute, func(t *testing.T, cloud *simtest.Cloud) { f(t, newRigInBubble(t, cloud)) })
}

// newRigInBubble makes one more controller process, as it were, on the cloud of the bubble.
func newRigInBubble(t *testing.T, cloud *simtest.Cloud) *rig {
	t.Helper()
	self := addController(cloud)
	r := newRigAs(t, cloud, self, memberIs(self))
	if err := r.account.CheckKey(t.Context()); err != nil { // as the process does when it starts
		t.Fatal(err)
	}
	return r
}

// newRigAs makes a controller in the bubble that knows these members of its cluster.
func newRigAs(t *testing.T, cloud *simtest.Cloud, self string, members account.Members) *rig {
	t.Helper()
	return newRigAtRate(t, cloud, self, members, 500, 500)
}

// newRigAtRate makes one that allows itself so many API calls a second.
func newRigAtRate(t *testing.T, cloud *simtest.Cloud, self string, members account.Members, start, most float64) *rig {
	t.Helper()
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: start, MaxRate: most, DialContext: cloud.Dial})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{cloud: cloud, self: self, account: account.New(api, members), api: api, t: t}
	region := func(context.Context) (string, error) { return "ewr", nil }
	r.disks = blockstore.New(api, blockstore.Options{Account: r.account})
	r.Service = controller.New(router.New([]volume.Backend{r.disks, vfsstore.New(api, blockstore.Options{Account: r.account, Beside: r.disks})}), region, &r.warnings)
	return r
}

// TestDeleteOfWhatNoReadShows: a controller that was just started is asked to delete what its predecessor created a
// moment ago. No read shows it yet, which is no proof that it is gone: the platform's answer to the delete is.
func TestDeleteOfWhatNoReadShows(t *testing.T) {
	inBubble(t, simulator.Config{ReadLags: simulator.ReadLags{"blocks": 40 * time.Second}}, func(t *testing.T, r *rig) {
		v, err := r.api.CreateVolume(t.Context(), vultr.VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for _, id := range []string{v.ID, uuid.NewString()} {
			_, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			want(t, err, codes.OK)
		}
		if left := r.cloud.Sim.View().Blocks; len(left) != 0 {
			t.Errorf("the delete answered success and the account has %+v", left)
		}
	})
}

// TestLivesUnderLaggingReads takes volumes through their lives, call after call, each repeated once, while reads lag in
// every combination. What a call answered must be true.
func TestLivesUnderLaggingReads(t *testing.T) {
	for _, lags := range []simulator.ReadLags{
		{"blocks.get": 20 * time.Second},
		{"blocks.list": 20 * time.Second},
		{"blocks": 20 * time.Second},
		{"blocks.get": 3 * time.Second, "blocks.list": 15 * time.Second},
		{"blocks.get": 15 * time.Second, "blocks.list": 3 * time.Second},
	} {
		for _, pause := range []time.Duration{0, 500 * time.Millisecond, 3 * time.Second, 40 * time.Second} {
			inBubble(t, simulator.Config{ReadLags: lags}, func(t *testing.T, r *rig) {
				where := fmt.Sprintf("reads lag %v, %s between calls", lags, pause)
				one, two := r.instance("node-1"), r.instance("node-2")
				var id string
				for range 2 {
					v := r.patiently(func(ctx context.Context) error {
						resp, err := r.CreateVolume(ctx, createRequest("pvc-1", 10))
						if err == nil && id != "" && id != resp.GetVolume().GetVolumeId() {
							t.Errorf("%s: two answers, %s and %s", where, id, resp.GetVolume().GetVolumeId())
						}
						id = resp.GetVolume().GetVolumeId()
						return err
					})
					if v != nil {
						t.Fatalf("%s: create: %v", where, v)
					}
					time.Sleep(pause)
				}
				for _, node := range []string{one, one, two, one} {
					for range 2 {
						err := r.patiently(func(ctx context.Context) error {
							_, err := r.ControllerPublishVolume(ctx, publishRequest(id, node))
							return err
						})
						if now := r.attachedTo(id); err != nil || now != node {
							t.Fatalf("%s: publish to %s: %v, attached to %q", where, node, err, now)
						}
						time.Sleep(pause)
					}
					for range 2 {
						err := r.patiently(func(ctx context.Context) error {
							_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node})
							return err
						})
						if now := r.attachedTo(id); err != nil || now != "" {
							t.Fatalf("%s: unpublish from %s: %v, attached to %q", where, node, err, now)
						}
						time.Sleep(pause)
					}
				}
				for range 2 {
					err := r.patiently(func(ctx context.Context) error {
						_, err := r.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
						return err
					})
					if err != nil {
						t.Fatalf("%s: delete: %v", where, err)
					}
				}
				time.Sleep(time.Minute)
				if left := r.cloud.Sim.View().Blocks; len(left) != 0 {
					t.Errorf("%s: left are %+v", where, left)
				}
			})
		}
	}
}

// patiently calls as a sidecar does, with a deadline each time, until it succeeds.
func (r *rig) patiently(call func(ctx context.Context) error) error {
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(r.t.Context(), 15*time.Second)
		err := call(ctx)
		cancel()
		if err == nil || time.Since(began) > 5*time.Minute {
			return err
		}
		time.Sleep(time.Second) // of the fake clock
	}
}
