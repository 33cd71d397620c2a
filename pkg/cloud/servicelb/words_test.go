package servicelb_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// say writes the administrator's word into the Namespace of the Services.
func (w *world) say(annotation settings.Key, ids ...string) {
	w.Helper()
	namespace := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{string(annotation): strings.Join(ids, ",")}}}
	if _, err := w.client.CoreV1().Namespaces().Update(w.Context(), namespace, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// vanish removes a Service without its finalizer's work.
func (w *world) vanish(s *v1.Service) {
	w.Helper()
	if err := w.client.CoreV1().Services(s.Namespace).Delete(w.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// What was written down for a Service that is gone does not stand against the administrator's word, and only against that.
func TestAdoptionAfterAVanishedService(t *testing.T) {
	for name, tt := range map[string]struct {
		word settings.Key
		heir string
		kept int // load balancers when the heir is gone
	}{
		"allowed":     {settings.AllowAdoption, "heir", 1},
		"handed over": {settings.HandOver, "heir", 0},
		"restored":    {settings.HandOver, "web", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, drifting)
				s := w.service("web")
				lb := w.settled(s)
				w.vanish(s)
				w.wantEvent("LoadBalancerOrphaned")
				heir := w.service(tt.heir, with(settings.ID, lb.ID))
				w.wantEvent("it belongs to another Service")
				w.later(time.Hour)
				if w.entry(heir).ID != "" || w.entry(s).ID != lb.ID {
					t.Fatalf("without the administrator's word: %+v, %+v", w.entry(heir), w.entry(s))
				}
				w.say(tt.word, lb.ID)
				w.within(time.Minute, "it is the heir's", func() bool { return w.entry(heir).ID == lb.ID })
				if entry := w.entry(s); entry != (ledger.Entry{}) {
					t.Errorf("the entry of the Service that is gone: %+v", entry)
				}
				w.events()
				w.later(time.Hour)
				if w.only().ID != lb.ID || has(w.events(), "LoadBalancerOrphaned") {
					t.Errorf("%+v", w.only())
				}
				w.delete(heir)
				if n := len(w.cloud.Sim.View().LoadBalancers); n != tt.kept {
					t.Errorf("%d load balancers are left, want %d", n, tt.kept)
				}
			})
		})
	}
}

// A Service that exists keeps its load balancer, whatever the administrator says to another Namespace.
func TestAdoptionFromALivingService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.say(settings.AllowAdoption, lb.ID)
		thief := w.service("thief", with(settings.ID, lb.ID))
		w.wantEvent("it belongs to another Service")
		w.later(time.Hour)
		if w.entry(thief).ID != "" || w.entry(s).ID != lb.ID {
			t.Errorf("%+v, %+v", w.entry(thief), w.entry(s))
		}
	})
}

// The administrator's word takes effect within a minute, with no timer for drift, and waiting for it costs no call.
func TestWordIsHeard(t *testing.T) {
	for name, tt := range map[string]struct {
		word    settings.Key
		prepare func(w *world, lb vultr.LoadBalancer) *v1.Service
		done    func(entry ledger.Entry, lb vultr.LoadBalancer) bool
		calls   int // an hour
	}{
		"refused when it was made": {settings.AllowAdoption, func(w *world, lb vultr.LoadBalancer) *v1.Service {
			return w.service("web", with(settings.ID, lb.ID))
		}, func(entry ledger.Entry, lb vultr.LoadBalancer) bool { return entry.ID == lb.ID }, 30},
		"refused later": {settings.AllowAdoption, func(w *world, lb vultr.LoadBalancer) *v1.Service {
			s := w.service("web")
			w.settled(s)
			w.edit(s, with(settings.ID, lb.ID))
			return s
		}, func(entry ledger.Entry, lb vultr.LoadBalancer) bool { return entry.ID == lb.ID }, 30},
		"handed over later": {settings.HandOver, func(w *world, lb vultr.LoadBalancer) *v1.Service {
			w.say(settings.AllowAdoption, lb.ID)
			s := w.service("web", with(settings.ID, lb.ID))
			w.eventually("it is adopted", func() bool { return w.entry(s).Adopted })
			return s
		}, func(entry ledger.Entry, lb vultr.LoadBalancer) bool { return entry.ID == lb.ID && !entry.Adopted }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				lb := w.existing("www", behind(w.cloud.AddInstance(simulator.NewServer{Label: "other"})))
				s := tt.prepare(w, lb)
				w.later(time.Hour) // pauses have grown
				before := w.calls()
				w.later(time.Hour)
				if n := w.calls() - before; n > tt.calls {
					t.Errorf("%d calls in an hour", n)
				}
				if tt.done(w.entry(s), lb) {
					t.Fatal("too early")
				}
				w.say(tt.word, lb.ID)
				w.within(time.Minute, "the word is heard", func() bool { return tt.done(w.entry(s), lb) })
			})
		})
	}
}

// Nobody asks for Namespaces on whose word nothing depends.
func TestWordOfNoInterest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.cloud.AddInstance(simulator.NewServer{Label: "other"})))
		gone := w.service("gone", with(settings.ID, lb.ID))
		withdrawn := w.service("withdrawn", with(settings.ID, lb.ID))
		w.later(time.Minute)
		w.delete(gone)
		w.edit(withdrawn, without(settings.ID))
		w.settled(withdrawn)
		w.later(time.Minute)
		w.client.ClearActions()
		w.later(time.Hour)
		for _, action := range w.client.Actions() {
			if action.GetResource().Resource == "namespaces" {
				t.Fatalf("%+v", action)
			}
		}
	})
}

// What a sync leaves as it is for a while is looked at again, also where drift is not.
func TestWakesWithoutDrift(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, w *world){
		"a label is free again": func(_ *testing.T, w *world) {
			first := w.service("first", old, with(settings.Label, "www"))
			w.settled(first)
			second := w.service("second")
			lb := w.settled(second)
			w.edit(second, with(settings.Label, "www"))
			w.wantEvent("LabelTaken")
			w.later(10 * time.Minute)
			w.delete(first)
			w.within(6*time.Minute, "it has its label", func() bool { return w.truth(lb.ID).Label == "www" })
		},
		"a twin shows late": func(t *testing.T, w *world) {
			if err := w.cloud.Sim.SetReadLags(simulator.ReadLags{"load_balancers.list": 100 * time.Second}); err != nil {
				t.Fatal(err)
			}
			w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1})
			w.service("web")
			w.later(4 * time.Minute)
			w.only()
		},
		"the ledger is deleted": func(t *testing.T, w *world) {
			s := w.service("web")
			lb := w.settled(s)
			w.later(10 * time.Minute)
			if err := w.client.CoreV1().ConfigMaps(ledger.Namespace).Delete(t.Context(), ledger.Name(s.UID), metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			w.within(6*time.Minute, "it is there again", func() bool { return w.entry(s).ID == lb.ID })
		},
		"a Service vanishes": func(_ *testing.T, w *world) {
			s := w.service("web")
			w.settled(s)
			w.vanish(s)
			w.later(65 * time.Minute)
			w.wantEvent("LoadBalancerOrphaned")
		},
		"what it names shows late": func(t *testing.T, w *world) {
			s := w.service("web")
			w.settled(s)
			w.later(10 * time.Minute)
			if err := w.cloud.Sim.SetReadLags(simulator.ReadLags{"all": 2 * time.Minute}); err != nil {
				t.Fatal(err)
			}
			label := "new"
			lb, err := w.api.CreateLoadBalancer(t.Context(), "ewr", vultr.LoadBalancerSettings{Label: &label, Instances: &w.ids, Rules: &[]vultr.ForwardingRule{
				{FrontendProtocol: "tcp", FrontendPort: 8080, BackendProtocol: "tcp", BackendPort: 30080},
			}})
			if err != nil {
				t.Fatal(err)
			}
			w.edit(s, with(settings.ID, lb.ID))
			w.within(11*time.Minute, "it is adopted", func() bool { return w.entry(s).ID == lb.ID })
		},
		"a missing instance is tried again": func(_ *testing.T, w *world) {
			w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
			s := w.service("web")
			w.settled(s)
			w.later(5 * time.Minute)
			before := w.cloud.Count("update_load_balancer")
			w.later(15 * time.Minute)
			if n := w.cloud.Count("update_load_balancer") - before; n == 0 {
				w.Error("it was never tried again")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
		})
	}
}

// A second address that the platform gives later is published, also where drift is not looked for.
func TestSecondAddressComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := &tapped{API: w.newClient(w.cloud.Key)}
		began := time.Now()
		api.shown = func(lb *vultr.LoadBalancer) {
			if lb.IPv6 = ""; time.Since(began) > 10*time.Minute && lb.IPv4 != "" {
				lb.IPv6 = "2001:db8::1"
			}
		}
		w.startWith(api)
		s := w.service("web", func(s *v1.Service) { s.Spec.IPFamilies = []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol} })
		w.settled(s)
		w.later(16 * time.Minute)
		if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) != 2 {
			t.Errorf("%+v", ingress)
		}
	})
}

// A Service that requires two families and gets an address of one is told so, once, unless the second one comes soon.
func TestRequiredFamilyIsMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		comes  time.Duration
		policy v1.IPFamilyPolicy
		told   int
	}{
		"never":                 {time.Hour * 24, v1.IPFamilyPolicyRequireDualStack, 1},
		"after twenty minutes":  {20 * time.Minute, v1.IPFamilyPolicyRequireDualStack, 1},
		"soon":                  {50 * time.Second, v1.IPFamilyPolicyRequireDualStack, 0},
		"never, only preferred": {time.Hour * 24, v1.IPFamilyPolicyPreferDualStack, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				api := &tapped{API: w.newClient(w.cloud.Key)}
				began := time.Now()
				api.shown = func(lb *vultr.LoadBalancer) {
					if lb.IPv6 = ""; time.Since(began) > tt.comes && lb.IPv4 != "" {
						lb.IPv6 = "2001:db8::1"
					}
				}
				w.startWith(api)
				s := w.service("web", func(s *v1.Service) {
					s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol}, &tt.policy
				})
				w.settled(s)
				w.later(time.Hour)
				if events := w.events(); count(events, "IPFamilyUnmet") != tt.told || tt.told > 0 && !has(events, "has no address of the second family") {
					t.Errorf("events %q", events)
				}
				if addresses := len(w.fresh(s).Status.LoadBalancer.Ingress); (addresses == 2) != (tt.comes < time.Hour) {
					t.Errorf("%d addresses", addresses)
				}
			})
		})
	}
}

// A twin is counted and told once, and not at all if somebody else deleted it. One that can't be deleted holds up nothing.
func TestTwinIsCountedOnce(t *testing.T) {
	refused := func(status int) error {
		return &vultr.Error{Op: "delete load balancer", Status: status, Message: "injected"}
	}
	for name, tt := range map[string]struct {
		answer func(n int, do func() error) error
		counts float64
	}{
		"somebody else was quicker": {func(_ int, do func() error) error { _ = do(); return refused(http.StatusNotFound) }, 0},
		"accepted and done late": {func(n int, do func() error) error {
			if n < 4 {
				return nil
			}
			return do()
		}, 1},
		"busy at first": {func(n int, do func() error) error {
			if n < 4 {
				return refused(http.StatusConflict)
			}
			return do()
		}, 1},
		"fails at first": {func(n int, do func() error) error {
			if n < 4 {
				return refused(http.StatusForbidden)
			}
			return do()
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				before, _ := metric(t, "duplicate_load_balancers_deleted_total", "")
				api := w.tap()
				n := 0
				api.remove = func(_ string, do func() error) error { n++; return tt.answer(n, do) }
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1})
				s := w.service("web")
				w.within(time.Minute, "it has its address", func() bool { return len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
				for i := range 10 { // syncs, by which nothing is counted again
					w.later(time.Minute)
					w.edit(s, with(settings.Timeout, "3"+string(rune('0'+i))))
				}
				w.later(time.Minute)
				w.only()
				after, _ := metric(t, "duplicate_load_balancers_deleted_total", "")
				if told := count(w.events(), "DuplicateLoadBalancerDeleted"); after-before != tt.counts || float64(told) != tt.counts {
					t.Errorf("counted %g times, told %d times, want %g", after-before, told, tt.counts)
				}
			})
		})
	}
}

// blank is a platform whose reads of load balancers show fewer than there are.
type blank struct {
	servicelb.API
	hides func(id string) bool
}

func (b *blank) LoadBalancers(ctx context.Context, age time.Duration) (vultr.List[vultr.LoadBalancer], error) {
	list, err := b.API.LoadBalancers(ctx, age)
	list.Items = slices.DeleteFunc(slices.Clone(list.Items), func(lb vultr.LoadBalancer) bool { return b.hides(lb.ID) })
	return list, err
}

func (b *blank) LoadBalancer(ctx context.Context, id string) (vultr.LoadBalancer, error) {
	if b.hides(id) {
		return vultr.LoadBalancer{}, &vultr.Error{Op: "get load balancer", Status: http.StatusNotFound, Message: "not found"}
	}
	return b.API.LoadBalancer(ctx, id)
}

// That all, or most, load balancers are not shown for hours is no proof that they were deleted. What is deleted with its
// Service meanwhile does go.
func TestBlankReads(t *testing.T) {
	for name, shown := range map[string]int{"none is shown": 0, "a few are shown": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t, drifting)
				var all []*v1.Service
				hidden := map[string]bool{}
				var mu sync.Mutex
				w.startWith(&blank{API: w.newClient(w.cloud.Key), hides: func(id string) bool {
					mu.Lock()
					defer mu.Unlock()
					return hidden[id]
				}})
				for i := range 6 {
					all = append(all, w.service(fmt.Sprintf("s%d", i)))
				}
				for _, s := range all {
					w.settled(s)
				}
				w.later(10 * time.Minute)
				w.events()
				mu.Lock()
				for _, s := range all[shown:] {
					hidden[w.entry(s).ID] = true
				}
				mu.Unlock()
				w.later(3 * time.Hour)
				if n := w.posts(); n != len(all) {
					t.Errorf("%d requests to make one for %d Services", n, len(all))
				}
				if events := w.events(); count(events, "most load balancers") != len(all)-shown {
					t.Errorf("events %q", events)
				}
				if n, _ := metric(t, "load_balancers_not_shown", ""); n != float64(len(all)-shown) {
					t.Errorf("metric %g", n)
				}
				w.delete(all[5])
				if n := len(w.all()); n != 5 {
					t.Errorf("%d load balancers are left when one Service is gone", n)
				}
				mu.Lock()
				clear(hidden)
				mu.Unlock()
				w.later(20 * time.Minute)
				if n := w.posts(); n != len(all) || len(w.all()) != 5 {
					t.Errorf("%d requests to make one, %d load balancers", n, len(w.all()))
				}
				if n, _ := metric(t, "load_balancers_not_shown", ""); n != 0 {
					t.Errorf("metric %g when all are shown", n)
				}
			})
		})
	}
}

// Whoever has deleted all of them confirms that for a Service by its type: it gets a new one.
func TestManyDeletedByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := []*v1.Service{w.service("a"), w.service("b"), w.service("c")}
		for _, s := range all {
			if err := w.api.DeleteLoadBalancer(t.Context(), w.settled(s).ID); err != nil {
				t.Fatal(err)
			}
		}
		w.wantEvent("most load balancers")
		w.later(time.Hour)
		w.none()
		w.edit(all[0], func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.later(time.Minute)
		w.edit(all[0], func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
		w.settled(all[0])
	})
}

// A load balancer that was made for something else is not taken over by who knows its name: the one of the API servers leads
// to other ports, and the address of another Service's is in that one's status.
func TestTakenForSomethingElse(t *testing.T) {
	for name, prepare := range map[string]func(w *world, lb vultr.LoadBalancer) []func(*v1.Service){
		"the API servers": func(*world, vultr.LoadBalancer) []func(*v1.Service) {
			return []func(*v1.Service){func(s *v1.Service) { s.Spec.Ports[0].NodePort = 31999 }}
		},
		"another Service's address": func(w *world, lb vultr.LoadBalancer) []func(*v1.Service) {
			w.service("victim", func(s *v1.Service) {
				s.Spec.Type = v1.ServiceTypeClusterIP // its controller has not come to it yet
				s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4}}
			})
			return nil
		},
		"another Service's host name": func(w *world, _ vultr.LoadBalancer) []func(*v1.Service) {
			w.service("victim", func(s *v1.Service) {
				s.Spec.Type = v1.ServiceTypeClusterIP
				s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{Hostname: "www"}}
			})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				lb := w.existing("www", behind(w.ids...))
				changes := append(prepare(w, lb), with(settings.Label, "www"))
				thief := w.service("thief", changes...)
				w.wantEvent("SyncLoadBalancerFailed")
				w.later(time.Hour)
				w.untouched(lb)
				if entry := w.entry(thief); entry.ID != "" {
					t.Errorf("%+v", entry)
				}
				w.say(settings.AllowAdoption, lb.ID)
				w.within(time.Minute, "the administrator's word counts", func() bool { return w.entry(thief).ID == lb.ID })
			})
		})
	}
}
