package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// TestRegionOfTheControllersNode: a claim for which nobody names a region gets the one of the controller's Node, where the
// metadata service is out of a pod's reach; --region takes precedence.
func TestRegionOfTheControllersNode(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{nil, "lax"},
		{[]string{"--region=ewr"}, "ewr"},
	} {
		cloud, kube := simtest.Start(t, simtest.Options{}), testkube.New(t)
		instance := cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "lax"})
		kube.Put("/api/v1/nodes/node-1", `{"metadata":{"labels":{"topology.block.csi.vultr.com/region":"lax"}},"spec":{"providerID":"vultr://`+instance+`"}}`)
		kube.Put("/apis/storage.k8s.io/v1/csinodes/node-1", `{"spec":{"drivers":[{"name":"block.csi.vultr.com","nodeID":"`+instance+`"}]}}`)
		socket := filepath.Join(t.TempDir(), "csi.sock")
		cmd, out := program(t, append(kube.Environ(), "VULTR_API_KEY="+cloud.Key, "NODE_NAME=node-1"),
			append(c.flags, "--mode=controller", "--http-endpoint=", "--endpoint="+socket, "--api-key-file=/none", "--api-url="+cloud.URL,
				"--account-dir="+kube.AccountDir, "--metadata-url=http://127.0.0.1:1",
				fmt.Sprintf("--platform-time-scale=%g", simtest.FastTimeScale))...)
		controller := csi.NewControllerClient(dial(t, socket))
		var made *csi.CreateVolumeResponse
		eventually(t, "the region is known", func() (err error) {
			made, err = controller.CreateVolume(starting(t), &csi.CreateVolumeRequest{
				Name: "pvc-1", CapacityRange: &csi.CapacityRange{RequiredBytes: 10 << 30},
				VolumeCapabilities: []*csi.VolumeCapability{{
					AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
					AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
				}},
			}, grpc.WaitForReady(true))
			return err
		})
		places := made.GetVolume().GetAccessibleTopology()
		if len(places) != 1 || places[0].GetSegments()["topology.block.csi.vultr.com/region"] != c.want {
			t.Errorf("with %v the volume is in %v, want %s", c.flags, places, c.want)
		}
		end(t, cmd, out)
	}
}
