package lb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	namespace   = "shop"
	region      = "ewr"
	driftPeriod = 5 * time.Minute
	fewWorkers  = 4
	manyWorkers = 32
	// restAfter is when a controller has nothing left to look after: a load balancer that was made twice shows within two and a
	// half minutes and is looked for within a drift period after that, and an instance that the platform did not know is tried
	// again after ten minutes.
	restAfter = 16 * time.Minute
	// restartAfter is how long nobody has the lead after a process was killed.
	restartAfter = 2 * time.Second
)

// world is a cluster and a cloud, with a controller between them, in a bubble of fake time and at the platform's own pace.
type world struct {
	*testing.T
	cloud *simtest.Cloud
	kube  *kube
	road  http.RoundTripper
	user  *fake.Clientset // of those who use the cluster, and of the test
	api   *vultr.Client   // of the cloud's operator, and of the test

	lead      *process
	processes []*process
	workers   int
	restart   time.Time // when a process that was killed has a successor; zero for as soon as that is noticed
	strike    strike

	calls  atomic.Int64 // of the API
	sent   atomic.Int64 // those of them that change something
	writes atomic.Int64 // to the API server

	mu     sync.Mutex
	events []string
	course []string // what happened, for whoever reads of a failure
	began  time.Time
	// foreign are load balancers that somebody else made, as they were, and harm what was done to them.
	foreign map[string]vultr.LoadBalancer
	harm    []string

	// kept are load balancers that stay when their Services go.
	kept map[string]bool
	// leaving are load balancers that go with a Service which has another one now.
	leaving map[string]bool
	// strays are load balancers that were made twice, and that their Services' owners were told of.
	strays map[string]bool
	// killed is set once a process was killed while people changed Services: see forgive.
	killed bool
	// machines, ports and started (of processes) are how many there were.
	machines, ports, started int
}

// newWorld returns a world of two nodes and one load balancer of somebody else, in which no controller has run yet.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, kube: newKube(), workers: fewWorkers, began: time.Now(), foreign: map[string]vultr.LoadBalancer{}, kept: map[string]bool{}, leaving: map[string]bool{}, strays: map[string]bool{}}
	w.cloud = simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{ReadLags: simulator.NoReadLag()}})
	w.road = w.cloud.Direct(nil)
	w.user = w.kube.client(directly)
	w.api = w.newClient(func(http.RoundTripper) http.RoundTripper { return w.road })
	for _, name := range []string{namespace, ledger.Namespace} {
		if _, err := w.user.CoreV1().Namespaces().Create(w.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			w.Fatal(err)
		}
	}
	w.addNode()
	w.addNode()
	machine := w.cloud.AddInstance(simulator.NewServer{Label: "another cluster's"})
	id := w.existing("another cluster's", 31999, machine).ID
	w.foreign[id] = *w.look().balancers[id]
	t.Cleanup(func() {
		for _, p := range w.processes {
			p.stop()
		}
	})
	return w
}

// existing adds an active load balancer that somebody made, with one rule from port 8080 to a node port.
func (w *world) existing(label string, nodePort int, backends ...string) vultr.LoadBalancer {
	w.Helper()
	rules := []vultr.ForwardingRule{{FrontendProtocol: "tcp", FrontendPort: 8080, BackendProtocol: "tcp", BackendPort: nodePort}}
	lb, err := w.api.CreateLoadBalancer(w.Context(), region, vultr.LoadBalancerSettings{Label: &label, Rules: &rules, Instances: &backends})
	if err != nil {
		w.Fatal(err)
	}
	for !lb.Active() || lb.IPv4 == "" {
		time.Sleep(time.Second) // of fake time, in which it is made
		if lb, err = w.api.LoadBalancer(w.Context(), lb.ID); err != nil {
			w.Fatal(err)
		}
	}
	return lb
}

// addNode adds an instance and its Node.
func (w *world) addNode() *v1.Node {
	w.Helper()
	w.machines++
	name := fmt.Sprintf("node-%d", w.machines)
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelTopologyRegion: region}},
		Spec:       v1.NodeSpec{ProviderID: "vultr://" + w.cloud.AddInstance(simulator.NewServer{Label: name})},
		Status:     v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}
	node, err := w.user.CoreV1().Nodes().Create(w.Context(), node, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return node
}

// editNode changes a Node.
func (w *world) editNode(name string, change func(*v1.Node)) {
	w.Helper()
	w.again(func() error {
		node, err := w.user.CoreV1().Nodes().Get(w.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(node)
		_, err = w.user.CoreV1().Nodes().Update(w.Context(), node, metav1.UpdateOptions{})
		return err
	})
}

func ready(is bool) func(*v1.Node) {
	return func(n *v1.Node) {
		n.Status.Conditions[0].Status = v1.ConditionFalse
		if is {
			n.Status.Conditions[0].Status = v1.ConditionTrue
		}
	}
}

// again does what somebody else's write may get in the way of.
func (w *world) again(do func() error) {
	w.Helper()
	for {
		err := do()
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			w.Fatal(err)
		}
	}
}

// nodePort returns one that nobody has.
func (w *world) nodePort() int32 {
	w.ports++
	return int32(30000 + w.ports)
}

// port is a port of a Service.
func (w *world) port(number int32) v1.ServicePort {
	return v1.ServicePort{Name: "p" + strconv.Itoa(int(number)), Port: number, NodePort: w.nodePort(), Protocol: v1.ProtocolTCP}
}

// service adds a Service of type LoadBalancer.
func (w *world) service(name string, change ...func(*v1.Service)) *v1.Service {
	w.Helper()
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{}},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{w.port(80)}},
	}
	for _, c := range change {
		c(s)
	}
	s, err := w.user.CoreV1().Services(namespace).Create(w.Context(), s, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func with(key settings.Key, value string) func(*v1.Service) {
	return func(s *v1.Service) { metav1.SetMetaDataAnnotation(&s.ObjectMeta, string(key), value) }
}

func without(keys ...settings.Key) func(*v1.Service) {
	return func(s *v1.Service) {
		for _, key := range keys {
			delete(s.Annotations, string(key))
		}
	}
}

// edit changes a Service as its owner does.
func (w *world) edit(name string, change ...func(*v1.Service)) {
	w.Helper()
	w.again(func() error {
		s, err := w.user.CoreV1().Services(namespace).Get(w.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range change {
			c(s)
		}
		_, err = w.user.CoreV1().Services(namespace).Update(w.Context(), s, metav1.UpdateOptions{})
		return err
	})
}

// remove deletes a Service as kubectl does.
func (w *world) remove(name string) {
	w.Helper()
	if err := w.user.CoreV1().Services(namespace).Delete(w.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// services returns all, in the order in which they were made.
func (w *world) services() []*v1.Service {
	w.Helper()
	list, err := w.user.CoreV1().Services(metav1.NamespaceAll).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	all := make([]*v1.Service, 0, len(list.Items))
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	slices.SortFunc(all, func(a, b *v1.Service) int { return strings.Compare(string(a.UID), string(b.UID)) })
	return all
}

// entries returns what is written down, by the Services' UIDs.
func (w *world) entries() map[types.UID]ledger.Entry {
	w.Helper()
	list, err := w.user.CoreV1().ConfigMaps(ledger.Namespace).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	entries := map[types.UID]ledger.Entry{}
	for _, shard := range list.Items {
		for key, text := range shard.Data {
			if !strings.HasPrefix(shard.Name, ledger.Prefix) || key == "writer" { // the mark of the last write
				continue
			}
			var entry ledger.Entry
			if err := json.Unmarshal([]byte(text), &entry); err != nil {
				w.Fatalf("entry %s: %v", key, err)
			}
			entries[types.UID(key)] = entry
		}
	}
	return entries
}

// pass lets time go by. Who was killed meanwhile gets a successor.
func (w *world) pass(d time.Duration) {
	for end := time.Now().Add(d); ; {
		w.tend()
		left := time.Until(end)
		if left <= 0 {
			return
		}
		piece := time.Minute
		if w.strike.isArmed() || w.lead != nil && w.lead.dead.Load() {
			piece = time.Second // somebody may be killed, or is to have a successor
		}
		time.Sleep(min(left, piece)) // of fake time, in which things happen
		synctest.Wait()
	}
}

// tend starts a new process in the place of one that was killed.
func (w *world) tend() {
	if w.lead == nil || !w.lead.dead.Load() || time.Now().Before(w.restart) {
		return
	}
	if w.restart.IsZero() {
		time.Sleep(restartAfter) // of fake time, in which nobody leads
	}
	w.restart = time.Time{}
	w.lead.stop()
	w.start()
}

// until waits until something is so, and reports whether that came about.
func (w *world) until(limit time.Duration, is func() bool) bool {
	pause := time.Second
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if is() {
			return true
		}
		w.pass(pause)
		pause = min(pause*5/4, 15*time.Second)
	}
	return is()
}

// tell keeps what happened.
func (w *world) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.course = append(w.course, fmt.Sprintf("%8.1f s ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// lastMoments returns what happened last.
func (w *world) lastMoments() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.course[max(0, len(w.course)-400):])
}

// lastEvents returns the last Events.
func (w *world) lastEvents() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.events[max(0, len(w.events)-30):], "\n")
}
