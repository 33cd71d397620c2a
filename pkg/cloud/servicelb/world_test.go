package servicelb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/slim"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// patience bounds waits, in fake time, for things that do happen.
const patience = 30 * time.Minute

// world is a cluster of Services and Nodes in front of a simulated cloud, with the real controller between them, in a
// bubble of fake time and at the platform's own pace. The API server is client-go's fake one: what is tested is what
// happens in the cloud.
type world struct {
	*testing.T
	bubble bool // its time is that of testing/synctest
	cloud  *simtest.Cloud
	client *fake.Clientset
	ids    []string // the instances behind the nodes, sorted

	api      *vultr.Client // the test's own view of the cloud
	recorder *record.FakeRecorder
	// controller is the one that runs.
	controller *servicelb.Controller
	config     servicelb.Config
	stop       func()
	ignored    map[string]bool // load balancers that somebody else made
	blind      bool            // reads lag or fail, so that only the cloud's own view is the truth
}

type option func(*simtest.Options, *servicelb.Config)

func lagging(lags simulator.ReadLags) option {
	return func(o *simtest.Options, _ *servicelb.Config) { o.Config.ReadLags = lags }
}

// drifting has the controller look for what was changed on the platform, as it does by default. When it does so is random, so that what
// another test counts or measures would not always be the same.
func drifting(_ *simtest.Options, c *servicelb.Config) { c.DriftPeriod = 5 * time.Minute }

func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := newCluster(t, options...)
	w.start()
	return w
}

// newCluster returns a world in which no controller has run yet.
func newCluster(t *testing.T, options ...option) *world {
	t.Helper()
	sim := simtest.Options{Bubble: true}
	w := &world{T: t, bubble: true, client: fake.NewSimpleClientset(), ignored: map[string]bool{}}
	w.config = servicelb.Config{
		Region:        func(context.Context, []*v1.Node) (string, error) { return "ewr", nil },
		LabelInStatus: true,
	}
	for _, o := range options {
		o(&sim, &w.config)
	}
	w.blind = len(sim.Config.ReadLags) > 0
	if !w.blind {
		sim.Config.ReadLags = simulator.NoReadLag() // what is awaited shows at once; TestLateReads has the lags
	}
	w.cloud = simtest.Start(t, sim)
	w.api = w.newClient(w.cloud.Key)
	w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	for i := range 2 {
		w.addMachine(fmt.Sprintf("node-%d", i))
	}
	w.stop = func() {}
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) newClient(key string) *vultr.Client {
	w.Helper()
	client, err := vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: key, Around: w.cloud.Direct})
	if err != nil {
		w.Fatal(err)
	}
	return client
}

// start runs a new process: nothing but what is written down in cluster and cloud survives.
func (w *world) start() { w.startWith(w.newClient(w.cloud.Key)) }

func (w *world) startWith(api servicelb.API) {
	w.Helper()
	w.stop()
	ctx, cancel := context.WithCancel(w.Context())
	factory := informers.NewSharedInformerFactory(w.client, 0)
	w.recorder = record.NewFakeRecorder(10000)
	config := w.config
	config.API, config.Client, config.Recorder = api, w.client, w.recorder
	config.Services, config.Nodes = factory.Core().V1().Services(), factory.Core().V1().Nodes()
	config.EndpointSlices = factory.Discovery().V1().EndpointSlices()
	if err := config.EndpointSlices.Informer().SetTransform(slim.EndpointSlice); err != nil {
		w.Fatal(err)
	}
	controller, err := servicelb.New(config)
	if err != nil {
		w.Fatal(err)
	}
	w.controller = controller
	factory.Start(ctx.Done())
	var running sync.WaitGroup
	running.Go(func() { controller.Run(ctx, 4) })
	w.stop = func() {
		cancel()
		running.Wait()
		factory.Shutdown()
		w.stop = func() {}
	}
}

func (w *world) add(object runtime.Object) {
	w.Helper()
	if err := w.client.Tracker().Add(object); err != nil {
		w.Fatal(err)
	}
}

// addMachine adds an instance and its Node.
func (w *world) addMachine(name string) *v1.Node {
	w.Helper()
	id := w.cloud.AddInstance(simulator.NewServer{Label: name})
	w.ids = append(w.ids, id)
	slices.Sort(w.ids)
	return w.addNode(name, "vultr://"+id)
}

func (w *world) addNode(name, providerID string) *v1.Node {
	w.Helper()
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("node-" + name), Labels: map[string]string{v1.LabelTopologyRegion: "ewr"}},
		Spec:       v1.NodeSpec{ProviderID: providerID},
		Status:     v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}
	w.add(node)
	return node
}

// editNode changes a Node.
func (w *world) editNode(name string, change func(*v1.Node)) {
	w.Helper()
	node, err := w.client.CoreV1().Nodes().Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	change(node)
	if _, err := w.client.CoreV1().Nodes().Update(w.Context(), node, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

func ready(is bool) func(*v1.Node) {
	return func(n *v1.Node) {
		n.Status.Conditions[0].Status = v1.ConditionFalse
		if is {
			n.Status.Conditions[0].Status = v1.ConditionTrue
		}
	}
}

var uids atomic.Int64

// service adds a Service to the cluster.
func (w *world) service(name string, change ...func(*v1.Service)) *v1.Service {
	w.Helper()
	if w.bubble {
		synctest.Wait() // informers have shown what was added before, and it counts when the Service is met for the first time
	}
	n := uids.Add(1)
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", n)), Annotations: map[string]string{},
			CreationTimestamp: metav1.NewTime(time.Now().Add(time.Minute)),
		},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Name: "web", Port: 80, NodePort: 30080, Protocol: v1.ProtocolTCP}}},
	}
	for _, c := range change {
		c(s)
	}
	if _, err := w.client.CoreV1().Services(s.Namespace).Create(w.Context(), s, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	return s
}

func with(key settings.Key, value string) func(*v1.Service) {
	return func(s *v1.Service) { metav1.SetMetaDataAnnotation(&s.ObjectMeta, string(key), value) }
}

func without(key settings.Key) func(*v1.Service) {
	return func(s *v1.Service) { delete(s.Annotations, string(key)) }
}

// old makes a Service one that was there before this controller came.
func old(s *v1.Service) { s.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour)) }

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
}

func (w *world) fresh(s *v1.Service) *v1.Service {
	w.Helper()
	fresh, err := w.client.CoreV1().Services(s.Namespace).Get(w.Context(), s.Name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return fresh
}

func (w *world) eventually(what string, done func() bool) {
	w.Helper()
	w.within(patience, what, done)
}

// within waits, in fake time, for what ends the wait.
func (w *world) within(limit time.Duration, what string, done func() bool) {
	w.Helper()
	began := time.Now()
	for !done() {
		waited := time.Since(began)
		if waited > limit {
			w.Fatalf("%s: not within %s; events %q", what, limit, w.events())
		}
		time.Sleep(max(250*time.Millisecond, waited/20)) // between two looks; only what is waited for ends the wait
	}
}

// later lets fake time pass in which nothing may happen, or what happens is judged afterwards.
func (w *world) later(d time.Duration) {
	time.Sleep(d) // fake time: what happens in it is what is judged
	synctest.Wait()
}

// settled waits until the Service has an address and its load balancer is as it asks for.
func (w *world) settled(s *v1.Service) vultr.LoadBalancer {
	w.Helper()
	var lb vultr.LoadBalancer
	w.eventually("Service "+s.Name+" has an address", func() bool {
		ingress := w.fresh(s).Status.LoadBalancer.Ingress
		if len(ingress) == 0 {
			return false
		}
		for _, view := range w.cloud.Sim.View().LoadBalancers {
			if view.IPv4 == ingress[0].IP {
				lb = w.truth(view.ID)
				return true
			}
		}
		return false
	})
	return lb
}

// shows waits until the load balancer is as the test says.
func (w *world) shows(id, what string, is func(vultr.LoadBalancer) bool) {
	w.Helper()
	w.eventually("the load balancer "+what, func() bool {
		lb, err := w.truthOf(id)
		if err != nil && !vultr.IsNotFound(err) {
			w.Fatal(err)
		}
		return err == nil && is(lb)
	})
}

// delete does what kubectl does: the Service goes when no finalizer is left. It returns when it is gone.
func (w *world) delete(s *v1.Service) {
	w.Helper()
	w.deleting(s)
	w.eventually("Service "+s.Name+" loses its finalizer", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(s)) })
	if err := w.client.CoreV1().Services(s.Namespace).Delete(w.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// deleting marks a Service deleted; without a finalizer it is gone at once.
func (w *world) deleting(s *v1.Service) {
	w.Helper()
	now := metav1.Now()
	w.edit(s, func(s *v1.Service) { s.DeletionTimestamp = &now })
}

// all returns the true load balancers of the cloud, whatever reads show, but for those that somebody else made.
func (w *world) all() []vultr.LoadBalancer {
	w.Helper()
	var all []vultr.LoadBalancer
	for _, view := range w.cloud.Sim.View().LoadBalancers {
		if w.ignored[view.ID] {
			continue
		}
		lb, err := w.truthOf(view.ID)
		if vultr.IsNotFound(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, lb)
	}
	return all
}

// truth returns a load balancer as it is; where reads lag or fail, only what the cloud's view shows of it.
func (w *world) truth(id string) vultr.LoadBalancer {
	w.Helper()
	lb, err := w.truthOf(id)
	if err != nil {
		w.Fatal(err)
	}
	return lb
}

func (w *world) truthOf(id string) (vultr.LoadBalancer, error) {
	if !w.blind {
		return w.api.LoadBalancer(w.Context(), id)
	}
	for _, view := range w.cloud.Sim.View().LoadBalancers {
		if view.ID == id {
			status := "pending"
			if view.Active {
				status = "active"
			}
			return vultr.LoadBalancer{ID: id, Label: view.Label, Status: status, IPv4: view.IPv4, Instances: view.Instances}, nil
		}
	}
	return w.api.LoadBalancer(w.Context(), id)
}

// only returns the only load balancer of the cloud.
func (w *world) only() vultr.LoadBalancer {
	w.Helper()
	all := w.all()
	if len(all) != 1 {
		w.Fatalf("there are %d load balancers, want 1: %+v; events %q", len(all), all, w.events())
	}
	return all[0]
}

func (w *world) none() {
	w.Helper()
	if all := w.all(); len(all) > 0 {
		w.Errorf("left behind: %+v", all)
	}
}

// existing adds an active load balancer that somebody made.
func (w *world) existing(label string, change ...func(*vultr.LoadBalancerSettings)) vultr.LoadBalancer {
	w.Helper()
	settings := plan.Creation(plan.Read(&v1.Service{Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: 8080, NodePort: 30080}}}}).Desired)
	settings.Label = &label
	for _, c := range change {
		c(&settings)
	}
	lb, err := w.api.CreateLoadBalancer(w.Context(), "ewr", settings)
	if err != nil {
		w.Fatal(err)
	}
	w.ignored[lb.ID] = true
	w.eventually("the load balancer is in lists with its address", func() bool {
		list, err := w.api.LoadBalancers(w.Context(), 0)
		return err == nil && slices.ContainsFunc(list.Items, func(l vultr.LoadBalancer) bool { return l.ID == lb.ID && l.Active() && l.IPv4 != "" })
	})
	return w.truth(lb.ID)
}

// entry returns what the ledger's ConfigMap says of a Service.
func (w *world) entry(s *v1.Service) ledger.Entry {
	w.Helper()
	found, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).Get(w.Context(), ledger.Name(s.UID), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		w.Fatal(err)
	}
	var entry ledger.Entry
	if text, there := found.Data[string(s.UID)]; there {
		if err := json.Unmarshal([]byte(text), &entry); err != nil {
			w.Fatal(err)
		}
	}
	return entry
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

func has(events []string, part string) bool {
	return slices.ContainsFunc(events, func(e string) bool { return strings.Contains(e, part) })
}

// wantEvent waits for an Event with the text.
func (w *world) wantEvent(part string) {
	w.Helper()
	var seen []string
	w.eventually("an Event with "+part, func() bool {
		seen = append(seen, w.events()...)
		return has(seen, part)
	})
}

// writes counts the requests that change load balancers.
func (w *world) writes() int {
	return w.posts() + w.cloud.Count("update_load_balancer") + w.cloud.Count("delete_load_balancer") + w.cloud.Count("delete_load_balancer_ssl")
}

// posts counts the requests that make one.
func (w *world) posts() int { return w.cloud.Count("create_load_balancer") }

// calls counts all requests.
func (w *world) calls() int {
	n := 0
	for _, counter := range w.cloud.Sim.Counters() {
		n += counter.Total
	}
	return n
}

// newWorldOf returns a cloud alone, of another account.
func newWorldOf(t *testing.T, _ string) *world {
	t.Helper()
	w := &world{T: t, bubble: true, cloud: simtest.Start(t, simtest.Options{Bubble: true}), ignored: map[string]bool{}}
	w.api = w.newClient(w.cloud.Key)
	return w
}

// react has requests to the API server answered by f first. The fake one takes no notice of who asks at the same time, so
// this waits until nothing is under way.
func (w *world) react(verb, resource string, f clienttesting.ReactionFunc) {
	synctest.Wait()
	w.client.PrependReactor(verb, resource, f)
}

// reactToWatch does the same for watches.
func (w *world) reactToWatch(resource string, f clienttesting.WatchReactionFunc) {
	synctest.Wait()
	w.client.PrependWatchReactor(resource, f)
}
