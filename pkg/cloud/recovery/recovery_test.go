package recovery_test

import (
	"context"
	"errors"
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

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/balancer"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	idA = "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60"
	idB = "bbbbbbbb-66fd-4dfb-b839-443f2e6c0b60"
)

// account is the cloud as a key sees it. Real HTTP has no place under a fake clock.
type account struct {
	mu        sync.Mutex
	instances map[string]vultr.Instance
	fails     error
	looks     int
}

func (a *account) Instance(_ context.Context, id string) (vultr.Instance, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	if a.fails != nil {
		return vultr.Instance{}, a.fails
	}
	instance, there := a.instances[id]
	if !there {
		return vultr.Instance{}, &vultr.Error{Op: "get instance", Resource: id, Status: http.StatusNotFound, Message: "Invalid instance-id."}
	}
	return instance, nil
}

func (a *account) Instances(context.Context, time.Duration) (vultr.List[vultr.Instance], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return vultr.List[vultr.Instance]{Items: slices.Collect(maps.Values(a.instances)), Began: time.Now()}, a.fails
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
func (s *scene) start() {
	prober := recovery.NewProber(s.cloud, lister{s.client})
	s.departures = recovery.NewDepartures(prober, s.client, true)
	controller := recovery.NewController(s.client, lister{s.client}, func() bool { return true }, prober, s.recorder)
	go controller.Run(klog.NewContext(s.Context(), logr.Discard()))
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
	if _, err := s.client.CoreV1().Nodes().Update(s.Context(), n, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d) // the fake clock's
	synctest.Wait()
}

func (s *scene) marked(name string) bool { return balancer.IsDeleted(s.node(name)) }

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

func TestDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, pod("db-0"), attachment("va-1", "a"), attachment("va-2", "b"))
		after(time.Minute)
		if s.cloud.looks != 0 {
			t.Errorf("%d looks at instances of nodes that are ready", s.cloud.looks)
		}
		delete(s.cloud.instances, idA)
		after(50 * time.Second)
		if s.marked("a") {
			t.Fatal("marked while the node is ready")
		}
		s.ready("a", v1.ConditionUnknown)
		after(2 * time.Second)
		if s.marked("a") || s.departed("a") {
			t.Error("one look proves nothing")
		}
		after(6 * time.Second)
		if !s.marked("a") || s.marked("b") {
			t.Errorf("marked: a %v, b %v", s.marked("a"), s.marked("b"))
		}
		taints := s.node("a").Spec.Taints
		if mark := taints[len(taints)-1]; len(taints) != 2 || mark.Effect != v1.TaintEffectNoExecute || mark.Key != "node.kubernetes.io/out-of-service" || mark.Value != "instance-deleted" || mark.TimeAdded == nil {
			t.Errorf("taints %+v", taints)
		}
		if s.departed("a") {
			t.Error("the node must stay while its pod is there")
		}
		s.remove("pods", pod("db-0"))
		if s.departed("a") {
			t.Error("the node must stay while its disk is attached")
		}
		s.remove("volumeattachments", attachment("va-1", "a"))
		if !s.departed("a") {
			t.Error("nothing speaks against deleting the node")
		}
		if s.departed("b") {
			t.Error("the other node is well")
		}
		s.wantEvents("InstanceDeleted")
	})
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

func TestHeldNoLongerThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, pod("stuck"))
		delete(s.cloud.instances, idA)
		s.ready("a", v1.ConditionFalse)
		after(10 * time.Second)
		if !s.marked("a") || s.departed("a") {
			t.Fatal("it must be marked and held")
		}
		after(recovery.HoldLimit - 20*time.Second)
		if s.departed("a") {
			t.Error("held too short")
		}
		after(20 * time.Second)
		if !s.departed("a") {
			t.Error("held for ever")
		}
	})
}

// A process that takes over counts from the mark, not from its own proof.
func TestLimitSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, pod("stuck"))
		delete(s.cloud.instances, idA)
		s.ready("a", v1.ConditionFalse)
		after(recovery.HoldLimit)
		s.start()
		if s.departed("a") {
			t.Error("a new process has proven nothing yet")
		}
		after(8 * time.Second)
		if !s.departed("a") {
			t.Error("the limit must count from the mark")
		}
	})
}

// Nothing but a 404 for that very ID is a proof.
func TestNeverWithoutProof(t *testing.T) {
	tests := map[string]func(*account){
		"stopped":       func(a *account) { a.instances[idA] = vultr.Instance{ID: idA, PowerStatus: "stopped", Status: "active"} },
		"suspended":     func(a *account) { a.instances[idA] = vultr.Instance{ID: idA, Status: "suspended"} },
		"unreachable":   func(*account) {},
		"API down":      func(a *account) { a.fails = &vultr.Error{Op: "get instance", Err: errors.New("connection refused")} },
		"500":           func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 500} },
		"wrong key":     func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 401} },
		"rate limit":    func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 429} },
		"no such route": func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 404, Message: "Not found."} },
		"bad ID": func(a *account) {
			a.fails = &vultr.Error{Op: "get instance", Status: 400, Message: "Invalid UUID format."}
		},
		"other account":  func(a *account) { clear(a.instances) },
		"everyone's key": func(a *account) { clear(a.instances); a.instances["x"] = vultr.Instance{ID: "x"} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				change(s.cloud)
				s.ready("a", v1.ConditionUnknown)
				s.ready("b", v1.ConditionUnknown)
				for range 60 {
					after(10 * time.Second)
					if s.marked("a") || s.marked("b") || s.departed("a") || s.departed("b") {
						t.Fatal("concluded from no proof")
					}
				}
				if s.cloud.looks > 400 { // departed above makes 120 of them itself
					t.Errorf("%d looks in ten minutes", s.cloud.looks)
				}
			})
		})
	}
}

func TestNoWitnessIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		clear(s.cloud.instances)
		s.ready("a", v1.ConditionUnknown)
		after(10 * time.Minute)
		s.wantEvents("InstanceNotSeen")
	})
}

func TestFoundAgain(t *testing.T) {
	gone := func(t *testing.T) *scene {
		s := newScene(t)
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		after(3 * time.Second)
		return s
	}
	t.Run("between the looks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := gone(t)
			s.cloud.set(func() { s.cloud.instances[idA] = vultr.Instance{ID: idA} })
			after(40 * time.Second)
			s.cloud.set(func() { delete(s.cloud.instances, idA) })
			if s.marked("a") || s.departed("a") {
				t.Error("the first look must not count any more")
			}
		})
	})
	t.Run("after the mark", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := gone(t)
			after(10 * time.Second)
			if !s.marked("a") {
				t.Fatal("not marked")
			}
			s.cloud.set(func() { s.cloud.instances[idA] = vultr.Instance{ID: idA} })
			after(40 * time.Second)
			if s.marked("a") || len(s.node("a").Spec.Taints) != 1 {
				t.Errorf("taints %+v", s.node("a").Spec.Taints)
			}
			s.wantEvents("InstanceDeleted", "InstanceFound")
		})
	})
	t.Run("the node reports again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := gone(t)
			after(10 * time.Second)
			s.ready("a", v1.ConditionTrue)
			after(2 * time.Second)
			if s.marked("a") {
				t.Error("a machine that reports is not gone")
			}
		})
	})
}

// A machine that was replaced under its old name must not get the mark of the dead one.
func TestReplacedUnderTheSameName(t *testing.T) {
	for name, change := range map[string]func(*v1.Node){
		"new Node":     func(n *v1.Node) { n.UID = "uid-new" },
		"new instance": func(n *v1.Node) { n.Spec.ProviderID = "vultr://" + idB },
		"ready":        func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionTrue },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := bareScene(t)
				delete(s.cloud.instances, idA)
				s.ready("a", v1.ConditionUnknown)
				stale := s.node("a")
				// The informer shows the old Node for ever; the API server knows the new one.
				prober := recovery.NewProber(s.cloud, lister{s.client})
				controller := recovery.NewController(s.client, fixed{stale, s.node("b")}, func() bool { return true }, prober, s.recorder)
				fresh := stale.DeepCopy()
				change(fresh)
				if err := s.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("nodes"), fresh, ""); err != nil {
					t.Fatal(err)
				}
				s.cloud.set(func() { s.cloud.looks = 0 })
				go controller.Run(klog.NewContext(t.Context(), logr.Discard()))
				after(20 * time.Second)
				if s.cloud.looks < 2 {
					t.Fatalf("only %d looks", s.cloud.looks)
				}
				if s.marked("a") {
					t.Error("marked")
				}
			})
		})
	}
}

type fixed []*v1.Node

func (f fixed) List(labels.Selector) ([]*v1.Node, error) { return f, nil }
func (f fixed) Get(string) (*v1.Node, error)             { return f[0], nil }

func TestWhatHoldsANode(t *testing.T) {
	daemon := func(p *v1.Pod) {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "agent", Controller: &yes}}
	}
	stateful := func(p *v1.Pod) {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "StatefulSet", Name: "db", Controller: &yes}}
	}
	tolerates := func(t v1.Toleration) func(*v1.Pod) {
		return func(p *v1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, t) }
	}
	seconds := int64(300)
	tests := map[string]struct {
		object runtime.Object
		holds  bool
	}{
		"pod":                      {pod("p"), true},
		"of a StatefulSet":         {pod("p", stateful), true},
		"of a DaemonSet":           {pod("p", daemon), false},
		"static":                   {pod("p", func(p *v1.Pod) { p.Annotations = map[string]string{v1.MirrorPodAnnotationKey: "x"} }), false},
		"finished":                 {pod("p", func(p *v1.Pod) { p.Status.Phase = v1.PodSucceeded }), false},
		"of another node":          {pod("p", func(p *v1.Pod) { p.Spec.NodeName = "b" }), false},
		"tolerates everything":     {pod("p", tolerates(v1.Toleration{Operator: v1.TolerationOpExists})), false},
		"tolerates the mark":       {pod("p", tolerates(v1.Toleration{Key: v1.TaintNodeOutOfService, Value: "instance-deleted", Effect: v1.TaintEffectNoExecute})), false},
		"tolerates it for a while": {pod("p", tolerates(v1.Toleration{Key: v1.TaintNodeOutOfService, Operator: v1.TolerationOpExists, TolerationSeconds: &seconds})), true},
		"tolerates another value":  {pod("p", tolerates(v1.Toleration{Key: v1.TaintNodeOutOfService, Value: "other"})), true},
		"tolerates not-ready":      {pod("p", tolerates(v1.Toleration{Key: v1.TaintNodeNotReady, Operator: v1.TolerationOpExists})), true},
		"tolerates no schedule":    {pod("p", tolerates(v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoSchedule})), true},
		"disk":                     {attachment("v", "a"), true},
		"disk of another node":     {attachment("v", "b"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, tt.object)
				delete(s.cloud.instances, idA)
				s.ready("a", v1.ConditionUnknown)
				after(10 * time.Second)
				if got := !s.departed("a"); got != tt.holds {
					t.Errorf("holds: %v", got)
				}
			})
		})
	}
}

// With fast recovery off a Node is deleted after the proof alone.
func TestWithoutHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{T: t, cloud: &account{instances: map[string]vultr.Instance{idB: {ID: idB}}}}
		s.client = fake.NewSimpleClientset(node("a", idA), node("b", idB), pod("p"))
		prober := recovery.NewProber(s.cloud, lister{s.client})
		s.departures = recovery.NewDepartures(prober, s.client, false)
		if s.departed("a") {
			t.Error("one look proves nothing")
		}
		after(4 * time.Second)
		if s.departed("a") {
			t.Error("too soon for a second look")
		}
		after(2 * time.Second)
		if !s.departed("a") {
			t.Error("proven")
		}
	})
}

// cachedAccount answers from a list of before if that is new enough for the caller, as the client does.
type cachedAccount struct {
	*account
	before vultr.List[vultr.Instance]
}

func (c cachedAccount) Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	if time.Since(c.before.Began) <= maxAge && maxAge > 0 {
		return c.before, nil
	}
	return c.account.Instances(ctx, maxAge)
}

// A key of another account answers 404 for everything, and a list of before must not vouch for it.
func TestListOfBeforeIsNoWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		list, err := s.cloud.Instances(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		prober := recovery.NewProber(cachedAccount{s.cloud, list}, lister{s.client})
		s.cloud.set(func() { clear(s.cloud.instances) })
		for range 3 {
			after(10 * time.Second)
			if presence, _, err := prober.Look(t.Context(), s.node("a")); !errors.Is(err, recovery.ErrNoWitness) {
				t.Fatalf("got %v, %v", presence, err)
			}
		}
	})
}
