package servicelb_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// network makes a VPC.
func (w *world) network() string {
	w.Helper()
	made, err := w.api.CreateVPC(w.Context(), vultr.VPCRequest{Region: "ewr", Description: "nodes"})
	if err != nil {
		w.Fatal(err)
	}
	return made.ID
}

// addServer adds an instance and its Node.
func (w *world) addServer(name string, server simulator.NewServer) {
	w.Helper()
	server.Label = name
	w.addNode(name, "vultr://"+w.cloud.AddInstance(server))
}

// withoutTheFirst keeps the two nodes out that every world begins with, and that are in no VPC.
func (w *world) withoutTheFirst() {
	w.Helper()
	for _, name := range []string{"node-0", "node-1"} {
		w.editNode(name, exclude)
	}
}

// in reports whether the load balancer is in the VPC and has these nodes behind it.
func (w *world) in(vpc string, nodes ...string) func(vultr.LoadBalancer) bool {
	w.Helper()
	want := w.machines(nodes...)
	return func(lb vultr.LoadBalancer) bool { return lb.VPC == vpc && slices.Equal(lb.Instances, want) }
}

// A load balancer goes into the VPC of its nodes, into the one that is named, and out of it again, each time by one write that
// takes its backends along.
func TestVPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, two := w.network(), w.network()
		w.withoutTheFirst()
		w.addServer("a", simulator.NewServer{VPCs: []string{one}})
		w.addServer("b", simulator.NewServer{VPCs: []string{two, one}})
		w.addServer("hidden", simulator.NewServer{VPCs: []string{one}, VPCOnly: true})
		w.editNode("hidden", func(n *v1.Node) {
			n.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "10.1.0.5"}}
		})
		s := w.service("web", with(settings.VPC, "true"))
		lb := w.settled(s)
		if !w.in(one, "a", "b", "hidden")(lb) {
			t.Errorf("it is in %q with %v", lb.VPC, lb.Instances)
		}
		w.later(10 * time.Minute)
		writes, calls := w.writes(), w.calls()
		w.start()
		w.later(time.Hour)
		if n := w.writes() - writes; n != 0 {
			t.Errorf("%d writes, nothing has changed", n)
		}
		if n := w.calls() - calls; n > 4*12+10 { // a list of load balancers and two of servers each time that drift is looked for
			t.Errorf("%d calls in a quiet hour", n)
		}

		w.editNode("node-0", include)
		w.wantEvent("node-0 (not in VPC " + one)
		w.addServer("c", simulator.NewServer{VPCs: []string{one}})
		w.shows(lb.ID, "has the new node of the VPC", w.in(one, "a", "b", "c", "hidden"))
		writes = w.writes()
		w.edit(s, with(settings.VPC, two))
		w.shows(lb.ID, "is in the VPC that is named", w.in(two, "b"))
		w.edit(s, without(settings.VPC), with(settings.PrivateNetwork, "true"))
		w.later(time.Minute)
		if lb := w.truth(lb.ID); !w.in(two, "b")(lb) {
			t.Errorf("it is moved from one VPC of its nodes to another: %q, %v", lb.VPC, lb.Instances)
		}
		w.edit(s, without(settings.PrivateNetwork))
		w.shows(lb.ID, "reaches its nodes by the public network", w.in("", "a", "b", "c", "node-0"))
		w.wantEvent("hidden (without a public address")
		w.later(10 * time.Minute)
		if n := w.writes() - writes; n != 2 {
			t.Errorf("%d writes for two changes", n)
		}
		if events := w.events(); has(events, "LoadBalancerDrifted") || has(events, "VPCNotChosen") {
			t.Errorf("events %q", events)
		}
	})
}

// A Node whose instance is in no list, for ever, does not have the platform asked for ever twice a minute; one that is new is a backend
// as soon as it is in the list all the same.
func TestInstanceThatIsNeverListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one := w.network()
		w.withoutTheFirst()
		w.addServer("a", simulator.NewServer{VPCs: []string{one}})
		lb := w.settled(w.service("web", with(settings.VPC, "true")))
		w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
		w.later(time.Hour)
		calls := w.calls()
		w.later(time.Hour)
		if n := w.calls() - calls; n > 120 { // 24 looks, 12 of which are the drift's, and the searches for orphans
			t.Errorf("%d calls in an hour in which nothing happens", n)
		}
		w.addServer("b", simulator.NewServer{VPCs: []string{one}})
		w.within(90*time.Second, "the new one is a backend", func() bool { return w.in(one, "a", "b")(w.truth(lb.ID)) })
	})
}

// A load balancer goes nowhere where it would reach nobody, and none is made there.
func TestVPCThatReachesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, two := w.network(), w.network()
		s := w.service("web")
		lb := w.settled(s)
		w.later(time.Minute)
		writes := w.writes()
		for _, tt := range [][2]string{
			{"true", "no node is in a VPC"},
			{one, "none of the nodes is in VPC " + one},
			{"dddddddd-66fd-4dfb-b839-443f2e6c0b60", "none of the nodes is in VPC dddddddd"},
			{"yes", `write "true"`},
		} {
			w.edit(s, with(settings.VPC, tt[0]))
			w.wantEvent(tt[1])
		}
		w.later(10 * time.Minute)
		if n := w.writes() - writes; n != 0 {
			t.Errorf("%d writes", n)
		}
		posts := w.posts()
		fresh := w.service("fresh", with(settings.VPC, "true"))
		w.wantEvent("no load balancer was created: annotation " + string(settings.VPC) + ": no node is in a VPC")
		w.addServer("a", simulator.NewServer{VPCs: []string{one}})
		w.addServer("b", simulator.NewServer{VPCs: []string{two}})
		w.wantEvent("are in several VPCs (")
		if n := w.posts() - posts; n != 0 {
			t.Errorf("%d load balancers were made", n)
		}
		w.edit(fresh, with(settings.VPC, two))
		if made := w.settled(fresh); !w.in(two, "b")(made) {
			t.Errorf("it is in %q with %v", made.VPC, made.Instances)
		}
		// Serving goes on meanwhile.
		w.edit(s, with(settings.VPC, "true"), with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the new timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 && l.VPC == "" && len(l.Instances) == 4 })
	})
}

// Of nodes in several VPCs the administrator says which one counts.
func TestPreferredVPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		one, two := w.network(), w.network()
		w.config.VPC = two
		w.withoutTheFirst()
		w.addServer("a", simulator.NewServer{VPCs: []string{one}})
		w.addServer("b", simulator.NewServer{VPCs: []string{two, one}})
		w.start()
		if lb := w.settled(w.service("web", with(settings.VPC, "true"))); !w.in(two, "b")(lb) {
			t.Errorf("it is in %q with %v", lb.VPC, lb.Instances)
		}
	})
}

// The default for all Services counts where they say nothing.
func TestVPCByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, func(_ *simtest.Options, c *servicelb.Config) {
			var err error
			if c.Defaults, err = settings.ParseDefaults(map[string]string{"vpc": "true"}); err != nil {
				t.Fatal(err)
			}
		})
		one := w.network()
		w.withoutTheFirst()
		w.addServer("a", simulator.NewServer{VPCs: []string{one}})
		w.start()
		inner, outer := w.service("inner"), w.service("outer", with(settings.VPC, "false"))
		if lb := w.settled(inner); !w.in(one, "a")(lb) {
			t.Errorf("it is in %q with %v", lb.VPC, lb.Instances)
		}
		if lb := w.settled(outer); !w.in("", "a")(lb) {
			t.Errorf("it is in %q with %v", lb.VPC, lb.Instances)
		}
	})
}

// Only nodes with the labels are backends, and follow when they change. A selector that chooses nobody changes nothing.
func TestNodeSelector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		pool := func(name string) func(*v1.Node) { return func(n *v1.Node) { n.Labels["pool"] = name } }
		w.editNode("node-0", pool("web"))
		s := w.service("web", with(settings.NodeSelector, "pool = web"))
		lb := w.settled(s)
		if !w.on(lb.ID, "node-0")() {
			t.Errorf("backends %v", lb.Instances)
		}
		w.later(time.Minute)
		w.editNode("node-1", pool("web"))
		w.within(10*time.Second, "a second node is a backend", w.on(lb.ID, "node-0", "node-1"))
		w.editNode("node-0", pool("db"))
		w.within(10*time.Second, "the first one is none any more", w.on(lb.ID, "node-1"))
		w.events()
		writes := w.writes()
		w.editNode("node-1", pool("db"))
		w.wantEvent("NodeSelectorEmpty No node that can be a backend has the labels of " + string(settings.NodeSelector) + ": pool=web")
		w.later(time.Hour)
		w.edit(s, with(settings.NodeSelector, "pool=a=b"))
		w.wantEvent("must be a label selector")
		w.edit(s, func(s *v1.Service) {
			delete(s.Annotations, string(settings.NodeSelector))
			s.Annotations[settings.Prefix+"node-selektor"] = "pool=db"
		})
		w.wantEvent("did you mean " + string(settings.NodeSelector))
		w.addMachine("node-2")
		w.later(10 * time.Minute)
		if n := w.writes() - writes; n != 0 || !w.on(lb.ID, "node-1")() {
			t.Errorf("%d writes, backends %v", n, w.backendsOf(lb.ID))
		}
		// What goes away goes all the same.
		w.edit(s, func(s *v1.Service) { delete(s.Annotations, settings.Prefix+"node-selektor") })
		w.within(10*time.Second, "all are backends", w.on(lb.ID, "node-0", "node-1", "node-2"))
		w.edit(s, with(settings.NodeSelector, "pool=a=b"))
		w.wantEvent("must be a label selector")
		w.editNode("node-0", ready(false))
		w.within(10*time.Second, "the one that has failed is none any more", w.on(lb.ID, "node-1", "node-2"))
	})
}

// A Service whose selector chooses nobody yet gets its load balancer, and backends as soon as there are some.
func TestNodeSelectorOfANewService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.NodeSelector, "pool=web"))
		w.wantEvent("NodeSelectorEmpty")
		lb := w.settled(s)
		if len(lb.Instances) != 0 {
			t.Errorf("backends %v", lb.Instances)
		}
		w.editNode("node-1", func(n *v1.Node) { n.Labels["pool"] = "web" })
		w.within(10*time.Second, "the node is a backend", w.on(lb.ID, "node-1"))
	})
}

// Each way is told: when there is no node, when the backends are taken away, when there is one again.
func TestBackendsAreClearedAndRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.settled(w.service("web"))
		w.addNode("stranger", "aws:///i-1")
		w.later(time.Minute)
		w.events()
		w.withoutTheFirst()
		w.wantEvent("UnAvailableLoadBalancer There are no available nodes for LoadBalancer; it keeps its last 2 backends for 5m0s (stranger (not an instance of this cloud")
		w.wantEvent("BackendsCleared")
		w.within(10*time.Second, "there is none", w.on(lb.ID))
		w.later(time.Hour)
		if events := w.events(); has(events, "BackendsCleared") || has(events, "UnAvailable") {
			t.Errorf("it is told again: %q", events)
		}
		w.editNode("node-1", include)
		w.wantEvent("BackendsRestored 1 nodes can be backends again")
		w.within(10*time.Second, "it is a backend", w.on(lb.ID, "node-1"))
		w.later(10 * time.Minute)
		if events := w.events(); has(events, "BackendsRestored") {
			t.Errorf("it is told again: %q", events)
		}
	})
}
