package recovery_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The API server admits one taint of a key and an effect. Where an administrator has put one, pods leave for it.
func TestTaintOfAnAdministrator(t *testing.T) {
	theirs := v1.Taint{Key: v1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: v1.TaintEffectNoExecute}
	tests := map[string]struct {
		taint  v1.Taint
		object runtime.Object
		ours   bool
		held   bool
	}{
		"pod":                        {theirs, pod("p"), false, true},
		"nothing":                    {theirs, nil, false, false},
		"pod that tolerates theirs":  {theirs, pod("p", tolerating("nodeshutdown")), false, false},
		"pod that tolerates ours":    {theirs, pod("p", tolerating("instance-deleted")), false, true},
		"theirs with another effect": {v1.Taint{Key: v1.TaintNodeOutOfService, Effect: v1.TaintEffectNoSchedule}, pod("p"), true, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var objects []runtime.Object
				if tt.object != nil {
					objects = append(objects, tt.object)
				}
				s := newScene(t, objects...)
				s.admitOneOfAKind()
				s.update("a", func(n *v1.Node) { n.Spec.Taints = append(n.Spec.Taints, tt.taint) })
				s.cloud.set(func() { delete(s.cloud.instances, idA) })
				s.ready("a", v1.ConditionUnknown)
				after(proof)
				if s.marked("a") != tt.ours {
					t.Errorf("marked: %v", s.marked("a"))
				}
				if got := !s.departed("a"); got != tt.held {
					t.Errorf("held: %v", got)
				}
				s.cloud.set(func() { s.cloud.instances[idA] = vultr.Instance{ID: idA} })
				after(time.Minute)
				if taints := s.node("a").Spec.Taints; len(taints) != 2 || taints[1] != tt.taint {
					t.Errorf("theirs must stay, ours must go: %+v", taints)
				}
			})
		})
	}
}

func tolerating(value string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.Tolerations = []v1.Toleration{{Key: v1.TaintNodeOutOfService, Value: value, Effect: v1.TaintEffectNoExecute}}
	}
}

// admitOneOfAKind refuses what the API server refuses: two taints of one key and effect.
func (s *scene) admitOneOfAKind() {
	s.client.PrependReactor("patch", "nodes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		n, err := patched(action)
		if err != nil {
			return true, nil, err
		}
		seen := map[[2]string]bool{}
		for _, taint := range n.Spec.Taints {
			kind := [2]string{taint.Key, string(taint.Effect)}
			if seen[kind] {
				s.Errorf("two taints of one kind: %+v", n.Spec.Taints)
			}
			seen[kind] = true
		}
		return false, nil, nil
	})
}

// patched returns what a patch writes.
func patched(action clienttesting.Action) (*v1.Node, error) {
	patch, ok := action.(clienttesting.PatchAction)
	if !ok {
		return nil, fmt.Errorf("%T is no patch", action)
	}
	n := &v1.Node{}
	return n, json.Unmarshal(patch.GetPatch(), n)
}

// The library's own switch leaves the controller out. Nobody marks then, and nothing is worth waiting for.
func TestControllerThatDoesNotRunHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, pod("p"))
		s.stop()
		after(2 * time.Second)
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		if s.departed("a") {
			t.Fatal("one look proves nothing")
		}
		for range 3 {
			after(5 * time.Second)
			if s.departed("a") {
				t.Error("too soon")
			}
		}
		after(5 * time.Second)
		if !s.departed("a") {
			t.Error("held")
		}
	})
}

// What the decision rests on is checked once more before the Node is deleted, which the library does by its name.
func TestCheckedRightBeforeTheDeletion(t *testing.T) {
	tests := map[string]func(*scene){
		"new Node":     func(s *scene) { s.swap(func(n *v1.Node) { n.UID = "uid-new" }) },
		"new instance": func(s *scene) { s.swap(func(n *v1.Node) { n.Spec.ProviderID = "vultr://" + idNew }) },
		"ready":        func(s *scene) { s.swap(func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionTrue }) },
		"reporting":    func(s *scene) { s.swap(func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionFalse }) },
		"no more": func(s *scene) {
			if err := s.client.CoreV1().Nodes().Delete(s.Context(), "a", metav1.DeleteOptions{}); err != nil {
				s.Fatal(err)
			}
		},
		"instance found": func(s *scene) { s.cloud.set(func() { s.cloud.instances[idA] = vultr.Instance{ID: idA} }) },
		"API away":       func(s *scene) { s.cloud.set(func() { s.cloud.failGets = &vultr.Error{Status: 500} }) },
		"twin": func(s *scene) {
			s.cloud.set(func() { s.cloud.instances[idNew] = vultr.Instance{ID: idNew, Label: "a"} })
		},
		"no witness": func(s *scene) { s.cloud.set(func() { clear(s.cloud.instances) }) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				s.cloud.set(func() { delete(s.cloud.instances, idA) })
				s.ready("a", v1.ConditionUnknown)
				after(proof)
				stale := s.node("a")
				if !s.marked("a") || !s.departed("a") {
					t.Fatal("it should be gone")
				}
				after(2 * time.Second)
				change(s)
				if departed, err := s.departures.Departed(t.Context(), stale); departed {
					t.Errorf("departed, %v", err)
				}
			})
		})
	}
}

// swap changes the Node behind everybody's back.
func (s *scene) swap(change func(*v1.Node)) {
	s.Helper()
	n := s.node("a").DeepCopy()
	change(n)
	if err := s.client.Tracker().Update(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, n, ""); err != nil {
		s.Fatal(err)
	}
}

// The patch names the very Node that was decided about, so that the API server refuses it for any other.
func TestPreconditionsOfThePatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.swap(func(n *v1.Node) { n.ResourceVersion = "41" })
		patches := 0
		s.client.PrependReactor("patch", "nodes", func(action clienttesting.Action) (bool, runtime.Object, error) {
			n, err := patched(action)
			if err != nil {
				return true, nil, err
			}
			if n.UID != "uid-a" || n.ResourceVersion != "42" {
				t.Errorf("uid %q, resourceVersion %q", n.UID, n.ResourceVersion)
			}
			patches++
			return false, nil, nil
		})
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		s.swap(func(n *v1.Node) { n.ResourceVersion = "42" })
		after(proof)
		if patches != 1 {
			t.Errorf("%d patches", patches)
		}
	})
}
