package node_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// TestCutOffCalls: a call that was over before it knew answers just that. What it did not see tells nothing about the
// volume: not that its disk is missing, in use or holds data.
func TestCutOffCalls(t *testing.T) {
	patient := func(r *rig) { r.patience = time.Hour; r.Service = r.restarted(bootID) }
	capability := mountCapability(writer, "ext4")
	for name, c := range map[string]struct {
		prepare func(r *rig)
		call    func(r *rig, ctx context.Context) error
		words   string
	}{
		"a look at the disk": {
			func(r *rig) { r.machine.Plug("disk", serial, small); newSlowTool(r.t, "blkid") },
			(*rig).stageUntil, "cut off",
		},
		"a disk that is awaited": {patient, (*rig).stageUntil, serial},
		"a device in use": {
			func(r *rig) {
				patient(r)
				r.machine.Plug("disk", serial, small)
				r.must(r.stage(capability))
				startHolder(r.t)
			},
			func(r *rig, ctx context.Context) error {
				_, err := r.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: volumeID, StagingTargetPath: r.staging})
				return err
			}, "in use",
		},
		"a growth that is awaited": {
			func(r *rig) {
				patient(r)
				r.machine.Plug("disk", serial, small)
				r.must(r.stage(capability))
			},
			func(r *rig, ctx context.Context) error {
				_, err := r.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
					VolumeId: volumeID, VolumePath: r.staging, CapacityRange: &csi.CapacityRange{RequiredBytes: gib},
				})
				return err
			}, "cut off",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c.prepare(r)
			late, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			want(t, c.call(r, late), codes.DeadlineExceeded, c.words)
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			want(t, c.call(r, gone), codes.Canceled, c.words)
		})
	}
}

func (r *rig) stageUntil(ctx context.Context) error {
	_, err := r.NodeStageVolume(ctx, r.stageRequest(mountCapability(writer, "ext4")))
	return err
}
