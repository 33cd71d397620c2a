package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// record returns what the ledger says of a load balancer that was left as it is.
func (w *world) record(id string) ledger.Entry {
	w.Helper()
	return w.entry(&v1.Service{ObjectMeta: metav1.ObjectMeta{UID: types.UID(id)}})
}

// leaving are the ways in which a Service with a load balancer of this name leaves it as it is.
var leaving = map[string]func(w *world) (*v1.Service, vultr.LoadBalancer){
	"retained": func(w *world) (*v1.Service, vultr.LoadBalancer) {
		s := w.service("web", www, with(settings.Retain, "true"), with(settings.Timeout, "30"))
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.delete(s)
		return s, lb
	},
	"disowned": func(w *world) (*v1.Service, vultr.LoadBalancer) {
		s := w.service("web", www, with(settings.Timeout, "30"))
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.edit(s, with(settings.Disown, "true"))
		w.finalizerGone(s, time.Minute)
		w.gone(s)
		return s, lb
	},
	"given up": func(w *world) (*v1.Service, vultr.LoadBalancer) {
		s := w.service("web", www, with(settings.Timeout, "30"))
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.edit(s, with(settings.Create, "false"))
		w.later(10 * time.Minute)
		w.delete(s)
		return s, lb
	},
	"taken over before": func(w *world) (*v1.Service, vultr.LoadBalancer) {
		lb := w.existing("www", behind(w.ids...))
		s := w.service("web", with(settings.ID, lb.ID), with(settings.Timeout, "30"))
		w.shows(lb.ID, "is as the Service asks for", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.later(10 * time.Minute)
		w.delete(s)
		return s, lb
	},
	"left for another one": func(w *world) (*v1.Service, vultr.LoadBalancer) {
		lb, other := w.existing("www", behind(w.ids...)), w.existing("other", behind(w.ids...))
		s := w.service("web", with(settings.ID, lb.ID), with(settings.Timeout, "30"))
		w.shows(lb.ID, "is as the Service asks for", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.later(10 * time.Minute)
		w.edit(s, with(settings.ID, other.ID))
		w.eventually("the other one is taken over", func() bool { return w.entry(s).ID == other.ID })
		w.edit(s, on(80, 31999))
		return s, lb
	},
}

// What a Service leaves as it is can be had by another one by the administrator's word alone, whatever it is called: its node port is free
// then, and can be had by anybody.
func TestLeftUnderItsName(t *testing.T) {
	for way, leave := range leaving {
		for name, claim := range map[string]func(id string) func(*v1.Service){
			"by its ID":   func(id string) func(*v1.Service) { return with(settings.ID, id) },
			"by its name": func(string) func(*v1.Service) { return www },
		} {
			t.Run(way+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
					_, lb := leave(w)
					w.later(time.Hour)
					w.start()
					w.later(time.Hour)
					lb = w.truth(lb.ID)

					thief := w.service("thief", in("bank"), claim(lb.ID), func(s *v1.Service) { s.Spec.Ports[0].Port = 8080 }) // and the same node port
					w.wantEvent("it was left as it is by another Service")
					w.later(20 * time.Minute)
					if entry := w.entry(thief); entry.ID != "" || len(w.fresh(thief).Status.LoadBalancer.Ingress) > 0 {
						t.Errorf("bank/thief has %+v, and the status %+v", entry, w.fresh(thief).Status)
					}
					if now := w.truth(lb.ID); now.Timeout != 30 || leads(now) != "80:30080" {
						t.Errorf("it was changed: timeout %d, leads to %s", now.Timeout, leads(now))
					}

					w.allowAdoption("bank", lb.ID)
					w.eventually("it has it by the administrator's word", func() bool { return w.entry(thief).ID == lb.ID })
					w.shows(lb.ID, "leads to it", func(l vultr.LoadBalancer) bool { return leads(l) == "8080:30080" })
					if record := w.record(lb.ID); record != (ledger.Entry{}) {
						t.Errorf("the ledger still says that it was left: %+v", record)
					}
				})
			})
		}
	}
}

// The Service itself has it back when it wants one again.
func TestLeftAndTakenBack(t *testing.T) {
	for name, tt := range map[string]struct{ leave, back func(w *world, s *v1.Service) }{
		"disowned": {
			func(w *world, s *v1.Service) { w.edit(s, with(settings.Disown, "true")) },
			func(w *world, s *v1.Service) { w.edit(s, without(settings.Disown)) },
		},
		"of another type, and retained": {
			func(w *world, s *v1.Service) {
				w.edit(s, with(settings.Retain, "true"), func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
			},
			func(w *world, s *v1.Service) {
				w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web", www)
				lb := w.settled(s)
				w.later(10 * time.Minute)
				tt.leave(w, s)
				w.finalizerGone(s, time.Minute)
				if record := w.record(lb.ID); record.ID != lb.ID || record.Left != s.UID {
					t.Errorf("ledger %+v", record)
				}
				w.later(time.Hour)
				w.start()
				tt.back(w, s)
				w.eventually("it has its load balancer again", func() bool { return w.entry(s).ID == lb.ID })
				w.later(10 * time.Minute)
				if record := w.record(lb.ID); record != (ledger.Entry{}) || w.only().ID != lb.ID {
					t.Errorf("ledger %+v", record)
				}
				if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != lb.IPv4 {
					t.Errorf("status %+v", ingress)
				}
			})
		})
	}
}

// The record of what was left goes some time after somebody has deleted that, and not for reads that show nothing for a while.
func TestRecordOfWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, drifting)
		api := w.tap()
		s := w.service("web", www, with(settings.Retain, "true"))
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.delete(s)
		w.later(3 * time.Hour)
		api.hidden.Store(true)
		w.later(30 * time.Minute)
		api.hidden.Store(false)
		w.later(3 * time.Hour)
		if w.record(lb.ID).Left != s.UID || has(w.events(), "LoadBalancerOrphaned") {
			t.Errorf("ledger %+v", w.record(lb.ID))
		}
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.later(30 * time.Minute)
		if w.record(lb.ID).Left != s.UID {
			t.Error("it is forgotten too early")
		}
		w.within(2*time.Hour, "the record goes", func() bool { return w.record(lb.ID) == ledger.Entry{} })
	})
}
