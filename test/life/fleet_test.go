package life

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
)

const (
	// ceiling is the rate in calls per second that the driver allows itself at most.
	ceiling = 20
	// sidecarTimeout and sidecarRetry are those of the manifests.
	sidecarTimeout = 120 * time.Second
	sidecarRetry   = time.Second
)

// BenchmarkFleet lives the lives of many volumes at once, as far as the controller is concerned, at the platform's real
// pace and under its rate limit. It reports the API calls for one life, the time over what the driver's own ceiling
// of calls takes for as many, the most memory that the controller had resident, and how long 99 of 100 calls of each kind took until
// they succeeded, with all of their repeats, which it bounds.
func BenchmarkFleet(b *testing.B) {
	for _, n := range []struct{ volumes, instances int }{{200, 20}, {1000, 100}} {
		b.Run(fmt.Sprintf("%d-volumes-on-%d-instances", n.volumes, n.instances), func(b *testing.B) { benchmarkFleet(b, n.volumes, n.instances) })
	}
}

func benchmarkFleet(b *testing.B, volumes, instances int) {
	cloud := simtest.Start(b, simtest.Options{Config: simulator.Config{TimeScale: 1, RateLimit: 30}})
	var nodes []string
	for i := range instances {
		nodes = append(nodes, cloud.AddInstance(simulator.NewServer{Label: fmt.Sprintf("worker-%d", i), Region: region}))
	}
	controller, process := startControllerProcess(b, cloud)
	calls, took := 0, time.Duration(0)
	each := waits{}
	for b.Loop() {
		before, began := callsOf(cloud), time.Now()
		var all sync.WaitGroup
		for i := range volumes {
			all.Go(func() { liveInFleet(b, controller, fmt.Sprintf("pvc-%d-%d", b.N, i), nodes[i%len(nodes)], &each) })
		}
		all.Wait()
		took += time.Since(began)
		calls += callsOf(cloud) - before
		if left := cloud.Sim.View().Blocks; len(left) > 0 {
			b.Fatalf("%d volumes are left in the account", len(left))
		}
	}
	b.ReportMetric(float64(calls)/float64(volumes*b.N), "calls/life")
	b.ReportMetric(took.Seconds()/(float64(calls)/ceiling), "s/ceiling-s")
	b.ReportMetric(memoryMB(b, process.PID(), "VmHWM"), "peak-MB")
	goal := p99Goal(volumes)
	for call, wait := range each.p99() {
		b.ReportMetric(wait.Seconds(), call+"-p99-s")
		if wait > goal {
			b.Errorf("%s: 99 of 100 calls took up to %s, the goal is %s", call, wait.Round(time.Second), goal)
		}
	}
	b.Logf("calls by operation: %v", cloud.Sim.Counters())
}

// p99Goal is within which time 99 of 100 calls about so many volumes at once are to succeed. A volume has one call under way, so that
// it waits for one order of each of the others at most, at the driver's own rate; half as much again is for the lists that they share
// and for the rate's rise from half the ceiling, and the rest for the platform itself. For 1,000 volumes that is less than the
// timeout of the sidecars: none has to ask again.
func p99Goal(volumes int) time.Duration {
	return 15*time.Second + time.Duration(1.5*float64(volumes)/ceiling*float64(time.Second))
}

// waits are how long calls took, by their kind.
type waits struct {
	mu  sync.Mutex
	all map[string][]time.Duration
}

// begin notes that a call begins; end is called when it has succeeded.
func (w *waits) begin(call string) (end func()) {
	began := time.Now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.all == nil {
			w.all = map[string][]time.Duration{}
		}
		w.all[call] = append(w.all[call], time.Since(began))
	}
}

// p99 returns what 99 of 100 did not exceed.
func (w *waits) p99() map[string]time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	worst := map[string]time.Duration{}
	for call, all := range w.all {
		slices.Sort(all)
		worst[call] = all[(len(all)*99-1)/100]
	}
	return worst
}

// callsOf counts the API calls so far, refused ones included.
func callsOf(cloud *simtest.Cloud) (n int) {
	for _, c := range cloud.Sim.Counters() {
		n += c.Total
	}
	return n
}

func startController(b *testing.B, cloud *simtest.Cloud) csi.ControllerClient {
	b.Helper()
	client, _ := startControllerProcess(b, cloud)
	return client
}

func startControllerProcess(b *testing.B, cloud *simtest.Cloud) (csi.ControllerClient, *csiprocess.Process) {
	b.Helper()
	dir := b.TempDir()
	binary, err := csiprocess.Build(dir)
	if err != nil {
		b.Fatal(err)
	}
	d := csiprocess.Driver{Binary: binary, Socket: filepath.Join(dir, "controller.sock"), Env: []string{"VULTR_API_KEY=" + cloud.Key}, Args: []string{
		"--mode=controller", "--api-key-file=/nonexistent", "--api-url=" + cloud.URL, "--region=" + region,
	}}
	p := csiprocess.Start(b, d)
	return csi.NewControllerClient(csiprocess.Dial(b, d.Socket)), p
}

// liveInFleet calls the controller as the sidecars do for one volume.
func liveInFleet(b *testing.B, c csi.ControllerClient, name, node string, each *waits) {
	capability := writer("ext4")
	end := each.begin("create")
	created, err := asSidecar(b.Context(), c.CreateVolume, &csi.CreateVolumeRequest{
		Name: name, VolumeCapabilities: []*csi.VolumeCapability{capability}, CapacityRange: &csi.CapacityRange{RequiredBytes: 10 * gib},
		AccessibilityRequirements: &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: topology.Segments(region)}}},
	})
	end()
	id := created.GetVolume().GetVolumeId()
	for i := range 2 { // as in live
		if err != nil {
			break
		}
		end = each.begin("attach")
		_, err = asSidecar(b.Context(), c.ControllerPublishVolume, &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: capability})
		if i == 0 {
			end()
		}
	}
	if err == nil {
		end = each.begin("detach")
		_, err = asSidecar(b.Context(), c.ControllerUnpublishVolume, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node})
		end()
	}
	if err == nil {
		end = each.begin("delete")
		_, err = asSidecar(b.Context(), c.DeleteVolume, &csi.DeleteVolumeRequest{VolumeId: id})
		end()
	}
	if err != nil {
		b.Errorf("%s: %v", name, err)
	}
}

// asSidecar repeats a call as long as a sidecar would.
func asSidecar[Q, A any](ctx context.Context, call func(context.Context, Q, ...grpc.CallOption) (A, error), req Q) (A, error) {
	for {
		timed, cancel := context.WithTimeout(ctx, sidecarTimeout)
		answer, err := call(timed, req)
		cancel()
		switch status.Code(err) {
		case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.ResourceExhausted:
		default:
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-time.After(sidecarRetry):
		}
	}
}

// BenchmarkMemory reports the resident memory of the processes: a controller that has listed many volumes, and a node
// plugin with nothing to do.
func BenchmarkMemory(b *testing.B) {
	const volumes = 5000
	b.Run(fmt.Sprintf("controller-%d-volumes", volumes), func(b *testing.B) {
		cloud := simtest.Start(b, simtest.Options{})
		fill(b, cloud, volumes)
		controller, process := startControllerProcess(b, cloud)
		for b.Loop() {
			resp, err := controller.ListVolumes(b.Context(), &csi.ListVolumesRequest{})
			if err != nil || len(resp.GetEntries()) != volumes {
				b.Fatalf("%d volumes are listed, %v", len(resp.GetEntries()), err)
			}
		}
		b.ReportMetric(memoryMB(b, process.PID(), "VmRSS"), "MB")
		b.ReportMetric(memoryMB(b, process.PID(), "RssAnon"), "anonymous-MB")
	})
	b.Run("node-idle", func(b *testing.B) {
		if os.Geteuid() != 0 {
			b.Skip("the node plugin needs root")
		}
		r := newRig(b)
		for b.Loop() { // a pace at which it is idle: thousands of calls a second leave garbage
			if _, err := r.node.NodeGetInfo(b.Context(), &csi.NodeGetInfoRequest{}); err != nil {
				b.Fatal(err)
			}
			time.Sleep(2 * time.Second) // nothing is waited for: it is what is measured
		}
		b.ReportMetric(memoryMB(b, r.nodePID, "VmRSS"), "MB")
		b.ReportMetric(memoryMB(b, r.nodePID, "RssAnon"), "anonymous-MB")
	})
}

// fill makes volumes in the account.
func fill(b *testing.B, cloud *simtest.Cloud, volumes int) {
	b.Helper()
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: 1e6, MaxRate: 1e6})
	if err != nil {
		b.Fatal(err)
	}
	for i := range volumes {
		if _, err := api.CreateVolume(b.Context(), vultr.VolumeRequest{Label: fmt.Sprintf("pvc-%d", i), Region: region, SizeGB: 10, Type: vultr.HighPerf}); err != nil {
			b.Fatal(err)
		}
	}
}

// memoryMB reads how much memory a process has resident (VmRSS), or had at most (VmHWM).
func memoryMB(b *testing.B, pid int, what string) float64 {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatalf("the process has no %s", what)
	return 0
}
