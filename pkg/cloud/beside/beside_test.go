package beside

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
)

const (
	theirs = "vultr/vultr-cloud-controller-manager:v0.18.0"
	ours   = "cloud-provider-vultr/ccm:v1"
)

func spec(name, image string) v1.PodSpec {
	return v1.PodSpec{Containers: []v1.Container{{Name: name, Image: image}}}
}

// daemonSet has one pod, unless a change says otherwise.
func daemonSet(pod v1.PodSpec, changes ...func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "vultr-ccm", Namespace: "kube-system", UID: "set", Generation: 2},
		Spec:       appsv1.DaemonSetSpec{Template: v1.PodTemplateSpec{Spec: pod}},
		Status:     appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 1, CurrentNumberScheduled: 1},
	}
	for _, change := range changes {
		change(d)
	}
	return d
}

func pod(namespace, label string, phase v1.PodPhase, of v1.PodSpec) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "vultr-ccm-x7x2k", Namespace: namespace, UID: "pod", Labels: map[string]string{"app": label}},
		Spec:       of, Status: v1.PodStatus{Phase: phase},
	}
}

// TestWhatRuns: the official manager is known by its DaemonSet, or by the pods that it left behind.
func TestWhatRuns(t *testing.T) {
	official := spec("vultr-cloud-controller-manager", theirs)
	for name, c := range map[string]struct {
		objects []runtime.Object
		want    string
	}{
		"nothing":                    {nil, ""},
		"the DaemonSet":              {[]runtime.Object{daemonSet(official)}, "DaemonSet kube-system/vultr-ccm"},
		"it was made a moment ago":   {[]runtime.Object{daemonSet(official, func(d *appsv1.DaemonSet) { d.Status = appsv1.DaemonSetStatus{} })}, "DaemonSet kube-system/vultr-ccm"},
		"for nodes that are not":     {[]runtime.Object{daemonSet(official, func(d *appsv1.DaemonSet) { d.Status.DesiredNumberScheduled, d.Status.CurrentNumberScheduled = 0, 0 })}, ""},
		"its last pod still ends":    {[]runtime.Object{daemonSet(official, func(d *appsv1.DaemonSet) { d.Status.DesiredNumberScheduled = 0 })}, "DaemonSet kube-system/vultr-ccm"},
		"ours as a DaemonSet":        {[]runtime.Object{daemonSet(spec("vultr-ccm", ours)), pod("kube-system", "vultr-ccm", v1.PodRunning, spec("vultr-ccm", ours))}, ""},
		"a pod that was left behind": {[]runtime.Object{pod("kube-system", "vultr-ccm", v1.PodRunning, official)}, "Pod kube-system/vultr-ccm-x7x2k"},
		"one that waits for a node":  {[]runtime.Object{pod("kube-system", "vultr-ccm", v1.PodPending, official)}, "Pod kube-system/vultr-ccm-x7x2k"},
		"one that has failed":        {[]runtime.Object{pod("kube-system", "vultr-ccm", v1.PodFailed, official)}, ""},
		"one of another name":        {[]runtime.Object{pod("kube-system", "shop", v1.PodRunning, official)}, ""},
		"one of another namespace":   {[]runtime.Object{pod("shop", "vultr-ccm", v1.PodRunning, official)}, ""},
	} {
		recorder := record.NewFakeRecorder(10)
		w := New(fake.NewSimpleClientset(c.objects...), recorder, "node-1")
		w.look(t.Context())
		runs := c.want != ""
		if err := w.Fault(); (err != nil) != runs || runs && !strings.Contains(err.Error(), "("+c.want+")") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		select {
		case <-w.Clear():
			if runs {
				t.Errorf("%s: the way is clear", name)
			}
		default:
			if !runs {
				t.Errorf("%s: the way is not clear", name)
			}
		}
		if told := len(recorder.Events) > 0; told != runs {
			t.Errorf("%s: an Event tells of it: %t", name, told)
		}
	}
}

// failing returns what has requests fail from then on, or succeed.
func failing(client *fake.Clientset) (fail func(error)) {
	var failure error
	client.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return failure != nil, nil, failure })
	return func(err error) { failure = err }
}

// TestAnAPIServerThatIsAway: nothing is known at first, so the way is not clear; later what was known stays so.
func TestAnAPIServerThatIsAway(t *testing.T) {
	client := fake.NewSimpleClientset()
	fail := failing(client)
	w := New(client, record.NewFakeRecorder(10), "node-1")
	fail(errors.New("connection refused"))
	w.look(t.Context())
	if err := w.Fault(); err == nil || !strings.Contains(err.Error(), "not known yet") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nothing is known: %v", err)
	}
	select {
	case <-w.Clear():
		t.Error("the way is clear")
	default:
	}
	for _, runs := range []bool{false, true} {
		if runs {
			if err := client.Tracker().Add(daemonSet(spec("vultr-cloud-controller-manager", theirs))); err != nil {
				t.Fatal(err)
			}
		}
		for _, failure := range []error{nil, errors.New("connection refused")} {
			fail(failure)
			w.look(t.Context())
			if err := w.Fault(); (err != nil) != runs {
				t.Errorf("it runs: %t, API server: %v, got %v", runs, failure, err)
			}
		}
		fail(nil)
	}
}

// TestARightThatIsMissing: a manager whose role is that of an older release works.
func TestARightThatIsMissing(t *testing.T) {
	client := fake.NewSimpleClientset(daemonSet(spec("vultr-cloud-controller-manager", theirs)))
	failing(client)(apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "daemonsets"}, "vultr-ccm", nil))
	w := New(client, record.NewFakeRecorder(10), "node-1")
	w.look(t.Context())
	if err := w.Fault(); err != nil {
		t.Error(err)
	}
	<-w.Clear()
}

// TestTells: it is told once, and again after an hour, and the end is noticed in seconds.
func TestTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, recorder := fake.NewSimpleClientset(daemonSet(spec("vultr-cloud-controller-manager", theirs))), record.NewFakeRecorder(10)
		w := New(client, recorder, "node-1")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{time.Second, 1}, {58 * time.Minute, 0}, {2 * time.Minute, 1}} {
			time.Sleep(c.after) // of the fake clock
			synctest.Wait()
			if n := len(recorder.Events); n != c.want {
				t.Errorf("%d Events after %s more, want %d", n, c.after, c.want)
			}
			for len(recorder.Events) > 0 {
				if event := <-recorder.Events; !strings.HasPrefix(event, "Warning OfficialControllerRuns node-1: the official cloud controller manager runs (DaemonSet kube-system/vultr-ccm)") {
					t.Errorf("told %q", event)
				}
			}
		}
		if err := client.AppsV1().DaemonSets("kube-system").Delete(ctx, "vultr-ccm", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-w.Clear()
		if took := time.Since(began); took > lookAgain {
			t.Errorf("the end was noticed after %s", took)
		}
		asked := len(client.Actions())
		time.Sleep(10 * time.Minute) // of the fake clock
		synctest.Wait()
		if n := (len(client.Actions()) - asked) / 2; n != 10 {
			t.Errorf("%d looks in 10 quiet minutes", n)
		}
		cancel()
		<-ended
	})
}
