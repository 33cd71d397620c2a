package controller_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

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

// TestPublishAcrossLabelledRegions: of an attach that cannot succeed by the labels of the nodes no order is sent. It costs a look
// at the instance, once for each kind of storage. A node without the label is no obstacle.
func TestPublishAcrossLabelledRegions(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		near, unlabelled := r.instance("node-1"), r.instance("node-2")
		far := r.cloud.AddInstance(simulator.NewServer{Label: "node-3", Region: "lax"})
		l := &labels{regions: map[string]string{near: "ewr", far: "lax"}}
		r.inLabelled(l)
		disk, shared := publishRequest(r.create("pvc-1").GetVolumeId(), far), r.sharedRequest(near, far)
		before, looks := r.calls(), r.cloud.Count("get_instance")
		for _, request := range []*csi.ControllerPublishVolumeRequest{disk, shared, disk, shared} {
			_, err := r.ControllerPublishVolume(t.Context(), request)
			want(t, err, codes.InvalidArgument, "ewr", "lax")
		}
		if n, all := r.cloud.Count("get_instance")-looks, r.calls()-before; n != 2 || all != 2 {
			t.Errorf("refusals cost %d looks and %d calls in all", n, all)
		}
		for _, request := range []*csi.ControllerPublishVolumeRequest{disk, shared} {
			about := events.Claim{Volume: request.GetVolumeId()}
			if told := r.warnings.about[about]; len(told) != 2 || told[0] != told[1] || !strings.HasPrefix(told[0], "OtherRegion: volume ") || !strings.Contains(told[0], "lax") {
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

// sharedRequest asks for a file system, which the instance near has, at another instance. The service has seen it.
func (r *rig) sharedRequest(near, instance string) *csi.ControllerPublishVolumeRequest {
	r.t.Helper()
	request := publishRequest(r.fileSystem(near), instance)
	request.VolumeCapability = capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
	_, err := r.ControllerGetVolume(r.t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: request.GetVolumeId()})
	want(r.t, err, codes.OK)
	return request
}

// TestWrongLabelIsNoObstacle: a label that names another region keeps no volume from its node, also while the platform does
// not say where that is.
func TestWrongLabelIsNoObstacle(t *testing.T) {
	for _, silent := range []bool{false, true} {
		inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
			node := r.instance("node-1")
			l := &labels{regions: map[string]string{node: "lax"}}
			r.inLabelled(l)
			disk, shared := publishRequest(r.create("pvc-1").GetVolumeId(), node), r.sharedRequest(r.instance("node-2"), node)
			if silent {
				r.cloud.Fault(simulator.Fault{Operation: "get_instance", Action: simulator.FaultStatus, Status: http.StatusServiceUnavailable})
			}
			for range 2 {
				for _, request := range []*csi.ControllerPublishVolumeRequest{disk, shared} {
					_, err := r.ControllerPublishVolume(t.Context(), request)
					want(t, err, codes.OK)
				}
			}
			if l.asked != 2 { // by each kind of storage
				t.Errorf("the cluster was asked %d times", l.asked)
			}
		})
	}
}
