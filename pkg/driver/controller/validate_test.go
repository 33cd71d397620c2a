package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestValidateContradictions: a volume context that names two regions, or none by a key that is there, is not confirmed.
func TestValidateContradictions(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1").GetVolumeId()
		for name, about := range map[string]map[string]string{
			"two regions": {topology.Key: "ewr", topology.OfficialKey: "lax"}, "an empty region": {topology.Key: " "},
		} {
			resp, err := r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: id, VolumeCapabilities: []*csi.VolumeCapability{writer}, VolumeContext: about,
			})
			if want(t, err, codes.OK); resp.GetConfirmed() != nil || resp.GetMessage() == "" {
				t.Errorf("%s: got %v", name, resp)
			}
		}
	})
}

// TestValidateWhatTheNodeIsTold: of what a volume context says to the node only that is confirmed which the node would take,
// and which the parameters, if there are any, would have put there.
func TestValidateWhatTheNodeIsTold(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		block, shared := r.create("pvc-1").GetVolumeId(), r.fileSystem(r.instance("node-1"))
		xfs, raw := capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER), capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER)
		xfs.GetMount().FsType = "xfs"
		raw.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
		for name, c := range map[string]struct {
			id                  string
			use                 *csi.VolumeCapability
			context, parameters map[string]string
			// no are words of the refusal, "" for a confirmation.
			no string
		}{
			"encrypted":                     {block, writer, map[string]string{"encryption": "luks2"}, nil, ""},
			"encrypted somehow":             {block, writer, map[string]string{"encryption": "aes"}, nil, `"encryption": "aes" is not supported`},
			"a shared one, encrypted":       {shared, writer, map[string]string{"encryption": "luks2"}, nil, `is of type "vfs"`},
			"blocks":                        {block, writer, map[string]string{"mkfs_block_size": "1024"}, nil, ""},
			"no such blocks":                {block, writer, map[string]string{"mkfs_block_size": "512"}, nil, "mkfs_block_size"},
			"no such key":                   {block, writer, map[string]string{"mkfs_blocks": "1024"}, nil, "unknown key"},
			"another file system's":         {block, xfs, map[string]string{"mkfs_bytes_per_inode": "8192"}, nil, "the file system is xfs"},
			"reading ahead":                 {block, raw, map[string]string{"read_ahead_kb": "64"}, nil, ""},
			"reading ahead in words":        {block, raw, map[string]string{"read_ahead_kb": "much"}, nil, "read_ahead_kb"},
			"as the class":                  {block, writer, map[string]string{"mkfs_block_size": "1024"}, map[string]string{"mkfs_block_size": "1024"}, ""},
			"not as the class":              {block, writer, map[string]string{"mkfs_block_size": "1024"}, map[string]string{"mkfs_block_size": "2048"}, `has mkfs_block_size "1024", the parameters ask for "2048"`},
			"what the class does not have":  {block, writer, map[string]string{"mkfs_block_size": "1024"}, map[string]string{"disk_type": "nvme"}, `the parameters ask for ""`},
			"without what the class has":    {block, writer, nil, map[string]string{"read_ahead_kb": "64"}, `has read_ahead_kb "", the parameters ask for "64"`},
			"what is not for the node":      {block, writer, map[string]string{"storage.kubernetes.io/csiProvisionerIdentity": "x"}, nil, ""},
			"made from nothing, as it says": {block, writer, map[string]string{volume.ContextContentSource: ""}, nil, ""},
		} {
			resp, err := r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: c.id, VolumeCapabilities: []*csi.VolumeCapability{c.use}, VolumeContext: c.context, Parameters: c.parameters,
			})
			if want(t, err, codes.OK); (resp.GetConfirmed() != nil) != (c.no == "") || !strings.Contains(resp.GetMessage(), c.no) {
				t.Errorf("%s: got %v", name, resp)
			}
		}
	})
}

// TestValidateContentSource: what a volume was made from is compared with what the platform shows of that: of a restored one
// the snapshot, of a clone that it has a source.
func TestValidateContentSource(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		empty := r.create("pvc-source").GetVolumeId()
		snapshot := r.snapshot("snapshot-1", empty).GetSnapshotId()
		time.Sleep(time.Minute) // of the fake clock
		made := func(name string, content *csi.VolumeContentSource) *csi.Volume {
			t.Helper()
			req := createRequest(name, 10)
			req.VolumeContentSource = content
			resp, err := r.CreateVolume(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetVolume()
		}
		restored := made("pvc-restored", &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: snapshot}}})
		cloned := made("pvc-cloned", &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: empty}}})
		for name, c := range map[string]struct {
			id, said string
			confirm  bool
		}{
			"a restored one's own":         {restored.GetVolumeId(), restored.GetVolumeContext()[volume.ContextContentSource], true},
			"in capitals":                  {restored.GetVolumeId(), "snapshot/" + strings.ToUpper(snapshot), true},
			"another snapshot":             {restored.GetVolumeId(), "snapshot/" + nothing, false},
			"a clone's own":                {cloned.GetVolumeId(), cloned.GetVolumeContext()[volume.ContextContentSource], true},
			"no volume":                    {cloned.GetVolumeId(), "volume/x", false},
			"written by hand":              {cloned.GetVolumeId(), "", true},
			"an empty one from a snapshot": {empty, "snapshot/" + snapshot, false},
			"an empty one from a volume":   {empty, "volume/" + cloned.GetVolumeId(), false},
			"from anything":                {empty, "anything", false},
		} {
			resp, err := r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: c.id, VolumeCapabilities: []*csi.VolumeCapability{writer}, VolumeContext: map[string]string{volume.ContextContentSource: c.said},
			})
			if want(t, err, codes.OK); (resp.GetConfirmed() != nil) != c.confirm || strings.Contains(resp.GetMessage(), "made") == c.confirm {
				t.Errorf("%s: got %v", name, resp)
			}
		}
	})
}
