package node_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
)

func TestMain(m *testing.M) { testns.Main(m) }

const (
	gib      = 1 << 30
	small    = 512 << 20 // what tests use that read the whole disk
	volumeID = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	serial   = "ewr-ae6c4452b93b4f"
	otherID  = "be6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	other    = "ewr-be6c4452b93b4f"
	bootID   = "this-boot"
)

// rig is a node service on a machine with real disks.
type rig struct {
	*node.Service
	machine *testmachine.Machine
	state   *state.Store
	t       *testing.T
	dir     string
	staging string
	target  string
	// registry has the metrics of the service.
	registry *prometheus.Registry
	// patience of the service.
	patience time.Duration
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{machine: testmachine.New(t), t: t, dir: t.TempDir(), patience: time.Second}
	r.staging, r.target = filepath.Join(r.dir, "staging"), filepath.Join(r.dir, "pod", "target")
	var err error
	if r.state, err = state.Open(filepath.Join(r.dir, "state")); err != nil {
		t.Fatal(err)
	}
	r.Service = r.restarted(bootID)
	t.Cleanup(func() {
		table, err := mount.Read()
		if err != nil {
			t.Error(err)
		}
		for _, e := range table {
			if strings.HasPrefix(e.Path, r.dir) {
				if err := mount.Unmount(context.Background(), e.Path); err != nil {
					t.Error(err)
				}
			}
		}
	})
	return r
}

// restarted is the service of a new process on the same machine.
func (r *rig) restarted(boot string) *node.Service {
	r.registry = prometheus.NewRegistry()
	return node.New(node.Config{
		Self: func(context.Context) (node.Self, error) {
			return node.Self{ID: otherID, Region: "EWR", MaxVolumes: 11}, nil
		},
		Finder: r.machine.Finder, State: r.state, BootID: boot, Patience: r.patience, KubeletRoot: r.dir, Registerer: r.registry,
	})
}

type modify func(*csi.NodeStageVolumeRequest)

func mountCapability(mode csi.VolumeCapability_AccessMode_Mode, fsType string, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType, MountFlags: flags}},
	}
}

func blockCapability(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
}

const (
	writer   = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	reader   = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	onePod   = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	manyPods = csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
)

var publishContext = map[string]string{"mount_vol_name": serial, "storage_type": "block"}

func (r *rig) stageRequest(capability *csi.VolumeCapability) *csi.NodeStageVolumeRequest {
	return &csi.NodeStageVolumeRequest{
		VolumeId: volumeID, StagingTargetPath: r.staging, VolumeCapability: capability, PublishContext: publishContext,
	}
}

func (r *rig) stage(capability *csi.VolumeCapability) error {
	_, err := r.NodeStageVolume(r.t.Context(), r.stageRequest(capability))
	return err
}

func (r *rig) publish(capability *csi.VolumeCapability, target string, readOnly bool) error {
	_, err := r.NodePublishVolume(r.t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: volumeID, StagingTargetPath: r.staging, TargetPath: target, VolumeCapability: capability,
		PublishContext: publishContext, Readonly: readOnly,
	})
	return err
}

func (r *rig) unpublish(target string) error {
	_, err := r.NodeUnpublishVolume(r.t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: volumeID, TargetPath: target})
	return err
}

func (r *rig) unstage() error {
	_, err := r.NodeUnstageVolume(r.t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: volumeID, StagingTargetPath: r.staging})
	return err
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func want(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// sum is what the kernel has counted of writes and discards on a device, after everything that was written to it has
// arrived there: it changes with every byte.
func (r *rig) sum() string {
	r.t.Helper()
	d := r.machine.Device(serial)
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	r.must(err)
	r.must(f.Sync())
	r.must(f.Close())
	fields := strings.Fields(r.read("/sys/dev/block/" + d.Number.String() + "/stat"))
	if len(fields) < 15 {
		r.t.Fatalf("the kernel counts %q", fields)
	}
	return fmt.Sprint("sectors written ", fields[6], ", discarded ", fields[13])
}

func (r *rig) write(path, text string) {
	r.t.Helper()
	r.must(os.WriteFile(path, []byte(text), 0o600))
}

func (r *rig) read(path string) string {
	r.t.Helper()
	raw, err := os.ReadFile(path)
	r.must(err)
	return string(raw)
}

func (r *rig) run(name string, args ...string) {
	r.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// mounted tells what is mounted at the path.
func (r *rig) mounted(path string) (mount.Entry, bool) {
	r.t.Helper()
	table, err := mount.Read()
	r.must(err)
	return table.At(path)
}
