package life

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
)

// patience bounds waits on a busy machine.
const patience = time.Minute

// TestControllerKilledInAnAttach kills a controller whose attach is on its way. Nothing shows the attach yet when the
// next controller is asked to undo it.
func TestControllerKilledInAnAttach(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the driver, which short runs do without")
	}
	binary, err := csiprocess.Build(t.TempDir(), "-race")
	if err != nil {
		t.Fatal(err)
	}
	cloud := simtest.Start(t, simtest.Options{})
	instance := cloud.AddInstance(simulator.NewServer{Label: "worker-1", Region: region})
	start := func(name string) (csi.ControllerClient, *csiprocess.Process) {
		d := csiprocess.Driver{Binary: binary, Socket: filepath.Join(t.TempDir(), name+".sock"), Env: []string{"VULTR_API_KEY=" + cloud.Key}, Args: []string{
			"--mode=controller", "--api-key-file=/nonexistent", "--api-url=" + cloud.URL, "--region=" + region,
		}}
		p := csiprocess.Start(t, d)
		return csi.NewControllerClient(csiprocess.Dial(t, d.Socket)), p
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	first, process := start("first")
	created, err := first.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: "pvc-1", VolumeCapabilities: []*csi.VolumeCapability{writer("ext4")},
		AccessibilityRequirements: &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: topology.Segments(region)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := created.GetVolume().GetVolumeId()
	hold := cloud.Hold("attach_block", simulator.FaultHoldBefore)
	cut := make(chan error, 1)
	go func() {
		_, err := first.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: instance, VolumeCapability: writer("ext4")})
		cut <- err
	}()
	hold.Wait()
	process.Kill(t)
	if err := <-cut; status.Code(err) != codes.Unavailable {
		t.Fatalf("the publish of a killed controller: %v", err)
	}

	second, _ := start("second")
	looks := cloud.Count("get_instance")
	undone := make(chan error, 1)
	go func() {
		_, err := second.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: instance})
		undone <- err
	}()
	// Until it has seen the volume free and asked about the instance.
	cloud.Await("a look of the second controller", func() bool { return cloud.Count("get_instance") > looks })
	hold.Release()
	if err := <-undone; err != nil {
		t.Fatal(err)
	}
	for _, b := range cloud.Sim.View().Blocks {
		if b.AttachedTo != "" || b.Pending != "" {
			t.Errorf("left is %+v", b)
		}
	}
	if n := cloud.Count("detach_block"); n != 1 {
		t.Errorf("%d detaches were sent", n)
	}
}
