package life

import (
	"fmt"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// BenchmarkCopies lives the lives of a snapshot, of a volume made from a snapshot or from another volume, and of a shared
// file system that two nodes have, as far as the controller is concerned. The time is reported as by BenchmarkLife; that of
// a snapshot has the snapshotter's own pauses in it. TestBudgets holds the calls of many such lives.
func BenchmarkCopies(b *testing.B) {
	for _, k := range []lifeKind{snapshot(), restore(), clone(), shared()} {
		b.Run(k.name, func(b *testing.B) { benchmarkCopy(b, k) })
	}
}

func benchmarkCopy(b *testing.B, k lifeKind) {
	cloud := simtest.Start(b, simtest.Options{Config: simulator.Config{TimeScale: 1, RateLimit: 30}})
	o := newOrigin(b, cloud, func() csi.ControllerClient { return startController(b, cloud) }, pause)
	first := k.live(o, b, "first")
	b.Logf("the first life of a fresh controller:\n%s", first)
	var took time.Duration
	calls, lives := 0, 0
	for b.Loop() {
		l := k.live(o, b, fmt.Sprint(lives))
		b.Logf("life %d:\n%s", lives, l)
		took, calls, lives = took+l.took(), calls+l.calls(), lives+1
	}
	b.ReportMetric(took.Seconds()/float64(lives)/k.itself.Seconds(), "rpc-s/platform-s")
	b.ReportMetric(took.Seconds()/float64(lives)/k.shown().Seconds(), "rpc-s/shown-s")
	b.ReportMetric(first.took().Seconds()/k.shown().Seconds(), "first-rpc-s/shown-s")
	b.ReportMetric(float64(calls)/float64(lives), "calls/life")
	b.ReportMetric(float64(first.calls()), "calls/first-life")
}

// pause is a pause of a sidecar in real time.
func pause(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-timer.C:
	}
}

// lifeKind is a kind of lives.
type lifeKind struct {
	name string
	// itself is what the platform takes for one, in waits that each end with a read.
	itself time.Duration
	waits  int
	live   func(o *origin, t testing.TB, name string) life
}

// shown is what the platform takes until its reads show it.
func (k lifeKind) shown() time.Duration {
	return k.itself + time.Duration(k.waits)*simulator.DefaultReadLag
}

// disk is the life of a disk, without a node.
func disk(name string, live func(o *origin, t testing.TB, name string) life) lifeKind {
	d := simulator.DefaultDelays()
	return lifeKind{name, d.BlockCreate + d.Attach + d.Detach, 3, live}
}

func blank() lifeKind { return disk("blank", (*origin).liveBlank) }

func restore() lifeKind { return disk("restore", (*origin).liveRestore) }

// clone is the life of a disk whose content comes by a snapshot.
func clone() lifeKind {
	k := disk("clone", (*origin).liveClone)
	k.itself += simulator.DefaultDelays().Snapshot
	k.waits++
	return k
}

func snapshot() lifeKind {
	return lifeKind{"snapshot", simulator.DefaultDelays().Snapshot, 1, (*origin).liveSnapshot}
}

func shared() lifeKind {
	d := simulator.DefaultDelays()
	return lifeKind{"shared-file-system", d.FileSystem + 2*(d.Attach+d.Detach), 5, (*origin).liveShared}
}

// origin is a controller on a simulated cloud, and what lives begin with: two nodes, a volume and a snapshot of it. In a
// benchmark the controller is the program and the time is real; in TestBudgets both are the test's own.
type origin struct {
	cloud      *simtest.Cloud
	controller csi.ControllerClient
	nodes      []string
	// pause waits as the sidecars do, and between as people and pods do; nil is no time.
	pause   func(t testing.TB, d time.Duration)
	between func(least, most time.Duration)

	volume, snapshot string
}

// newOrigin starts the controller when the account shows the cluster's instances.
func newOrigin(t testing.TB, cloud *simtest.Cloud, start func() csi.ControllerClient, pause func(testing.TB, time.Duration)) *origin {
	t.Helper()
	o := &origin{cloud: cloud, pause: pause, between: func(_, _ time.Duration) {}}
	for _, label := range []string{"worker-1", "worker-2"} {
		o.nodes = append(o.nodes, cloud.AddInstance(simulator.NewServer{Label: label, Region: region}))
	}
	o.controller = start()
	var l life
	o.volume = o.create(t, &l, &csi.CreateVolumeRequest{Name: "pvc-origin", VolumeCapabilities: []*csi.VolumeCapability{writer("ext4")}})
	o.snapshot = o.snap(t, &l, "snapshot-of-origin")
	return o
}

// create makes a volume as the provisioner does.
func (o *origin) create(t testing.TB, l *life, req *csi.CreateVolumeRequest) (id string) {
	t.Helper()
	req.CapacityRange = &csi.CapacityRange{RequiredBytes: 10 * gib}
	term := []*csi.Topology{{Segments: topology.Segments(region)}}
	req.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: term, Preferred: term}
	return rpc(t, o.cloud, l, o.controller.CreateVolume, req).GetVolume().GetVolumeId()
}

// snap makes a snapshot of the volume as the snapshotter does: it asks again until it is ready, after one second, two, four
// and so on.
func (o *origin) snap(t testing.TB, l *life, name string) (id string) {
	t.Helper()
	for after := sidecarRetry; ; after *= 2 {
		made := rpc(t, o.cloud, l, o.controller.CreateSnapshot, &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: o.volume}).GetSnapshot()
		if made.GetReadyToUse() {
			return made.GetSnapshotId()
		}
		if after > sidecarTimeout {
			t.Fatalf("snapshot %s does not become ready", name)
		}
		o.pause(t, after)
		*l = append(*l, step{rpc: "(the snapshotter's pause)", took: after})
	}
}

// liveSnapshot is the life of a snapshot.
func (o *origin) liveSnapshot(t testing.TB, name string) (l life) {
	t.Helper()
	id := o.snap(t, &l, "snapshot-"+name)
	o.between(time.Minute, 3*time.Hour) // it is kept
	for range 2 {                       // as with volumes
		rpc(t, o.cloud, &l, o.controller.DeleteSnapshot, &csi.DeleteSnapshotRequest{SnapshotId: id})
	}
	return l
}

// liveBlank is the life of a volume that is made from nothing.
func (o *origin) liveBlank(t testing.TB, name string) life {
	t.Helper()
	return o.liveDisk(t, "pvc-blank-"+name, nil)
}

// liveRestore is the life of a volume that is made from the snapshot.
func (o *origin) liveRestore(t testing.TB, name string) life {
	t.Helper()
	return o.liveDisk(t, "pvc-restored-"+name, &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: o.snapshot},
	}})
}

// liveClone is the life of a volume that is made from the volume.
func (o *origin) liveClone(t testing.TB, name string) life {
	t.Helper()
	return o.liveDisk(t, "pvc-clone-"+name, &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: o.volume},
	}})
}

func (o *origin) liveDisk(t testing.TB, name string, source *csi.VolumeContentSource) (l life) {
	t.Helper()
	capability := writer("ext4")
	id := o.create(t, &l, &csi.CreateVolumeRequest{Name: name, VolumeCapabilities: []*csi.VolumeCapability{capability}, VolumeContentSource: source})
	o.use(t, &l, id, capability, o.nodes[:1])
	return l
}

// liveShared is the life of a shared file system that both nodes have.
func (o *origin) liveShared(t testing.TB, name string) (l life) {
	t.Helper()
	capability := writer("")
	capability.AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	id := o.create(t, &l, &csi.CreateVolumeRequest{
		Name: "pvc-shared-" + name, VolumeCapabilities: []*csi.VolumeCapability{capability}, Parameters: map[string]string{"storage_type": "vfs"},
	})
	o.use(t, &l, id, capability, o.nodes)
	return l
}

// use attaches a volume to the nodes, detaches and deletes it. The sidecars do some things twice, see live.
func (o *origin) use(t testing.TB, l *life, id string, capability *csi.VolumeCapability, nodes []string) {
	t.Helper()
	o.between(100*time.Millisecond, 2*time.Second) // until the pods are scheduled
	for _, node := range nodes {
		for range 2 {
			rpc(t, o.cloud, l, o.controller.ControllerPublishVolume, &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: capability})
		}
	}
	o.between(5*time.Second, 5*time.Minute) // the pods run
	for _, node := range nodes {
		rpc(t, o.cloud, l, o.controller.ControllerUnpublishVolume, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node})
	}
	o.between(100*time.Millisecond, 8*time.Second) // until the provisioner tries again
	for range 2 {
		rpc(t, o.cloud, l, o.controller.DeleteVolume, &csi.DeleteVolumeRequest{VolumeId: id})
	}
}
