package recovery_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
)

func TestHeldNoLongerThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, pod("stuck"))
		delete(s.cloud.instances, idA)
		s.ready("a", v1.ConditionUnknown)
		after(proof)
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
		s.ready("a", v1.ConditionUnknown)
		after(proof + recovery.HoldLimit)
		s.start()
		if s.departed("a") {
			t.Error("a new process has proven nothing yet")
		}
		after(proof)
		if !s.departed("a") {
			t.Error("the limit must count from the mark")
		}
	})
}

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
				after(proof)
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
		s := bareScene(t, pod("p"))
		delete(s.cloud.instances, idA)
		s.ready("a", v1.ConditionUnknown)
		s.startWithoutController()
		if s.departed("a") {
			t.Error("one look proves nothing")
		}
		for range 3 { // as the library asks
			after(5 * time.Second)
			if s.departed("a") {
				t.Error("too soon for a third look")
			}
		}
		after(5 * time.Second)
		if !s.departed("a") {
			t.Error("proven")
		}
	})
}
