package controller_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/controller"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/router"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstore"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// labels are what the cluster says of the regions of its nodes.
type labels struct {
	regions map[string]string // by instance
	asked   int
}

func (l *labels) of(_ context.Context, instance string) (region, by string) {
	l.asked++
	if region = l.regions[instance]; region != "" {
		by = "by a label"
	}
	return region, by
}

// inLabelled makes the service of a new process in a cluster that knows the regions of its nodes.
func (r *rig) inLabelled(l *labels) {
	options := blockstore.Options{Account: r.account, RegionOf: l.of}
	disks := blockstore.New(r.api, options)
	options.Beside = disks
	region := func(context.Context) (string, error) { return "ewr", nil }
	r.Service = controller.New(router.New([]volume.Backend{disks, vfsstore.New(r.api, options)}), region, &r.warnings)
}

// TestPublishAcrossLabelledRegions: an attach that cannot succeed by the labels of the nodes costs no API call, and is asked
// about once. A node without the label is no obstacle.
func TestPublishAcrossLabelledRegions(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		near, unlabelled := r.instance("node-1"), r.instance("node-2")
		far := r.cloud.AddInstance(simulator.NewServer{Label: "node-3", Region: "lax"})
		l := &labels{regions: map[string]string{near: "ewr", far: "lax"}}
		r.inLabelled(l)
		disk, shared := publishRequest(r.create("pvc-1").GetVolumeId(), far), publishRequest(r.fileSystem(near), far)
		shared.VolumeCapability = capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		for _, request := range []*csi.ControllerPublishVolumeRequest{disk, shared} {
			_, err := r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: request.GetVolumeId()})
			want(t, err, codes.OK)
		}
		before := r.calls()
		for _, request := range []*csi.ControllerPublishVolumeRequest{disk, shared, disk, shared} {
			_, err := r.ControllerPublishVolume(t.Context(), request)
			want(t, err, codes.InvalidArgument, "ewr", "lax", "by a label")
		}
		if n := r.calls() - before; n != 0 {
			t.Errorf("refusals cost %d calls", n)
		}
		for _, request := range []*csi.ControllerPublishVolumeRequest{disk, shared} {
			about := events.Claim{Volume: request.GetVolumeId()}
			if told := r.warnings.about[about]; len(told) != 2 || told[0] != told[1] || !strings.HasPrefix(told[0], "OtherRegion: volume ") || !strings.Contains(told[0], "lax by a label") {
				t.Errorf("the owner of the claim is told %q", told)
			}
		}
		if l.asked != 2 { // by each kind of storage
			t.Errorf("the cluster was asked %d times", l.asked)
		}
		r.publish(disk.GetVolumeId(), near)
		want(t, r.unpublish(disk.GetVolumeId(), near), codes.OK)
		r.publish(disk.GetVolumeId(), unlabelled)
	})
}

// TestWrongLabelIsNotBelievedForEver: somebody has corrected it.
func TestWrongLabelIsNotBelievedForEver(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		l := &labels{regions: map[string]string{node: "lax"}}
		r.inLabelled(l)
		id := r.create("pvc-1").GetVolumeId()
		_, err := r.ControllerPublishVolume(t.Context(), publishRequest(id, node))
		want(t, err, codes.InvalidArgument, "lax", "by a label")
		l.regions[node] = "ewr"
		time.Sleep(11 * time.Minute) // of the fake clock
		r.publish(id, node)
	})
}
