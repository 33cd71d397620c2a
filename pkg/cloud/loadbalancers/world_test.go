package loadbalancers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	cloudproviderapi "k8s.io/cloud-provider/api"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/annotation"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/balancer"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/loadbalancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// patience bounds waits, in fake time, for things that do happen.
const patience = 10 * time.Minute

// world is a cluster of Services and Nodes in front of a simulated cloud, in a bubble of fake time and at the
// platform's own pace. The API server is client-go's fake one: what is tested is what happens in the cloud.
type world struct {
	*testing.T
	cloud    *simtest.Cloud
	api      *vultr.Client
	client   *fake.Clientset
	services cache.SharedIndexInformer
	nodes    []*v1.Node
	ids      []string

	// lbs and its parts are those of the present process.
	lbs      *loadbalancers.Balancers
	recorder *record.FakeRecorder
	config   loadbalancers.Config
}

// startExact starts a cloud whose reads show the truth: what this package does while they lag is not right yet.
func startExact(t *testing.T) *simtest.Cloud {
	t.Helper()
	return simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{ReadLags: simulator.NoReadLag()}})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, cloud: startExact(t), client: fake.NewClientset()}
	for i := range 2 {
		name := fmt.Sprintf("node-%d", i)
		id := w.cloud.AddInstance(simulator.NewServer{Label: name})
		w.ids = append(w.ids, id)
		w.addNode(name, "vultr://"+id)
	}
	slices.Sort(w.ids)
	w.restart()
	return w
}

func (w *world) addNode(name, providerID string) *v1.Node {
	w.Helper()
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("node-" + name), Labels: map[string]string{v1.LabelTopologyRegion: "ewr"}},
		Spec:       v1.NodeSpec{ProviderID: providerID},
	}
	if err := w.client.Tracker().Add(node); err != nil {
		w.Fatal(err)
	}
	w.nodes = append(w.nodes, node)
	return node
}

// restart replaces the process: nothing but what is written down in cluster and cloud survives.
func (w *world) restart() {
	w.Helper()
	var err error
	w.api, err = vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, DialContext: w.cloud.Dial})
	if err != nil {
		w.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(w.client, 0)
	w.services = factory.Core().V1().Services().Informer()
	nodes := factory.Core().V1().Nodes()
	nodes.Informer()
	factory.Start(w.Context().Done())
	factory.WaitForCacheSync(w.Context().Done())
	w.recorder = record.NewFakeRecorder(1000)
	w.config = loadbalancers.Config{
		API: w.api, Guard: vultr.NewSettleGuard(w.api.SettleTime()), Client: w.client, Recorder: w.recorder,
		Services: factory.Core().V1().Services().Lister(), Nodes: nodes.Lister(),
		Region:        func(context.Context, []*v1.Node) (string, error) { return "ewr", nil },
		LabelInStatus: true,
	}
	w.lbs = loadbalancers.New(w.config)
}

var uids int

// service adds a Service to the cluster.
func (w *world) service(name string, change ...func(*v1.Service)) *v1.Service {
	w.Helper()
	uids++
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", uids)), Annotations: map[string]string{},
			Finalizers:        []string{servicehelper.LoadBalancerCleanupFinalizer},
			CreationTimestamp: metav1.NewTime(time.Unix(int64(uids), 0)),
		},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Name: "web", Port: 80, NodePort: 30080, Protocol: v1.ProtocolTCP}}},
	}
	for _, c := range change {
		c(s)
	}
	if err := w.client.Tracker().Add(s); err != nil {
		w.Fatal(err)
	}
	w.seen(s)
	return s
}

func with(key annotation.Key, value string) func(*v1.Service) {
	return func(s *v1.Service) { s.Annotations[string(key)] = value }
}

// edit changes a Service as its owner does.
func (w *world) edit(s *v1.Service, change ...func(*v1.Service)) {
	w.Helper()
	fresh := w.fresh(s)
	for _, c := range change {
		c(fresh)
	}
	if _, err := w.client.CoreV1().Services(s.Namespace).Update(w.Context(), fresh, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
	w.seen(fresh)
}

func (w *world) fresh(s *v1.Service) *v1.Service {
	w.Helper()
	fresh, err := w.client.CoreV1().Services(s.Namespace).Get(w.Context(), s.Name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return fresh
}

// seen waits until the informer knows the Service as it is.
func (w *world) seen(s *v1.Service) {
	w.Helper()
	w.eventually("the informer sees the Service", func() bool {
		known, there, err := w.services.GetStore().GetByKey(s.Namespace + "/" + s.Name)
		if err != nil || !there {
			return false
		}
		service, ok := known.(*v1.Service)
		return ok && fmt.Sprint(service.Annotations, service.Spec) == fmt.Sprint(w.fresh(s).Annotations, w.fresh(s).Spec)
	})
}

func (w *world) eventually(what string, done func() bool) {
	w.Helper()
	limit := time.Now().Add(patience)
	for !done() {
		if time.Now().After(limit) {
			w.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(100 * time.Millisecond) // between two looks; only what is waited for ends the wait
	}
}

func (w *world) ensure(s *v1.Service) (*v1.LoadBalancerStatus, error) {
	w.Helper()
	status, err := w.lbs.EnsureLoadBalancer(w.Context(), "kubernetes", w.fresh(s), w.nodes)
	w.seen(s)
	return status, err
}

// settled does what the library's queue does: it goes on after the time that it is told to wait.
func (w *world) settled(s *v1.Service) *v1.LoadBalancerStatus {
	w.Helper()
	for limit := time.Now().Add(patience); ; {
		status, err := w.ensure(s)
		if err == nil {
			return status
		}
		wait, ok := errors.AsType[*cloudproviderapi.RetryError](err)
		if !ok || time.Now().After(limit) {
			w.Fatalf("ensure: %v", err)
		}
		time.Sleep(wait.RetryAfter()) // as the queue does; what is judged is the answer that ends it
	}
}

func isWait(err error) bool {
	_, wait := errors.AsType[*cloudproviderapi.RetryError](err)
	return wait
}

// gone does what the library does when a Service is deleted.
func (w *world) gone(s *v1.Service) {
	w.Helper()
	w.eventually("the load balancer is deleted", func() bool {
		_, exists, err := w.lbs.GetLoadBalancer(w.Context(), "kubernetes", w.fresh(s))
		if err == nil && exists {
			err = w.lbs.EnsureLoadBalancerDeleted(w.Context(), "kubernetes", w.fresh(s))
		}
		if err != nil && !isWait(err) {
			w.Logf("delete, to be repeated: %v", err)
		}
		return err == nil
	})
	if err := w.client.CoreV1().Services(s.Namespace).Delete(w.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
	w.eventually("the informer sees the deletion", func() bool {
		_, there, err := w.services.GetStore().GetByKey(s.Namespace + "/" + s.Name)
		return err == nil && !there
	})
}

// balancers returns all load balancers of the cloud.
func (w *world) balancers() []vultr.LoadBalancer {
	w.Helper()
	var all []vultr.LoadBalancer
	for _, view := range w.cloud.Sim.View().LoadBalancers {
		lb, err := w.api.LoadBalancer(w.Context(), view.ID)
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, lb)
	}
	return all
}

// the only load balancer of the cloud.
func (w *world) only() vultr.LoadBalancer {
	w.Helper()
	all := w.balancers()
	if len(all) != 1 {
		w.Fatalf("there are %d load balancers, want 1: %+v", len(all), all)
	}
	return all[0]
}

// existing adds an active load balancer that somebody made.
func (w *world) existing(label string, change ...func(*vultr.LoadBalancerSettings)) vultr.LoadBalancer {
	w.Helper()
	settings := balancer.Creation(balancer.Read(&v1.Service{Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: 8080, NodePort: 31000}}}}).Desired)
	settings.Label = &label
	for _, c := range change {
		c(&settings)
	}
	lb, err := w.api.CreateLoadBalancer(w.Context(), "ewr", settings)
	if err != nil {
		w.Fatal(err)
	}
	w.eventually("the load balancer is active", func() bool {
		lb, err = w.api.LoadBalancer(w.Context(), lb.ID)
		return err == nil && lb.Active() && lb.IPv4 != ""
	})
	w.eventually("it is in lists", func() bool {
		list, err := w.api.LoadBalancers(w.Context(), 0)
		return err == nil && slices.ContainsFunc(list.Items, func(l vultr.LoadBalancer) bool { return l.ID == lb.ID })
	})
	return lb
}

// events returns the Events since the last call.
func (w *world) events() []string {
	var all []string
	for {
		select {
		case event := <-w.recorder.Events:
			all = append(all, event)
		default:
			return all
		}
	}
}

func (w *world) wantEvent(part string) {
	w.Helper()
	if all := w.events(); !slices.ContainsFunc(all, func(e string) bool { return strings.Contains(e, part) }) {
		w.Errorf("no event has %q: %q", part, all)
	}
}

// writes counts the requests that change load balancers.
func (w *world) writes() int {
	n := 0
	for _, request := range w.cloud.Requests() {
		if request.Method != "GET" && strings.Contains(request.Path, "/load-balancers") {
			n++
		}
	}
	return n
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want a text with %q", err, part)
		}
	}
}
