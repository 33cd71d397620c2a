package servicelb_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// alsoLocal is local for a Service beside another such one.
func alsoLocal(s *v1.Service) {
	local(s)
	s.Spec.HealthCheckNodePort = 32001
}

func anywhere(s *v1.Service) {
	s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyCluster, 0
}

// pool gives a Node labels for selectors.
func pool(labels map[string]string) func(*v1.Node) {
	return func(n *v1.Node) {
		maps.Copy(n.Labels, labels)
	}
}

// The platform refuses what one of those that share asks for. The backends of all follow the nodes all the same, and what was refused is
// sent as soon as it is taken.
func TestRefusedSettingHoldsUpNoBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		var refuses atomic.Bool
		refuses.Store(true)
		w.startWith(&tapped{API: w.newClient(w.cloud.Key), update: func(_ context.Context, s vultr.LoadBalancerSettings, do func() error) error {
			if refuses.Load() && s.Firewall != nil {
				return &vultr.Error{Op: "change load balancer", Status: http.StatusBadRequest, Message: "Too many firewall rules."}
			}
			return do()
		}})
		_, second, lb := w.pair()
		w.later(time.Minute)
		w.edit(second, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.wantEvent("Too many firewall rules.")
		w.addMachine("node-2")
		w.within(10*time.Minute, "the new node is a backend", w.on(lb.ID, "node-0", "node-1", "node-2"))
		w.editNode("node-0", ready(false))
		w.within(10*time.Minute, "the one that has failed is none any more", w.on(lb.ID, "node-1", "node-2"))
		if now := w.truth(lb.ID); len(now.Firewall) != 0 || leads(now) != "443:30443 80:30080" {
			t.Errorf("%+v", now)
		}
		refuses.Store(false)
		w.within(10*time.Minute, "the ranges are sent", func() bool { return len(w.truth(lb.ID).Firewall) == 3 })
	})
}

// What is wrong with one of those that share has the load balancer looked at with growing pauses. The pods of another one that move are
// not kept waiting for that: the node that they leave is no backend any more as soon as the other one has been tried.
func TestFaultsHoldUpNoMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := w.service("first", www, on(80, 30080), local), w.service("second", www, on(443, 30443))
		w.runs(first, readyOn("node-0"))
		lb := w.share("443:30443 80:30080", first, second)
		w.within(time.Minute, "the node with the pod is the backend", w.on(lb.ID, "node-0"))
		w.edit(second, with(settings.NodeCount, "2"))
		w.wantEvent("SyncLoadBalancerFailed")
		w.later(2 * time.Hour)
		w.runs(first, endingOn("node-0"), readyOn("node-1"))
		w.within(5*time.Second, "both are backends", w.on(lb.ID, "node-0", "node-1"))
		w.within(20*time.Second, "the one whose pod ends is none", w.on(lb.ID, "node-1"))
	})
}

// The backends are nodes that have pods of all that ask for such nodes, whoever is the oldest. Where no node has, those of the
// older one count, and the owner of the younger one is told, once.
func TestGroupFollowsThePodsOfAll(t *testing.T) {
	for name, age := range map[string]time.Duration{"the oldest has policy Cluster": 3 * time.Hour, "the youngest has policy Cluster": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.addMachine("node-2")
				w.addMachine("node-3")
				plain := w.service("plain", www, on(80, 30080), aged(age))
				a := w.service("a", www, on(443, 30443), local, aged(2*time.Hour))
				b := w.service("b", www, on(8443, 31443), alsoLocal, aged(time.Hour))
				w.runs(a, readyOn("node-0"), readyOn("node-1"))
				w.runs(b, readyOn("node-1"), readyOn("node-2"))
				lb := w.share("443:30443 80:30080 8443:31443", plain, a, b)
				w.within(10*time.Second, "the node with pods of both is the backend", w.on(lb.ID, "node-1"))
				w.later(10 * time.Minute)
				if events := w.events(); has(events, "Warning") {
					t.Errorf("events %q", events)
				}
				writes := w.writes()
				w.start()
				w.later(time.Hour)
				if n := w.writes() - writes; n != 0 {
					t.Errorf("%d writes, nothing has changed", n)
				}

				w.runs(b, readyOn("node-3"))
				w.within(10*time.Second, "the older one's nodes are the backends", w.on(lb.ID, "node-0", "node-1"))
				w.wantEvent("LoadBalancerSharedSetting Load balancer " + lb.ID + ", which the Service shares, sends to the nodes of the older Services alone: externalTrafficPolicy Local")
				w.later(20 * time.Minute)
				w.runs(b, readyOn("node-0"), readyOn("node-3"))
				w.within(10*time.Second, "one node has both", w.on(lb.ID, "node-0"))
				w.later(20 * time.Minute)
				w.runs(a)
				w.within(10*time.Second, "who has no pods at all narrows nothing", w.on(lb.ID, "node-0", "node-3"))
				w.later(20 * time.Minute)
				if n := w.writes() - writes; n != 3 {
					t.Errorf("%d writes for three changes", n)
				}
				if events := w.events(); has(events, "LoadBalancerSharedSetting") {
					t.Errorf("it is told again: %q", events)
				}
				w.edit(a, anywhere)
				w.edit(b, anywhere)
				w.within(10*time.Second, "all nodes are", w.on(lb.ID, "node-0", "node-1", "node-2", "node-3"))
			})
		})
	}
}

// The pod of one that shares a load balancer moves, and no connection to it is lost; the others are served by any node, or have
// pods on all.
func TestMovedPodOfAGroupLosesNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addMachine("node-2")
		plain := w.service("plain", www, on(80, 30080), aged(time.Hour))
		s := w.service("moves", www, on(443, 30443), local)
		all := w.service("everywhere", www, on(8443, 31443), alsoLocal)
		w.runs(s, readyOn("node-0"))
		w.runs(all, readyOn("node-0"), readyOn("node-1"), readyOn("node-2"))
		lb := w.share("443:30443 80:30080 8443:31443", plain, s, all)
		w.within(time.Minute, "the node with the pod is the backend", w.on(lb.ID, "node-0"))
		w.later(10 * time.Minute)
		w.moves(s, lb.ID)
	})
}

// A node is a backend if each of those that share the load balancer chooses it. What is wrong with one selector leaves the
// backends as they are, and one that contradicts the older Services' gives way, and is told.
func TestSelectorsOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addMachine("node-2")
		w.editNode("node-0", pool(map[string]string{"pool": "web"}))
		w.editNode("node-1", pool(map[string]string{"pool": "web", "disk": "ssd"}))
		w.editNode("node-2", pool(map[string]string{"disk": "hdd"}))
		a := w.service("a", www, on(80, 30080), with(settings.NodeSelector, "pool=web"), aged(2*time.Hour))
		b := w.service("b", www, on(443, 30443), aged(time.Hour))
		c := w.service("c", www, on(8443, 31443), with(settings.NodeSelector, "disk=ssd"))
		lb := w.share("443:30443 80:30080 8443:31443", a, b, c)
		w.within(10*time.Second, "the node that both choose is the backend", w.on(lb.ID, "node-1"))
		w.later(10 * time.Minute)
		if events := w.events(); has(events, "Warning") {
			t.Errorf("events %q", events)
		}
		writes := w.writes()

		w.edit(c, with(settings.NodeSelector, "disk=tape"))
		w.wantEvent("NodeSelectorEmpty")
		w.edit(c, with(settings.NodeSelector, "disk=a=b"))
		w.wantEvent("must be a label selector")
		w.later(10 * time.Minute)
		if n := w.writes() - writes; n != 0 || !w.on(lb.ID, "node-1")() {
			t.Errorf("%d writes, backends %v", n, w.backendsOf(lb.ID))
		}

		w.edit(c, with(settings.NodeSelector, "disk=hdd"))
		w.within(10*time.Second, "the older one's nodes are", w.on(lb.ID, "node-0", "node-1"))
		w.wantEvent("sends to the nodes of the older Services alone: " + string(settings.NodeSelector))
		w.editNode("node-0", ready(false))
		w.within(10*time.Second, "one that fails is none", w.on(lb.ID, "node-1"))
		w.edit(c, without(settings.NodeSelector))
		w.edit(a, without(settings.NodeSelector))
		w.within(10*time.Second, "all that are ready are", w.on(lb.ID, "node-1", "node-2"))
	})
}

// All nodes that the Services choose stop to be ready, while others are ready that nobody has chosen. For one Service alone all stay, since
// more likely the news of them is what is broken. Where several share the load balancer none of the others becomes a backend either, unless
// one of them takes any node.
func TestChosenNodesAreNotReady(t *testing.T) {
	for name, tt := range map[string]struct {
		selectors []string
		want      []string
	}{
		"alone":                     {[]string{"pool=web"}, []string{"node-0", "node-1"}},
		"the same are chosen":       {[]string{"pool=web", "pool=web"}, []string{"node-0", "node-1"}},
		"one chooses fewer":         {[]string{"pool=web", "disk=ssd"}, []string{"node-1"}},
		"one takes any":             {[]string{"pool=web", ""}, []string{"node-2"}},
		"another one's is ready":    {[]string{"pool=web", "pool=db"}, []string{"node-2"}},
		"one chooses what is not":   {[]string{"pool=web", "pool=nowhere"}, []string{"node-0", "node-1"}},
		"the older chooses nothing": {[]string{"pool=nowhere", "pool=web"}, []string{"node-0", "node-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.addMachine("node-2") // of another pool, say with databases
				w.editNode("node-0", pool(map[string]string{"pool": "web"}))
				w.editNode("node-1", pool(map[string]string{"pool": "web", "disk": "ssd"}))
				w.editNode("node-2", pool(map[string]string{"pool": "db"}))
				all, ports := []*v1.Service{w.service("first", www, on(80, 30080), with(settings.NodeSelector, "pool=web"), aged(time.Hour))}, "80:30080"
				if len(tt.selectors) > 1 {
					all, ports = append(all, w.service("second", www, on(443, 30443), with(settings.NodeSelector, "pool=web"))), "443:30443 80:30080"
				}
				lb := w.share(ports, all...)
				w.within(10*time.Second, "the chosen nodes are the backends", w.on(lb.ID, "node-0", "node-1"))
				w.later(10 * time.Minute)
				w.editNode("node-0", ready(false))
				w.editNode("node-1", ready(false))
				for i, selector := range tt.selectors {
					change := with(settings.NodeSelector, selector)
					if selector == "" {
						change = without(settings.NodeSelector)
					}
					w.edit(all[i], change)
				}
				w.later(time.Minute)
				for range 10 {
					w.later(time.Minute)
					if !w.on(lb.ID, tt.want...)() {
						t.Fatalf("backends %v; events %q", w.backendsOf(lb.ID), w.events())
					}
				}
			})
		})
	}
}

// A selector that chooses nothing keeps other nodes from becoming backends, but not for as long as it takes to replace all of them: the
// other Service is not left with the last one.
func TestSelectorOfOneLeavesTheOthersTheirNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addMachine("node-2")
		first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
		lb := w.share("443:30443 80:30080", first, second)
		w.edit(second, with(settings.NodeSelector, "pool=nowhere"))
		w.wantEvent("NodeSelectorEmpty")
		for _, name := range []string{"node-3", "node-4", "node-5"} {
			w.addMachine(name)
		}
		w.later(10 * time.Minute)
		if !w.on(lb.ID, "node-0", "node-1", "node-2")() {
			t.Errorf("backends %v", w.backendsOf(lb.ID))
		}
		w.editNode("node-0", ready(false))
		w.within(10*time.Second, "two are left", w.on(lb.ID, "node-1", "node-2"))
		w.editNode("node-1", ready(false))
		w.within(10*time.Second, "the new ones come", w.on(lb.ID, "node-2", "node-3", "node-4", "node-5"))
		w.editNode("node-2", ready(false))
		w.addMachine("node-6")
		w.later(10 * time.Minute)
		if !w.on(lb.ID, "node-3", "node-4", "node-5")() {
			t.Errorf("backends %v", w.backendsOf(lb.ID))
		}
		w.edit(second, without(settings.NodeSelector))
		w.within(time.Minute, "all that are ready are", w.on(lb.ID, "node-3", "node-4", "node-5", "node-6"))
	})
}

// The network is that of the oldest Service, and follows when it leaves.
func TestVPCOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one := w.network()
		w.withoutTheFirst()
		w.addServer("m1", simulator.NewServer{VPCs: []string{one}})
		w.addServer("m2", simulator.NewServer{VPCs: []string{one}})
		a := w.service("a", www, on(80, 30080), with(settings.VPC, "true"), aged(time.Hour))
		b := w.service("b", www, on(443, 30443))
		lb := w.share("443:30443 80:30080", a, b)
		if !w.in(one, "m1", "m2")(lb) {
			t.Errorf("it is in %q with %v", lb.VPC, lb.Instances)
		}
		w.later(10 * time.Minute)
		if events := w.events(); has(events, "Warning") {
			t.Errorf("events %q", events)
		}
		w.edit(b, with(settings.VPC, "false"))
		w.wantEvent(fmt.Sprintf("Load balancer %s, which the Service shares, has these settings once for all, as Service shop/a asks for: vpc", lb.ID))
		w.later(10 * time.Minute)
		if now := w.truth(lb.ID); !w.in(one, "m1", "m2")(now) {
			t.Errorf("it is in %q with %v", now.VPC, now.Instances)
		}
		w.delete(a)
		w.shows(lb.ID, "reaches its nodes by the public network", func(l vultr.LoadBalancer) bool {
			return w.in("", "m1", "m2")(l) && leads(l) == "443:30443"
		})
	})
}
