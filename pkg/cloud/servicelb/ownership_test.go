package servicelb_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// ownedNote is an annotation that no controller knows.
const ownedNote = settings.Prefix + "owned"

func behind(instances ...string) func(*vultr.LoadBalancerSettings) {
	return func(s *vultr.LoadBalancerSettings) { s.Instances = &instances }
}

// untouched checks that a load balancer of somebody else is as it was.
func (w *world) untouched(lb vultr.LoadBalancer) {
	w.Helper()
	now, err := w.api.LoadBalancer(w.Context(), lb.ID)
	if err != nil {
		w.Fatalf("the load balancer of somebody else: %v", err)
	}
	if now.Label != lb.Label || len(now.Rules) != len(lb.Rules) || now.Rules[0] != lb.Rules[0] || strings.Join(now.Instances, " ") != strings.Join(lb.Instances, " ") {
		w.Errorf("it was %+v and is %+v", lb, now)
	}
}

// Annotations are written by tenants: whatever they say, somebody else's load balancer is neither changed nor deleted.
func TestForgedAnnotations(t *testing.T) {
	tests := map[string]func(w *world) (vultr.LoadBalancer, []func(*v1.Service)){
		"id of another cluster's": func(w *world) (vultr.LoadBalancer, []func(*v1.Service)) {
			foreign := w.cloud.AddInstance(simulator.NewServer{Label: "other"})
			lb := w.existing("a0123456789abcdef0123456789abcdef", behind(foreign))
			return lb, []func(*v1.Service){with(settings.ID, lb.ID)}
		},
		"id and owned of another cluster's": func(w *world) (vultr.LoadBalancer, []func(*v1.Service)) {
			foreign := w.cloud.AddInstance(simulator.NewServer{Label: "other"})
			lb := w.existing("a0123456789abcdef0123456789abcdef", behind(foreign))
			return lb, []func(*v1.Service){with(settings.ID, lb.ID), with(ownedNote, lb.ID)}
		},
		"id in upper case": func(w *world) (vultr.LoadBalancer, []func(*v1.Service)) {
			lb := w.existing("machines")
			return lb, []func(*v1.Service){with(settings.ID, strings.ToUpper(lb.ID)), with(ownedNote, lb.ID)}
		},
		"one without backends": func(w *world) (vultr.LoadBalancer, []func(*v1.Service)) {
			lb := w.existing("machines")
			return lb, []func(*v1.Service){with(settings.ID, lb.ID)}
		},
		"partly of this cluster": func(w *world) (vultr.LoadBalancer, []func(*v1.Service)) {
			foreign := w.cloud.AddInstance(simulator.NewServer{Label: "other"})
			lb := w.existing("machines", behind(foreign, w.ids[0]))
			return lb, []func(*v1.Service){with(settings.ID, lb.ID)}
		},
		"its label": func(w *world) (vultr.LoadBalancer, []func(*v1.Service)) {
			foreign := w.cloud.AddInstance(simulator.NewServer{Label: "other"})
			lb := w.existing("machines", behind(foreign))
			return lb, []func(*v1.Service){with(settings.Label, "machines")}
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				foreign, changes := tt(w)
				s := w.service("web", changes...)
				w.wantEvent("SyncLoadBalancerFailed")
				w.later(20 * time.Minute)
				w.untouched(foreign)
				for _, event := range w.events() {
					if _, named := s.Annotations[string(settings.ID)]; !named && strings.Contains(event, foreign.ID) {
						t.Errorf("an Event tells the ID of somebody else's: %s", event)
					}
				}
				w.delete(s) // a refused Service can be deleted
				w.later(5 * time.Minute)
				w.untouched(foreign)
				w.none()
			})
		})
	}
}

// A Service that has a load balancer and names somebody else's keeps its own.
func TestForgedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		victim, thief := w.service("victim"), w.service("thief")
		theirs, own := w.settled(victim), w.settled(thief)
		w.edit(thief, with(settings.ID, theirs.ID), with(ownedNote, theirs.ID), func(s *v1.Service) { s.Spec.Ports[0].NodePort = 32000 })
		w.wantEvent("LoadBalancerNotAdopted")
		w.shows(own.ID, "serves the new port", func(l vultr.LoadBalancer) bool { return l.Rules[0].BackendPort == 32000 })
		w.untouched(theirs)
		w.delete(thief)
		w.untouched(theirs)
		if got := w.only(); got.ID != theirs.ID {
			t.Errorf("left is %+v", got)
		}
	})
}

// The administrator's word, or that it serves this cluster alone, lets a Service take a load balancer over. It outlives the Service.
func TestAdoption(t *testing.T) {
	for name, allowed := range map[string]bool{"the administrator allows it": true, "it serves this cluster": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				backend := w.ids[0]
				if allowed {
					backend = w.cloud.AddInstance(simulator.NewServer{Label: "other"})
				}
				lb := w.existing("www", behind(backend))
				if allowed {
					namespace := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{string(settings.AllowAdoption): "x, " + strings.ToUpper(lb.ID)}}}
					if _, err := w.client.CoreV1().Namespaces().Update(t.Context(), namespace, metav1.UpdateOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				s := w.service("web", with(settings.ID, lb.ID+"\n"))
				w.wantEvent("LoadBalancerAdopted")
				w.eventually("it has the Service's port", func() bool {
					now := w.truth(lb.ID)
					return len(now.Rules) == 1 && now.Rules[0].FrontendPort == 80
				})
				if now := w.truth(lb.ID); now.Label != "www" {
					t.Errorf("its label is %q now", now.Label)
				}
				w.edit(s, without(settings.ID)) // kubectl replace does that
				w.start()
				w.later(10 * time.Minute)
				w.none()
				if id := w.fresh(s).Annotations[string(settings.ID)]; id != "" {
					t.Errorf("the ID that was removed is written back: %s", id)
				}
				w.delete(s)
				w.truth(lb.ID)
			})
		})
	}
}

// What another controller made for the Service is found by its label, and by the ID that it wrote.
func TestMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		byLabel := w.service("by-label", old)
		byID := w.service("by-id", old, with(settings.Label, "www"))
		lbs := []vultr.LoadBalancer{w.existing(cloudprovider.DefaultLoadBalancerName(byLabel), behind(w.ids...)), w.existing("www", behind(w.ids...))}
		w.edit(byID, with(settings.ID, lbs[1].ID))
		w.start()
		for i, s := range []*v1.Service{byLabel, byID} {
			w.eventually("the Service has its old load balancer", func() bool { return w.entry(s).ID == lbs[i].ID && len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
		}
		w.none()
		w.delete(byLabel)
		w.eventually("the one that is proven to be the Service's goes", func() bool { return len(w.cloud.Sim.View().LoadBalancers) == 1 })
		w.delete(byID)
		w.truth(lbs[1].ID)
	})
}

// Services that the official controller served are deleted before this one has taken over what they have. What is proven to be a
// Service's goes with it; what is not is told, unless another Service has it.
func TestDeletedDuringTheMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		official := func(lb vultr.LoadBalancer) func(*v1.Service) {
			return func(s *v1.Service) {
				s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
				s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4, Hostname: lb.Label}}
				s.Annotations[string(settings.ID)] = lb.ID
			}
		}
		mine, shared := w.existing("mine", behind(w.ids...)), w.existing("www", behind(w.ids...))
		byLabel := w.service("by-label", old)
		own := w.existing(cloudprovider.DefaultLoadBalancerName(byLabel), behind(w.ids...))
		w.edit(byLabel, official(own))
		byID := w.service("by-id", old, with(settings.Label, "mine"), official(mine))
		goes := w.service("goes", old, www, on(8080, 30080), official(shared))
		stays := w.service("stays", old, www, on(443, 30443), official(shared))
		for _, s := range []*v1.Service{byLabel, byID, goes} {
			w.deleting(s)
		}
		w.start()
		var events []string
		for _, s := range []*v1.Service{byLabel, byID, goes} {
			w.finalizerGone(s, 20*time.Minute)
			w.gone(s)
			events = append(events, w.events()...)
		}
		if !has(events, "Load balancer "+mine.ID+" is left as it is, because it was not made for this Service by this controller") {
			t.Errorf("nobody is told of what is left: %q", events)
		}
		w.untouched(mine)
		if _, err := w.truthOf(own.ID); !vultr.IsNotFound(err) {
			t.Errorf("what was made for a Service has outlived it: %v", err)
		}
		w.eventually("the one that stays has the load balancer that it shared", func() bool { return w.entry(stays).ID == shared.ID })
		if has(append(events, w.events()...), "Load balancer "+shared.ID+" is left as it is") {
			t.Error("one that is still used is told as left behind")
		}
	})
}

// What the administrator hands over to a Service's namespace goes with the Service that uses it.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...))
		s := w.service("web", with(settings.ID, lb.ID))
		w.wantEvent("it will be kept when the Service goes")
		w.eventually("it is adopted", func() bool { return w.entry(s).Adopted })
		namespace := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{string(settings.HandOver): lb.ID}}}
		if _, err := w.client.CoreV1().Namespaces().Update(t.Context(), namespace, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wantEvent("it will be deleted with the Service")
		w.eventually("it is the Service's", func() bool { return !w.entry(s).Adopted })
		w.delete(s)
		if n := len(w.cloud.Sim.View().LoadBalancers); n != 0 {
			t.Errorf("%d load balancers are left", n)
		}
	})
}

// What another controller may have made in its last moments is looked for before anything is made.
func TestSwitchWhileTheOtherMakesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, lagging(simulator.ReadLags{"all": 100 * time.Second}))
		s := w.service("web", old, func(s *v1.Service) { s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer} })
		name := cloudprovider.DefaultLoadBalancerName(s)
		lb, err := w.api.CreateLoadBalancer(t.Context(), "ewr", vultr.LoadBalancerSettings{
			Label: &name, Instances: &w.ids,
			Rules: &[]vultr.ForwardingRule{{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 30080}},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		if got := w.settled(s); got.ID != lb.ID {
			t.Errorf("another load balancer: %+v", got)
		}
		w.only()
		// A Service that no controller has touched waits for nothing.
		untouched := w.service("untouched", old)
		w.within(2*time.Second, "its load balancer is being made", func() bool { return w.entry(untouched).ID != "" })
	})
}

// kubectl replace drops every annotation of ours; nothing hangs on them.
func TestAnnotationsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Label, "www"))
		lb := w.settled(s)
		w.shows(lb.ID, "has its name", func(l vultr.LoadBalancer) bool { return l.Label == "www" })
		w.edit(s, func(s *v1.Service) { s.Annotations = map[string]string{} })
		w.start()
		w.later(10 * time.Minute)
		if got := w.only(); got.ID != lb.ID {
			t.Errorf("another load balancer: %+v", got)
		}
		w.edit(s, with(settings.Label, "www"))
		w.shows(lb.ID, "has its name", func(l vultr.LoadBalancer) bool { return l.Label == "www" })
		w.edit(s, func(s *v1.Service) { s.Annotations = map[string]string{} })
		w.delete(s)
		w.none()
	})
}

// An older Service that wants the label of a younger one's load balancer keeps its own, as the younger one does. Who has none
// shares the older one's.
func TestOlderServiceWantsTheLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		older := w.service("older", old)
		own := w.settled(older)
		younger := w.service("younger", with(settings.Label, "www"))
		lb := w.settled(younger)
		w.shows(lb.ID, "has its name", func(l vultr.LoadBalancer) bool { return l.Label == "www" })
		w.edit(older, with(settings.Label, "www"))
		w.later(20 * time.Minute)
		third := w.service("third", with(settings.Label, "www"), on(443, 30443))
		w.wantEvent("another Service has the label")
		w.later(20 * time.Minute)
		if entry := w.entry(third); entry.ID != "" || len(w.all()) != 2 {
			t.Errorf("a load balancer was made for the youngest: %+v", entry)
		}
		if now := leads(w.truth(own.ID)); now != "443:30443 80:30080" {
			t.Errorf("the older one's leads to %s", now)
		}
		if entry := w.entry(younger); entry.ID != lb.ID {
			t.Errorf("the younger has %+v", entry)
		}
		if entry := w.entry(older); entry.ID != own.ID {
			t.Errorf("the older has %+v", entry)
		}
	})
}

// The key of another account, which knows nothing of this cluster: nothing is made, nothing counts as gone.
func TestKeyOfAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		other := newWorldOf(t, "another account")
		w.startWith(other.api)
		w.edit(s, with(settings.Timeout, "77"))
		fresh := w.service("fresh")
		w.wantEvent("does the key belong to another account?")
		w.later(time.Hour)
		if n := other.posts(); n != 0 {
			t.Errorf("%d made in the other account", n)
		}
		w.deleting(s)
		w.later(time.Hour)
		w.start()
		w.settled(fresh)
		w.eventually("the load balancer of the deleted Service goes", func() bool { return len(w.all()) == 1 && w.all()[0].ID != lb.ID })
	})
}
