package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/attachlimit"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// TestRefusedAttachLowersTheLimitOfTheNode: from the platform's refusal of one more volume to what the kubelet writes into the
// CSINode, through both programs and the cluster between them. The kubelet asks its node when it learns of the code, so by then the
// node has to know.
func TestRefusedAttachLowersTheLimitOfTheNode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a node plugin refuses to run without it")
	}
	cloud, kube := simtest.Start(t, simtest.Options{}), testkube.New(t)
	instance := cloud.AddInstance(simulator.NewServer{Label: "node-1", Region: "ewr"})
	const path = "/api/v1/nodes/node-1"
	kube.Put(path, `{"metadata":{"labels":{"topology.block.csi.vultr.com/region":"ewr"}},"spec":{"providerID":"vultr://`+instance+`"}}`)
	kube.Put("/apis/storage.k8s.io/v1/csinodes/node-1", `{"spec":{"drivers":[{"name":"block.csi.vultr.com","nodeID":"`+instance+`"}]}}`)
	environment := append(kube.Environ(), "VULTR_API_KEY="+cloud.Key, "NODE_NAME=node-1")

	dir := t.TempDir()
	nodeSocket, controllerSocket := filepath.Join(dir, "node.sock"), filepath.Join(dir, "controller.sock")
	onNode, nodeOut := program(t, environment, "--mode=node", "--endpoint=unix://"+nodeSocket, "--http-endpoint=", "--plugin-registration-dir=",
		"--metadata-url="+cloud.MetadataURL(instance), "--device-dir="+dir, "--sysfs-block-dir="+dir, "--account-dir="+kube.AccountDir,
		"--state-dir="+filepath.Join(dir, "state"), "--kubelet-root="+dir)
	controls, controllerOut := program(t, environment, "--mode=controller", "--endpoint=unix://"+controllerSocket, "--http-endpoint=", "--api-key-file=/none",
		"--api-url="+cloud.URL, "--account-dir="+kube.AccountDir, "--region=ewr", fmt.Sprintf("--platform-time-scale=%g", simtest.FastTimeScale))
	node, controller := csi.NewNodeClient(dial(t, nodeSocket)), csi.NewControllerClient(dial(t, controllerSocket))
	limit := func() int64 {
		t.Helper()
		var info *csi.NodeGetInfoResponse
		eventually(t, "the node knows which instance it is", func() (err error) {
			info, err = node.NodeGetInfo(starting(t), &csi.NodeGetInfoRequest{}, grpc.WaitForReady(true))
			return err
		})
		return info.GetMaxVolumesPerNode()
	}
	if n := limit(); n != attachlimit.Default {
		t.Errorf("before, the node can have %d volumes", n)
	}

	capability := &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
	publish := func(name string) error {
		var made *csi.CreateVolumeResponse
		eventually(t, name+" is made", func() (err error) {
			made, err = controller.CreateVolume(starting(t), &csi.CreateVolumeRequest{
				Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 10 << 30}, VolumeCapabilities: []*csi.VolumeCapability{capability},
			}, grpc.WaitForReady(true))
			return err
		})
		_, err := controller.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
			VolumeId: made.GetVolume().GetVolumeId(), NodeId: instance, VolumeCapability: capability,
		})
		return err
	}
	for _, name := range []string{"pvc-1", "pvc-2"} {
		if err := publish(name); err != nil {
			t.Fatal(err)
		}
	}
	cloud.Fault(simulator.Fault{
		Operation: "attach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest,
		Body: `{"error":"This server has the maximum number of block storage volumes","status":400}`,
	})
	err := publish("pvc-3")
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), instance) || !strings.Contains(err.Error(), "2 volumes, which is its limit") {
		t.Errorf("the refused one: %v", err)
	}
	if n := limit(); n != 2 {
		t.Errorf("after that the node can have %d volumes:\n%s", n, kube.Object(path))
	}

	// The administrator has it forgotten.
	kube.Put(path, `{"spec":{"providerID":"vultr://`+instance+`"}}`)
	eventually(t, "the node can have as many as before", func() error {
		if n := limit(); n != attachlimit.Default {
			return errors.New(kube.Object(path))
		}
		return nil
	})
	end(t, onNode, nodeOut)
	end(t, controls, controllerOut)
}
