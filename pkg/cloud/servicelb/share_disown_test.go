package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// stillHas checks that a Service has the address of a load balancer, which leads where it should.
func (w *world) stillHas(s *v1.Service, lb vultr.LoadBalancer, ports string) {
	w.Helper()
	if now := leads(w.truth(lb.ID)); now != ports {
		w.Errorf("it leads to %s, want %s", now, ports)
	}
	if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != lb.IPv4 {
		w.Errorf("%s has the status %+v", s.Name, ingress)
	}
}

// A Service gives up the load balancer that it shares: its ports and its address stay as they are, whoever had it, as long as it exists and
// others have the load balancer. These go on as before.
func TestDisownOnASharedOne(t *testing.T) {
	for name, host := range map[string]bool{"the host": true, "a guest": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				w.later(10 * time.Minute)
				s, other := second, first
				if host {
					s, other = first, second
				}
				w.edit(s, with(settings.Disown, "true"))
				w.finalizerGone(s, time.Minute)
				w.wantEvent("Load balancer " + lb.ID + " is left as it is, because " + string(settings.Disown) + " says so: it keeps the ports of this Service")
				w.later(20 * time.Minute)
				w.stillHas(s, lb, "443:30443 80:30080")
				before := w.writes()
				w.start()
				w.later(time.Hour)
				if n := w.writes() - before; n != 0 {
					t.Errorf("%d writes though nothing changed", n)
				}

				w.edit(other, also(8080, 32080), with(settings.Timeout, "30"))
				w.shows(lb.ID, "follows the other one", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 && len(l.Rules) == 3 })
				w.edit(s, also(8443, 31443), with(settings.Timeout, "40"))
				w.later(10 * time.Minute)
				w.stillHas(s, lb, "443:30443 8080:32080 80:30080")
				w.leavesPort(s, 8443)
				if now := w.truth(lb.ID); now.Timeout != 30 || w.entry(other).ID != lb.ID {
					t.Errorf("timeout %d, ledger %+v", now.Timeout, w.entry(other))
				}

				w.edit(s, without(settings.Disown), without(settings.Timeout))
				w.share("443:30443 8080:32080 80:30080 8443:31443", s, other)
				w.eventually("it has its finalizer again", func() bool { return servicehelper.HasLBFinalizer(w.fresh(s)) })
				w.delete(other)
				w.delete(s)
				w.none()
			})
		})
	}
}

// What has been given up ends with the Service, or with the last one that has the load balancer.
func TestDisownedPortsEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, s, other *v1.Service, lb vultr.LoadBalancer){
		"the Service is deleted": func(w *world, s, other *v1.Service, lb vultr.LoadBalancer) {
			w.gone(s)
			w.shows(lb.ID, "leads to the other one alone", func(l vultr.LoadBalancer) bool { return leads(l) == "80:30080" })
			w.share("80:30080", other)
			w.eventually("the record has forgotten it", func() bool { return w.entry(other).Guests == "" })
		},
		"the last other one is deleted": func(w *world, s, other *v1.Service, _ vultr.LoadBalancer) {
			w.delete(other)
			w.none()
			if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) > 0 {
				w.Errorf("it has an address of nothing: %+v", ingress)
			}
		},
		"the last other one gives it up": func(w *world, s, other *v1.Service, lb vultr.LoadBalancer) {
			w.edit(other, with(settings.Disown, "true"))
			w.finalizerGone(other, time.Minute)
			w.later(20 * time.Minute)
			w.stillHas(s, lb, "443:30443 80:30080")
			w.stillHas(other, lb, "443:30443 80:30080")
			if entry := w.entry(other); entry.ID != "" || w.record(lb.ID).Left != other.UID {
				w.Errorf("ledger %+v and %+v", entry, w.record(lb.ID))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				w.later(10 * time.Minute)
				w.edit(second, with(settings.Disown, "true"))
				w.finalizerGone(second, time.Minute)
				w.later(10 * time.Minute)
				end(w, second, first, lb)
				if w.posts() != 1 {
					t.Errorf("%d were made", w.posts())
				}
			})
		})
	}
}

// Where several take over what they share, one of them says in time that it does not mean that. What would be changed for the next one is
// told before it is.
func TestPreviewOfASharedOneIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		lb := w.existing("www", behind(w.ids...), func(s *vultr.LoadBalancerSettings) {
			s.Rules = &[]vultr.ForwardingRule{
				{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 30080},
				{FrontendProtocol: "tcp", FrontendPort: 443, BackendProtocol: "tcp", BackendPort: 30443},
			}
		})
		official := func(s *v1.Service) {
			s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4, Hostname: "www"}}
		}
		first := w.service("first", www, on(80, 30080), aged(2*time.Hour), official, with(settings.ID, lb.ID), with(settings.Timeout, "77"))
		second := w.service("second", www, on(443, 30443), aged(time.Hour), official, with(settings.ID, lb.ID))
		w.start()
		w.wantEvent("LoadBalancerWouldChange")
		before := w.cloud.Count("update_load_balancer")
		w.edit(first, with(settings.Disown, "true"))
		w.wantEvent("LoadBalancerWouldChange")
		if n := w.cloud.Count("update_load_balancer") - before; n != 0 {
			t.Errorf("%d changes before there was time to read", n)
		}
		w.later(20 * time.Minute)
		w.stillHas(first, lb, "443:30443 80:30080")
		w.stillHas(second, lb, "443:30443 80:30080")
		if now := w.truth(lb.ID); now.Timeout == 77 {
			t.Error("it was brought to what the first one asked for")
		}
	})
}
