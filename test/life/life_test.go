// Package life measures one volume's life: how much longer the driver takes than the platform, and how many API calls.
//
// The driver is the built program, as a controller and a node process; the cloud is simulated at its real pace, with
// real disks. The calls are those of the official sidecars and the kubelet.
package life

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
)

const (
	region = "ewr"
	gib    = 1 << 30
)

// BenchmarkLife lives a volume's life from its create to its delete. The time is reported over what the platform itself
// takes, and over what it takes until its reads show it, which nobody can do better. The first life of a fresh controller,
// which has no list yet and has learned nothing, is reported apart. TestBudgetOfALife of the controller holds the calls.
func BenchmarkLife(b *testing.B) {
	b.Run("ext4", func(b *testing.B) { benchmarkLife(b, kind{fsType: "ext4"}) })
	b.Run("xfs-grown", func(b *testing.B) { benchmarkLife(b, kind{fsType: "xfs", grow: true}) })
}

// kind is what is done with a volume.
type kind struct {
	fsType string
	grow   bool
}

// platform is what the platform itself takes for such a life, and shown the same until its reads show it: each of the
// waits for a create, an attach, a detach and a new size ends with a read, and reads are late.
func (k kind) platform() (itself, shown time.Duration) {
	d := simulator.DefaultDelays()
	sum, waits := d.BlockCreate+d.Attach+d.Detach, 3
	if k.grow {
		sum += d.GuestGrowth
		waits++
	}
	return sum, sum + time.Duration(waits)*simulator.DefaultReadLag
}

func benchmarkLife(b *testing.B, k kind) {
	r := newRig(b)
	first := r.live(b, "pvc-first", k)
	b.Logf("the first life of a fresh controller:\n%s", first)
	var took time.Duration
	calls, lives := 0, 0
	for b.Loop() {
		l := r.live(b, fmt.Sprintf("pvc-%d", lives), k)
		b.Logf("life %d:\n%s", lives, l)
		took, calls, lives = took+l.took(), calls+l.calls(), lives+1
	}
	itself, shown := k.platform()
	b.ReportMetric(took.Seconds()/float64(lives)/itself.Seconds(), "rpc-s/platform-s")
	b.ReportMetric(took.Seconds()/float64(lives)/shown.Seconds(), "rpc-s/shown-s")
	b.ReportMetric(first.took().Seconds()/shown.Seconds(), "first-rpc-s/shown-s")
	b.ReportMetric(float64(calls)/float64(lives), "calls/life")
	b.ReportMetric(float64(first.calls()), "calls/first-life")
}

// rig is a driver on a simulated cloud.
type rig struct {
	cloud      *simtest.Cloud
	instance   string
	dir        string
	controller csi.ControllerClient
	node       csi.NodeClient
	nodePID    int
}

func newRig(b *testing.B) *rig {
	b.Helper()
	return newRigAt(b, 1)
}

// newRigAt makes a rig whose platform takes scale times the real one's time.
func newRigAt(b *testing.B, scale float64) *rig {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("a volume's life needs root: it uses real loop devices and real mounts")
	}
	dir := b.TempDir()
	binary, err := csiprocess.Build(dir)
	if err != nil {
		b.Fatal(err)
	}
	cloud := simtest.Start(b, simtest.Options{Disks: true, Config: simulator.Config{TimeScale: scale, RateLimit: 30}})
	r := &rig{cloud: cloud, dir: dir, instance: cloud.AddInstance(simulator.NewServer{Label: "worker-1", Region: region})}
	disks := filepath.Join(cloud.DisksDir, "instances", r.instance)
	for _, d := range []string{"devices", "block"} {
		if err := os.MkdirAll(filepath.Join(disks, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	node := csiprocess.Driver{Binary: binary, Socket: filepath.Join(dir, "node.sock"), OwnMounts: true, Args: []string{
		"--mode=node", "--metadata-url=" + cloud.MetadataURL(r.instance), "--device-dir=" + filepath.Join(disks, "devices"),
		"--sysfs-block-dir=" + filepath.Join(disks, "block"), "--state-dir=" + filepath.Join(dir, "state"), "--plugin-registration-dir=",
		"--kubelet-root=" + r.dir,
	}}
	r.nodePID = csiprocess.Start(b, node).PID()
	controller := csiprocess.Driver{
		Binary: binary, Socket: filepath.Join(dir, "controller.sock"), Env: []string{"VULTR_API_KEY=" + cloud.Key},
		Args: []string{"--mode=controller", "--api-key-file=/nonexistent", "--api-url=" + cloud.URL, "--region=" + region, fmt.Sprintf("--platform-time-scale=%g", scale)},
	}
	csiprocess.Start(b, controller)
	r.controller = csi.NewControllerClient(csiprocess.Dial(b, controller.Socket))
	r.node = csi.NewNodeClient(csiprocess.Dial(b, node.Socket))
	return r
}

// step is one RPC and the API calls that began while it ran.
type step struct {
	rpc   string
	began time.Time
	took  time.Duration
	calls []simulator.Request
}

type life []step

func (l life) took() (sum time.Duration) {
	for _, s := range l {
		sum += s.took
	}
	return sum
}

func (l life) calls() (n int) {
	for _, s := range l {
		n += len(s.calls)
	}
	return n
}

// String lists the RPCs, and below each the API calls in their order.
func (l life) String() string {
	var b strings.Builder
	for _, s := range l {
		fmt.Fprintf(&b, "%6.2f s %s\n", s.took.Seconds(), s.rpc)
		for _, c := range s.calls {
			fmt.Fprintf(&b, "         +%5.2f s %s: %d\n", c.Began.Sub(s.began).Seconds(), c.Operation, c.Status)
		}
	}
	fmt.Fprintf(&b, "%6.2f s and %d API calls in all", l.took().Seconds(), l.calls())
	return b.String()
}

func writer(fsType string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType}},
	}
}

// live lives one volume's life.
func (r *rig) live(b *testing.B, name string, k kind) life {
	b.Helper()
	var l life
	capability := writer(k.fsType)
	created := rpc(b, r.cloud, &l, r.controller.CreateVolume, &csi.CreateVolumeRequest{
		Name: name, VolumeCapabilities: []*csi.VolumeCapability{capability}, CapacityRange: &csi.CapacityRange{RequiredBytes: 10 * gib},
		// With WaitForFirstConsumer the provisioner names the region of the node that was chosen.
		AccessibilityRequirements: &csi.TopologyRequirement{
			Requisite: []*csi.Topology{{Segments: topology.Segments(region)}}, Preferred: []*csi.Topology{{Segments: topology.Segments(region)}},
		},
	})
	id := created.GetVolume().GetVolumeId()
	publish := &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: r.instance, VolumeCapability: capability}
	published := rpc(b, r.cloud, &l, r.controller.ControllerPublishVolume, publish)
	// The attacher acts once more before it sees its own record of the first time.
	rpc(b, r.cloud, &l, r.controller.ControllerPublishVolume, publish)
	staging, target := filepath.Join(r.dir, "staging", name), filepath.Join(r.dir, "target", name)
	rpc(b, r.cloud, &l, r.node.NodeStageVolume, &csi.NodeStageVolumeRequest{
		VolumeId: id, PublishContext: published.GetPublishContext(), StagingTargetPath: staging, VolumeCapability: capability,
	})
	rpc(b, r.cloud, &l, r.node.NodePublishVolume, &csi.NodePublishVolumeRequest{
		VolumeId: id, PublishContext: published.GetPublishContext(), StagingTargetPath: staging, TargetPath: target, VolumeCapability: capability,
	})
	r.write(b, target)
	if k.grow {
		wish := &csi.CapacityRange{RequiredBytes: 20 * gib}
		rpc(b, r.cloud, &l, r.controller.ControllerExpandVolume, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: wish, VolumeCapability: capability})
		rpc(b, r.cloud, &l, r.node.NodeExpandVolume, &csi.NodeExpandVolumeRequest{
			VolumeId: id, VolumePath: target, StagingTargetPath: staging, CapacityRange: wish, VolumeCapability: capability,
		})
	}
	rpc(b, r.cloud, &l, r.node.NodeUnpublishVolume, &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: target})
	rpc(b, r.cloud, &l, r.node.NodeUnstageVolume, &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: staging})
	rpc(b, r.cloud, &l, r.controller.ControllerUnpublishVolume, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: r.instance})
	rpc(b, r.cloud, &l, r.controller.DeleteVolume, &csi.DeleteVolumeRequest{VolumeId: id})
	// The provisioner may ask again before it sees its own change to the PersistentVolume.
	rpc(b, r.cloud, &l, r.controller.DeleteVolume, &csi.DeleteVolumeRequest{VolumeId: id})
	if left := r.cloud.Sim.View().Blocks; len(left) > 0 {
		b.Fatalf("%d volumes are left in the account", len(left))
	}
	return l
}

// rpc does one RPC and notes it with the API calls that it caused.
func rpc[Q, A any](t testing.TB, cloud *simtest.Cloud, l *life, call func(context.Context, Q, ...grpc.CallOption) (A, error), req Q) A {
	t.Helper()
	before := callsOf(cloud)
	s := step{rpc: strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", req), "*csi."), "Request"), began: time.Now()}
	answer, err := call(t.Context(), req)
	if err != nil {
		t.Fatalf("%s: %v", s.rpc, err)
	}
	s.took = time.Since(s.began)
	if n := callsOf(cloud) - before; n > 0 {
		s.calls = cloud.Sim.Requests(n)
	}
	*l = append(*l, s)
	return answer
}

// write writes what a pod would, in the node's mount namespace.
func (r *rig) write(b *testing.B, target string) {
	b.Helper()
	path := filepath.Join("/proc", fmt.Sprint(r.nodePID), "root", target, "data")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		b.Fatal(err)
	}
}
