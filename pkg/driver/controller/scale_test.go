package controller_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// scale is what docs/scale.md says: how many API calls an operation costs for each volume, alone and of a hundred at once, in
// tenths.
var scale = []struct {
	what        string
	alone, many int
}{
	{"create", 40, 12},
	{"attach", 30, 12},
	{"detach", 40, 12},
	{"delete", 20, 12},
}

// TestScale measures that with the rate of the real process, and holds the guide to it.
func TestScale(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	perMinute := func(tenths int, rate float64) int { return int(math.Floor(rate*60*10/float64(tenths)/10)) * 10 }
	for _, s := range scale {
		row := fmt.Sprintf("| %s | %.1f | %.1f | %d | %d |", s.what, float64(s.alone)/10, float64(s.many)/10, perMinute(s.many, 10), perMinute(s.many, 20))
		if !strings.Contains(string(guide), "\n"+row+"\n") {
			t.Errorf("docs/scale.md should have:\n%s", row)
		}
	}
	testcloud.Bubble(t, simulator.Config{}, 5*time.Minute, func(t *testing.T, cloud *simtest.Cloud) {
		self := addController(cloud)
		r := newRigAtRate(t, cloud, self, memberIs(self), 10, 20)
		r.create("warm-up") // waits out the settle time, once for a process
		for _, n := range []int{1, 100} {
			time.Sleep(5 * time.Minute) // of the fake clock: nothing is known from before
			for i, tenths := range r.measure(n) {
				most := scale[i].many
				if n == 1 {
					most = scale[i].alone
				}
				if tenths > most {
					t.Errorf("%s of %d: %.1f calls for each, %.1f are planned", scale[i].what, n, float64(tenths)/10, float64(most)/10)
				}
			}
		}
	})
}

// measure has so many volumes live a life at once, ten on a node, and returns what each step costs for each, in tenths.
func (r *rig) measure(n int) (tenths []int) {
	r.t.Helper()
	ids, nodes := make([]string, n), make([]string, n)
	for i := range n {
		if nodes[i] = nodes[i/10*10]; i%10 == 0 {
			nodes[i] = r.instance(fmt.Sprintf("node-%d-%d", n, i))
		}
	}
	for s, do := range []func(ctx context.Context, i int) error{
		func(ctx context.Context, i int) error {
			resp, err := r.CreateVolume(ctx, createRequest(fmt.Sprintf("pvc-%d-%d", n, i), 10))
			ids[i] = resp.GetVolume().GetVolumeId()
			return err
		},
		func(ctx context.Context, i int) error {
			_, err := r.ControllerPublishVolume(ctx, publishRequest(ids[i], nodes[i]))
			return err
		},
		func(_ context.Context, i int) error { return r.unpublish(ids[i], nodes[i]) },
		func(ctx context.Context, i int) error {
			_, err := r.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: ids[i]})
			return err
		},
	} {
		before, began := r.calls(), time.Now()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if err := do(r.t.Context(), i); err != nil {
					r.t.Errorf("%s: %v", scale[s].what, err)
				}
			})
		}
		all.Wait()
		calls := r.calls() - before
		tenths = append(tenths, (calls*10+n-1)/n)
		r.t.Logf("%s of %d: %.2f calls for each, in %s", scale[s].what, n, float64(calls)/float64(n), time.Since(began).Round(100*time.Millisecond))
		time.Sleep(time.Minute) // of the fake clock: the volumes are used
	}
	return tenths
}
