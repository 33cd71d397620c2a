package controller_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestErrorsNameVolumeAndInstance: what is refused names its volume, and the instance that it is about: the attacher writes the text
// into the VolumeAttachment and an Event, as it is.
func TestErrorsNameVolumeAndInstance(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, node, nowhere := r.create("pvc-1").GetVolumeId(), r.instance("node-1"), uuid.NewString()
		time.Sleep(time.Minute) // of the fake clock
		publish := publishRequest(id, nowhere)
		_, err := r.ControllerPublishVolume(t.Context(), publish)
		want(t, err, codes.NotFound, id, nowhere, "does not exist")
		publish.NodeId, publish.VolumeCapability = node, capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		_, err = r.ControllerPublishVolume(t.Context(), publish)
		want(t, err, codes.InvalidArgument, id, node, "vultr-vfs")
		publish.VolumeCapability = nil
		_, err = r.ControllerPublishVolume(t.Context(), publish)
		want(t, err, codes.InvalidArgument, id, node, "volume_capability is missing")
		expand := expandRequest(id, 20)
		expand.VolumeCapability = capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		_, err = r.ControllerExpandVolume(t.Context(), expand)
		want(t, err, codes.InvalidArgument, id)
		_, err = r.ControllerModifyVolume(t.Context(), &csi.ControllerModifyVolumeRequest{VolumeId: id, MutableParameters: map[string]string{"color": "red"}})
		want(t, err, codes.InvalidArgument, id, "color")

		for _, operation := range []string{"create_block", "create_block_snapshot"} {
			r.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Not today","status":400}`, Times: 1})
		}
		_, err = r.CreateVolume(t.Context(), createRequest("pvc-2", 10))
		if err == nil || !strings.Contains(err.Error(), "pvc-2") || !strings.Contains(err.Error(), "Not today") {
			t.Errorf("the refused create: %v", err)
		}
		_, err = r.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "snapshot-1", SourceVolumeId: id})
		if err == nil || !strings.Contains(err.Error(), "snapshot-1") || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "Not today") {
			t.Errorf("the refused snapshot: %v", err)
		}
	})
}
