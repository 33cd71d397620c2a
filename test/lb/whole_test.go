package lb

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	cloudproviderapi "k8s.io/cloud-provider/api"
	nodecontroller "k8s.io/cloud-provider/controllers/node"
	"k8s.io/cloud-provider/controllers/nodelifecycle"
	controllersmetrics "k8s.io/component-base/metrics/prometheus/controllers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What the flags of cmd/ccm are by default.
const (
	statusPeriod     = 5 * time.Minute
	monitorPeriod    = 5 * time.Second
	serviceWorkers   = 20
	nodeWorkers      = 20
	lifecycleWorkers = 10
)

// builder gives every controller the same client.
type builder struct{ kubernetes.Interface }

// Config is for controllers that make a client of their own, of which there are none.
func (builder) Config(string) (*rest.Config, error) { return &rest.Config{}, nil }

// ConfigOrDie is the same.
func (builder) ConfigOrDie(string) *rest.Config { return &rest.Config{} }

// Client returns the one client.
func (b builder) Client(string) (kubernetes.Interface, error) { return b.Interface, nil }

// ClientOrDie is the same.
func (b builder) ClientOrDie(string) kubernetes.Interface { return b.Interface }

// startWhole is start with all that the program runs: the library's controllers of Nodes and fast recovery ask the cloud, too, by
// the same client and within the same rate.
func (w *world) startWhole() *process {
	w.Helper()
	w.started++
	p := &process{world: w, number: w.started}
	w.tell("#%d starts", p.number)
	p.client = w.kube.client(p.ask)
	api := w.newClient(func(http.RoundTripper) http.RoundTripper { return p })
	provider := cloud.NewProvider(api, *cloud.NewOptions())
	ctx, cancel := context.WithCancel(w.Context())
	provider.Initialize(builder{p.client}, ctx.Done())
	factory := informers.NewSharedInformerFactory(p.client, 0)
	provider.SetInformers(factory)
	balancers, err := provider.LoadBalancers()
	if err != nil {
		w.Fatal(err)
	}
	nodes, err := nodecontroller.NewCloudNodeController(factory.Core().V1().Nodes(), p.client, provider, statusPeriod, nodeWorkers, nodeWorkers)
	if err != nil {
		w.Fatal(err)
	}
	lifecycle, err := nodelifecycle.NewCloudNodeLifecycleController(factory.Core().V1().Nodes(), p.client, provider, monitorPeriod, lifecycleWorkers)
	if err != nil {
		w.Fatal(err)
	}
	factory.Start(ctx.Done())
	metrics := controllersmetrics.NewControllerManagerMetrics("figures")
	var running sync.WaitGroup
	running.Go(func() { balancers.Run(ctx, serviceWorkers) })
	running.Go(func() { provider.Recovery().Run(ctx) })
	running.Go(func() { nodes.RunWithContext(ctx, metrics) })
	running.Go(func() { lifecycle.Run(ctx, metrics) })
	p.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
	w.lead, w.processes = p, append(w.processes, p)
	return p
}

// populate adds instances and their Nodes until there are this many Nodes. They are as the program leaves those that it has
// initialised. Nothing may watch yet: the fake API server keeps a hundred changes for whoever is late.
func (w *world) populate(nodes int) {
	w.Helper()
	first := w.machines + 1
	for w.machines < nodes {
		w.machines++
		w.cloud.AddInstance(simulator.NewServer{Label: fmt.Sprintf("node-%d", w.machines)})
	}
	list, err := w.api.Instances(w.Context(), 0)
	if err != nil {
		w.Fatal(err)
	}
	machines := map[string]vultr.Instance{}
	for _, in := range list.Items {
		machines[in.Label] = in
	}
	for i := first; i <= nodes; i++ {
		name := fmt.Sprintf("node-%d", i)
		if _, err := w.user.CoreV1().Nodes().Create(w.Context(), initialised(name, machines[name]), metav1.CreateOptions{}); err != nil {
			w.Fatal(err)
		}
	}
}

func initialised(name string, in vultr.Instance) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			v1.LabelHostname: name, v1.LabelInstanceType: in.Plan, v1.LabelInstanceTypeStable: in.Plan,
			v1.LabelFailureDomainBetaRegion: in.Region, v1.LabelTopologyRegion: in.Region,
			instances.PlanLabel: in.Plan, instances.KindLabel: "vm",
		}},
		Spec: v1.NodeSpec{ProviderID: providerid.Format(in.ID)},
		Status: v1.NodeStatus{
			Addresses:  append(addresses.Of(in), v1.NodeAddress{Type: v1.NodeHostName, Address: name}),
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}},
		},
	}
}

// join adds an instance, and its Node as a kubelet registers it.
func (w *world) join() {
	w.Helper()
	w.machines++
	name := fmt.Sprintf("node-%d", w.machines)
	w.cloud.AddInstance(simulator.NewServer{Label: name})
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}},
		Spec:       v1.NodeSpec{Taints: []v1.Taint{{Key: cloudproviderapi.TaintExternalCloudProvider, Value: "true", Effect: v1.TaintEffectNoSchedule}}},
		Status: v1.NodeStatus{
			Addresses:  []v1.NodeAddress{{Type: v1.NodeHostName, Address: name}},
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}},
		},
	}
	if _, err := w.user.CoreV1().Nodes().Create(w.Context(), node, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// publishMany adds Services and waits until all are served and the controller has nothing left to look after.
func (w *world) publishMany(services int) {
	w.Helper()
	for i := range services {
		w.service(fmt.Sprintf("many-%d", i))
		synctest.Wait() // or the watch might get more than it keeps
	}
	w.takes("all Services are served", 5*time.Second, func() bool { return len(w.addresses()) == services && w.haveBackends(w.machines) })
	w.pass(restAfter)
}

// ours returns the load balancers of this cluster, as they are.
func (w *world) ours() []simulator.LoadBalancerView {
	return slices.DeleteFunc(w.cloud.Sim.View().LoadBalancers, func(lb simulator.LoadBalancerView) bool {
		_, foreign := w.foreign[lb.ID]
		return foreign
	})
}

// haveBackends reports whether all load balancers have this many.
func (w *world) haveBackends(n int) bool {
	return !slices.ContainsFunc(w.ours(), func(lb simulator.LoadBalancerView) bool { return len(lb.Instances) != n })
}

// takes waits until something is so, with looks that are this far apart, and returns how long that took.
func (w *world) takes(what string, apart time.Duration, is func() bool) time.Duration {
	w.Helper()
	const patience = 30 * time.Minute
	for began := time.Now(); ; {
		if is() {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			w.Fatalf("not within %s, but all should be well: %s\n%s", patience, what, strings.Join(w.lastMoments(), "\n"))
		}
		time.Sleep(apart) // of fake time; only what is waited for ends the wait
	}
}

// spent is what processes have sent.
type spent struct {
	calls int // to the cloud
	sent  int // those of them that change something
	// writes are those to the API server but for Events, which are counted apart.
	writes, events int
}

// spending returns what all processes have sent so far.
func (w *world) spending() spent {
	s := spent{calls: int(w.calls.Load()), sent: int(w.sent.Load())}
	for _, p := range w.processes {
		for _, action := range p.client.Actions() {
			switch verb := action.GetVerb(); {
			case !slices.Contains([]string{"create", "update", "patch", "delete"}, verb):
			case action.GetResource().Resource == "events":
				s.events++
			default:
				s.writes++
			}
		}
	}
	return s
}

func (s spent) since(before spent) spent {
	return spent{calls: s.calls - before.calls, sent: s.sent - before.sent, writes: s.writes - before.writes, events: s.events - before.events}
}
