package main

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	nodecontroller "k8s.io/cloud-provider/controllers/node"
	"k8s.io/cloud-provider/controllers/nodelifecycle"
	"k8s.io/cloud-provider/options"
	controllersmetrics "k8s.io/component-base/metrics/prometheus/controllers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// nodesRig is the library's controllers of Nodes with our provider, in front of a simulated cloud of n machines.
type nodesRig struct {
	cloud  *simtest.Cloud
	server *apiServer
	end    context.CancelFunc
}

// monitorPeriod is the library's default of --node-monitor-period.
const monitorPeriod = 5 * time.Second

func newNodesRig(tb testing.TB, n int) *nodesRig {
	tb.Helper()
	r := &nodesRig{cloud: simtest.Start(tb, simtest.Options{})}
	var nodes []*v1.Node
	address := netip.MustParseAddr("198.18.64.1")
	for i := range n {
		name := fmt.Sprintf("worker-%d", i)
		r.cloud.AddInstance(simulator.NewServer{Label: name, MainIP: address.String()})
		nodes = append(nodes, freshNode(name, address.String()))
		address = address.Next()
	}
	r.server = startAPIServer(tb, nodes...)
	return r
}

// start starts the controllers as the program does, with its defaults.
func (r *nodesRig) start(tb testing.TB) {
	tb.Helper()
	defaults, err := options.NewCloudControllerManagerOptions()
	if err != nil {
		tb.Fatal(err)
	}
	paceNodes(defaults)
	tb.Setenv("VULTR_API_KEY", r.cloud.Key)
	own := cloud.NewOptions()
	own.APIURL, own.KeyFile = r.cloud.URL, "/nonexistent"
	api, err := own.NewClient(nil)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, end := context.WithCancel(tb.Context())
	tb.Cleanup(end)
	r.end = end
	connection := defaults.Generic.ClientConnection
	builder := clients{r.server.url, connection.QPS, int(connection.Burst)}
	provider := cloud.NewProvider(api, *own)
	provider.Initialize(builder, ctx.Done())
	factory := informers.NewSharedInformerFactory(builder.ClientOrDie("shared-informers"), 0)
	provider.SetInformers(factory)
	syncs := defaults.NodeController.ConcurrentNodeSyncs
	nodes, err := nodecontroller.NewCloudNodeController(factory.Core().V1().Nodes(), builder.ClientOrDie("node-controller"), provider,
		defaults.NodeStatusUpdateFrequency.Duration, syncs, syncs)
	if err != nil {
		tb.Fatal(err)
	}
	lifecycle, err := nodelifecycle.NewCloudNodeLifecycleController(factory.Core().V1().Nodes(), builder.ClientOrDie("lifecycle"), provider,
		monitorPeriod, int(defaults.NodeLifecycleController.ConcurrentNodeLifecycleSyncs))
	if err != nil {
		tb.Fatal(err)
	}
	factory.Core().V1().Nodes().Informer()
	factory.StartWithContext(ctx)
	metrics := controllersmetrics.NewControllerManagerMetrics("bench")
	go nodes.RunWithContext(ctx, metrics)
	go lifecycle.Run(ctx, metrics)
}

func initialised(n *v1.Node) bool {
	return n.Spec.ProviderID != "" && len(n.Spec.Taints) == 0 && len(n.Status.Addresses) == 3
}

// await waits until n Nodes are initialised.
func (r *nodesRig) await(tb testing.TB, n int) {
	tb.Helper()
	limit := time.After(5 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.server.count(initialised) < n {
		select {
		case <-limit:
			tb.Fatalf("%d of %d nodes are initialised", r.server.count(initialised), n)
		case <-tick.C:
		}
	}
}

// Nodes that register together share the lists of the account.
func TestNodesAreInitialisedFromOneList(t *testing.T) {
	const n = 100
	r := newNodesRig(t, n)
	r.start(t)
	r.await(t, n)
	if calls := len(r.cloud.Requests()); calls > 8 { // a list is a call for virtual machines and one for bare metal
		t.Errorf("%d calls for %d nodes", calls, n)
	}
}

// The flags override what the program prefers.
func TestPaceOfNodes(t *testing.T) {
	code, out := runProgram(t, nil, "--help")
	for flag, value := range map[string]int{
		"--concurrent-node-syncs": nodeSyncs, "--concurrent-node-lifecycle-syncs": lifecycleSyncs,
		"--kube-api-qps": kubeAPIQPS, "--kube-api-burst": kubeAPIBurst,
	} {
		if want := regexp.MustCompile(fmt.Sprintf(`%s .*\(default %d\)`, flag, value)); code != 0 || !want.MatchString(out) {
			t.Errorf("code %d, %s does not have the default %d", code, flag, value)
		}
	}
}

func BenchmarkInitialiseNodes(b *testing.B) {
	for _, n := range []int{50, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := newNodesRig(b, n)
				before := heap()
				b.StartTimer()
				began := time.Now()
				r.start(b)
				r.await(b, n)
				took := time.Since(began)
				b.StopTimer()
				b.ReportMetric(took.Seconds(), "s")
				b.ReportMetric(float64(len(r.cloud.Requests())), "calls")
				b.ReportMetric((heap()-before)/(1<<20), "MiB")
				r.end()
				b.StartTimer()
			}
		})
	}
}

// heap is what is in use, in bytes.
func heap() float64 {
	runtime.GC() //nolint:revive // what is garbage is not in use
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapInuse)
}
