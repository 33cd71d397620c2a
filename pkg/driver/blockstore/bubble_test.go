package blockstore

import (
	"context"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// inBubble runs a test on the platform's own delays in fake time.
func inBubble(t *testing.T, lags simulator.ReadLags, f func(t *testing.T, r *rig)) {
	t.Helper()
	testcloud.Bubble(t, simulator.Config{ReadLags: lags}, 5*time.Minute, func(t *testing.T, cloud *simtest.Cloud) {
		addController(cloud)
		f(t, (&rig{cloud: cloud, t: t}).another())
	})
}

// another is one more controller process, as it were, on the cloud of the bubble.
func (r *rig) another() *rig {
	r.t.Helper()
	api := testcloud.Client(r.t, r.cloud)
	return &rig{Store: New(api, Options{}), api: api, cloud: r.cloud, t: r.t}
}

// repeat calls as a sidecar does, until the call succeeds or the time is up.
func (r *rig) repeat(atMost time.Duration, call func(ctx context.Context) error) error {
	r.t.Helper()
	return testcloud.Repeat(r.t, atMost, call)
}

// byHand makes a volume as somebody else would.
func (r *rig) byHand(request vultr.VolumeRequest) string {
	r.t.Helper()
	v, err := r.api.CreateVolume(r.t.Context(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	return v.ID
}

func requestOf(name string) vultr.VolumeRequest {
	return vultr.VolumeRequest{Label: name, Region: "ewr", SizeGB: 10, Type: vultr.HighPerf}
}

// repeatCreate repeats a create until it answers.
func (r *rig) repeatCreate(atMost time.Duration, spec volume.Spec) (v volume.Volume, err error) {
	r.t.Helper()
	err = r.repeat(atMost, func(ctx context.Context) error {
		v, err = r.Create(ctx, spec)
		return err
	})
	return v, err
}
