package recovery_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const idNew = "cccccccc-66fd-4dfb-b839-443f2e6c0b60"

// update changes a Node.
func (s *scene) update(name string, change func(*v1.Node)) {
	s.Helper()
	n := s.node(name)
	change(n)
	if _, err := s.client.CoreV1().Nodes().Update(s.Context(), n, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// heartbeat is the last report of a's kubelet.
func (s *scene) heartbeat(at time.Time) {
	s.Helper()
	s.update("a", func(n *v1.Node) { n.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(at) })
}

// A machine that was destroyed while its Node was held, and made again under its name, registers as the old Node and
// keeps the provider ID of the dead one. When it has a problem it must not be declared dead: its disks are mounted.
func TestReplacedMachineRunsOnTheOldNode(t *testing.T) {
	addresses := func(list ...v1.NodeAddress) func(*v1.Node) {
		return func(n *v1.Node) { n.Status.Addresses = list }
	}
	none := func(*v1.Node) {}
	tests := map[string]struct {
		node func(*v1.Node)
		twin vultr.Instance
		want bool // a twin
	}{
		"label":               {none, vultr.Instance{Label: "a"}, true},
		"label in upper case": {none, vultr.Instance{Label: "A"}, true},
		"label with domain":   {none, vultr.Instance{Label: "a.example.com"}, true},
		"host name":           {none, vultr.Instance{Label: "x", Hostname: "A"}, true},
		"bare metal":          {none, vultr.Instance{Label: "a", Kind: vultr.KindBareMetal}, true},
		"stopped":             {none, vultr.Instance{Label: "a", PowerStatus: "stopped"}, true},
		"host name label":     {func(n *v1.Node) { n.Labels = map[string]string{v1.LabelHostname: "host-a"} }, vultr.Instance{Hostname: "host-a"}, true},
		"reported host name":  {addresses(v1.NodeAddress{Type: v1.NodeHostName, Address: "host-a"}), vultr.Instance{Hostname: "host-a"}, true},
		"public address":      {addresses(v1.NodeAddress{Type: v1.NodeExternalIP, Address: "192.0.2.7"}), vultr.Instance{MainIP: "192.0.2.7"}, true},
		"private address":     {addresses(v1.NodeAddress{Type: v1.NodeInternalIP, Address: "10.1.0.7"}), vultr.Instance{InternalIP: "10.1.0.7", VPCs: []string{"ours"}}, true},
		"private address elsewhere": {
			addresses(v1.NodeAddress{Type: v1.NodeInternalIP, Address: "10.1.0.7"}), vultr.Instance{InternalIP: "10.1.0.7", VPCs: []string{"other"}}, false,
		},
		"stranger": {none, vultr.Instance{Label: "other", Hostname: "other", MainIP: "192.0.2.8"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, attachment("va", "a"))
				s.update("a", tt.node)
				s.cloud.set(func() {
					delete(s.cloud.instances, idA)
					twin := tt.twin
					twin.ID, twin.Created = idNew, time.Now()
					s.cloud.instances[idNew] = twin
					s.cloud.instances[idB] = vultr.Instance{ID: idB, VPCs: []string{"ours"}}
				})
				after(3 * time.Minute)
				s.heartbeat(time.Now()) // of the new machine
				after(time.Minute)
				s.ready("a", v1.ConditionUnknown)
				after(proof)
				if s.marked("a") == tt.want {
					t.Fatalf("marked: %v", s.marked("a"))
				}
				if !tt.want {
					return
				}
				for range 10 {
					after(time.Minute)
					if s.marked("a") || s.departed("a") {
						t.Fatal("a machine that may be running was declared dead")
					}
				}
				s.wantEvents(match.StaleProviderID)
			})
		})
	}
}

// While the new machine has never reported as the old Node, that Node is the old machine's alone: it is deleted, so that
// the new one registers anew.
func TestReplacedMachineHasNotReportedYet(t *testing.T) {
	tests := map[string]struct {
		before func(*scene) // in the time of the old machine, which has been a's for an hour
		after  func(*scene) // in that of the new one
		want   bool
	}{
		"made after a list":      {(*scene).compared, nil, true},
		"listed when it is made": {nil, nil, false},
		"there before": {func(s *scene) {
			s.cloud.set(func() { s.cloud.instances[idNew] = vultr.Instance{ID: idNew, Label: "a"} })
			s.compared()
		}, nil, false},
		"there before, in a list that lagged": {func(s *scene) {
			s.boots("new")
			after(2 * time.Minute)
			s.compared()
		}, nil, false},
		"just lagging no more": {func(s *scene) {
			s.boots("old too")
			after(150 * time.Second)
			s.compared()
		}, nil, true},
		"reported": {(*scene).compared, func(s *scene) { s.boots("new") }, false},
		"reported to a process that stopped": {(*scene).compared, func(s *scene) {
			s.boots("new")
			s.start()
		}, false},
		"new process": {func(s *scene) { s.compared(); s.start() }, nil, false},
		"no boot ID":  {func(s *scene) { s.boots(""); after(time.Hour); s.compared() }, nil, false},
		"one kernel for all": {func(s *scene) {
			s.update("b", func(n *v1.Node) { n.Status.NodeInfo.BootID = "old" })
			s.compared()
		}, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, pod("p"), attachment("va", "a"))
				s.boots("old")
				s.update("b", func(n *v1.Node) { n.Status.NodeInfo.BootID = "of b" })
				after(time.Hour)
				if tt.before != nil {
					tt.before(s)
				}
				s.cloud.set(func() {
					delete(s.cloud.instances, idA)
					s.cloud.instances[idNew] = vultr.Instance{ID: idNew, Label: "a"}
				})
				if tt.after != nil {
					tt.after(s)
				}
				s.ready("a", v1.ConditionUnknown)
				after(5*time.Second + proof) // the list may be as old
				if got := s.departed("a"); got != tt.want {
					t.Errorf("departed: %v", got)
				}
				if s.marked("a") {
					t.Error("marked")
				}
			})
		})
	}
}

// A machine whose clock is slow, for example because it has not asked for the time yet, reports heartbeats that look older
// than itself. Clocks prove nothing.
func TestNewMachineWithASlowClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, attachment("va", "a"))
		s.boots("old")
		after(time.Hour)
		s.compared()
		s.cloud.set(func() {
			delete(s.cloud.instances, idA)
			s.cloud.instances[idNew] = vultr.Instance{ID: idNew, Label: "a", PowerStatus: "running", Created: time.Now()}
		})
		after(time.Minute)
		s.boots("new")
		for range 8 { // it reports for eight minutes as Ready
			s.heartbeat(time.Now().Add(-10 * time.Minute))
			s.compared()
			after(time.Minute)
		}
		s.ready("a", v1.ConditionUnknown)
		for range 12 {
			after(10 * time.Second)
			if s.departed("a") || s.marked("a") {
				t.Fatal("the Node of a running machine was declared dead")
			}
		}
		s.wantEvents(match.StaleProviderID)
	})
}

// A second twin that may have reported is enough for a doubt.
func TestEveryTwinCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.boots("old")
		after(time.Hour)
		s.cloud.set(func() { s.cloud.instances["second"] = vultr.Instance{ID: "second", Hostname: "a"} })
		s.compared()
		s.cloud.set(func() {
			delete(s.cloud.instances, idA)
			s.cloud.instances[idNew] = vultr.Instance{ID: idNew, Label: "a"}
		})
		s.ready("a", v1.ConditionUnknown)
		after(time.Minute)
		if s.departed("a") {
			t.Error("departed")
		}
	})
}

// A twin that appears after the mark takes it off, unless the new machine can't have reported as this Node.
func TestTwinAppearsAfterTheMark(t *testing.T) {
	for name, reported := range map[string]bool{"reported": true, "has not reported": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, attachment("va", "a"))
				s.boots("old")
				after(time.Hour)
				s.cloud.set(func() { delete(s.cloud.instances, idA) })
				s.ready("a", v1.ConditionUnknown)
				after(proof)
				if !s.marked("a") {
					t.Fatal("not marked")
				}
				after(30 * time.Second)
				s.cloud.set(func() {
					s.cloud.instances[idNew] = vultr.Instance{ID: idNew, Label: "a"}
				})
				if reported {
					s.boots("new")
				}
				after(40 * time.Second)
				if s.marked("a") == reported {
					t.Errorf("marked: %v", s.marked("a"))
				}
			})
		})
	}
}

// A kubelet that says that it is not ready is alive, whatever its provider ID names.
func TestKubeletThatReportsIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionFalse)
		for range 10 {
			after(time.Minute)
			if s.marked("a") || s.departed("a") {
				t.Fatal("declared dead")
			}
		}
		s.wantEvents(match.StaleProviderID)
		s.ready("a", v1.ConditionUnknown) // the control plane: nothing has been heard for a while
		after(time.Second)
		if s.departed("a") {
			t.Error("what was asked while it reported counts for nothing")
		}
		after(proof)
		if !s.marked("a") {
			t.Error("not marked")
		}
	})
}
