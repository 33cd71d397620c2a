package recovery_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/breaker"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	idA = "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60"
	idB = "bbbbbbbb-66fd-4dfb-b839-443f2e6c0b60"
)

// proof is a little more than it takes until the destroyed instance of a Node that is not ready is proven gone.
const proof = 23 * time.Second

// account is the cloud as a key sees it. Real HTTP has no place under a fake clock.
type account struct {
	mu        sync.Mutex
	instances map[string]vultr.Instance
	fails     error
	failGets  error
	looks     int
	lists     int
	listed    func() []vultr.Instance // what lists show, if it is something else
	last      vultr.List[vultr.Instance]
}

func (a *account) Instance(_ context.Context, id string) (vultr.Instance, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	if a.fails != nil {
		return vultr.Instance{}, a.fails
	}
	if a.failGets != nil {
		return vultr.Instance{}, a.failGets
	}
	instance, there := a.instances[id]
	if !there {
		return vultr.Instance{}, &vultr.Error{Op: "get instance", Resource: id, Status: http.StatusNotFound, Message: "Invalid instance-id."}
	}
	return instance, nil
}

// Instances shares lists by age, as the client does.
func (a *account) Instances(_ context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if maxAge > 0 && !a.last.Began.IsZero() && time.Since(a.last.Began) <= maxAge {
		return a.last, nil
	}
	a.lists++
	if a.fails != nil {
		return vultr.List[vultr.Instance]{}, a.fails
	}
	items := slices.Collect(maps.Values(a.instances))
	if a.listed != nil {
		items = a.listed()
	}
	a.last = vultr.List[vultr.Instance]{Items: items, Began: time.Now()}
	return a.last, nil
}

// looked returns how often instances were asked for by their IDs.
func (a *account) looked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.looks
}

func (a *account) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// lister reads the cluster as it is.
type lister struct{ client kubernetes.Interface }

func (l lister) List(labels.Selector) ([]*v1.Node, error) {
	list, err := l.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	nodes := make([]*v1.Node, 0, len(list.Items))
	for i := range list.Items {
		nodes = append(nodes, &list.Items[i])
	}
	return nodes, nil
}

func (l lister) Get(name string) (*v1.Node, error) {
	return l.client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{})
}

// scene is a cluster of the nodes a and b, whose controller runs.
type scene struct {
	*testing.T
	cloud      *account
	client     *fake.Clientset
	recorder   *record.FakeRecorder
	departures *recovery.Departures
	prober     *recovery.Prober
	roster     *roster.Roster
	stop       context.CancelFunc // ends the controller
}

func newScene(t *testing.T, objects ...runtime.Object) *scene {
	t.Helper()
	s := bareScene(t, objects...)
	s.start()
	return s
}

// bareScene is one whose controller does not run.
func bareScene(t *testing.T, objects ...runtime.Object) *scene {
	t.Helper()
	s := &scene{
		T:     t,
		cloud: &account{instances: map[string]vultr.Instance{idA: {ID: idA, PowerStatus: "running"}, idB: {ID: idB, PowerStatus: "running"}}},

		client:   fake.NewSimpleClientset(append(objects, node("a", idA), node("b", idB))...),
		recorder: record.NewFakeRecorder(1000),
	}
	return s
}

// start begins a new process.
func (s *scene) start() { s.startOn(s.cloud) }

// startOn begins a new process that sees the cloud in its own way.
func (s *scene) startOn(cloud api) {
	if s.stop != nil {
		s.stop()
	}
	ctx, stop := context.WithCancel(klog.NewContext(s.Context(), logr.Discard()))
	s.stop = stop
	s.prober = s.newProber(cloud)
	controller := recovery.NewController(s.client, lister{s.client}, func() bool { return true }, s.prober, s.recorder)
	s.departures = recovery.NewDepartures(s.prober, s.client, controller.Running)
	go controller.Run(ctx)
	synctest.Wait()
}

// startWithoutController begins a process that marks nothing.
func (s *scene) startWithoutController() {
	s.prober = s.newProber(s.cloud)
	s.departures = recovery.NewDepartures(s.prober, s.client, func() bool { return false })
}

// api is a cloud as a Prober uses it.
type api interface {
	recovery.API
	roster.API
}

func (s *scene) newProber(cloud api) *recovery.Prober {
	s.roster = roster.New(cloud)
	return recovery.NewProber(cloud, s.roster, lister{s.client}, breaker.New(breaker.DefaultLimit))
}

func node(name, id string) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)},
		Spec:       v1.NodeSpec{ProviderID: "vultr://" + id, Taints: []v1.Taint{{Key: "own", Effect: v1.TaintEffectNoSchedule}}},
		Status:     v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}
}

func (s *scene) node(name string) *v1.Node {
	s.Helper()
	n, err := lister{s.client}.Get(name)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *scene) ready(name string, status v1.ConditionStatus) {
	s.Helper()
	n := s.node(name)
	n.Status.Conditions[0].Status = status
	n.Status.Conditions[0].LastTransitionTime = metav1.Now()
	if _, err := s.client.CoreV1().Nodes().Update(s.Context(), n, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// compared has the Nodes' addresses compared with a list, as it is done every five minutes.
func (s *scene) compared() {
	s.Helper()
	if _, err := s.roster.Instances(s.Context(), 0); err != nil {
		s.Fatal(err)
	}
}

// boots is the first report of a's kubelet after the machine's kernel has started.
func (s *scene) boots(id string) {
	s.Helper()
	s.update("a", func(n *v1.Node) { n.Status.NodeInfo.BootID = id })
	after(2 * time.Second)
}

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d) // the fake clock's
	synctest.Wait()
}

func (s *scene) marked(name string) bool { return outofservice.Marked(s.node(name)) }

func (s *scene) departed(name string) bool {
	s.Helper()
	departed, err := s.departures.Departed(s.Context(), s.node(name))
	if err != nil {
		s.Logf("departed: %v", err)
	}
	return departed
}

func pod(name string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: v1.PodSpec{NodeName: "a"}, Status: v1.PodStatus{Phase: v1.PodRunning}}
	for _, c := range change {
		c(p)
	}
	return p
}

func attachment(name, nodeName string) *storagev1.VolumeAttachment {
	return &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.VolumeAttachmentSpec{NodeName: nodeName}}
}

func (s *scene) remove(kind string, object runtime.Object) {
	s.Helper()
	var err error
	switch o := object.(type) {
	case *v1.Pod:
		err = s.client.CoreV1().Pods(o.Namespace).Delete(s.Context(), o.Name, metav1.DeleteOptions{})
	case *storagev1.VolumeAttachment:
		err = s.client.StorageV1().VolumeAttachments().Delete(s.Context(), o.Name, metav1.DeleteOptions{})
	}
	if err != nil {
		s.Fatalf("%s: %v", kind, err)
	}
}

func (s *scene) wantEvents(reasons ...string) {
	s.Helper()
	var got []string
	for len(s.recorder.Events) > 0 {
		got = append(got, strings.Fields(<-s.recorder.Events)[1])
	}
	if !slices.Equal(got, reasons) {
		s.Errorf("events %v, want %v", got, reasons)
	}
}
