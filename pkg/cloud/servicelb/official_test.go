package servicelb_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// officialFinds returns the load balancer that the official controller (v0.18) takes for a Service's: the one that the annotation
// names, else the first in the list with the label, which is the annotation's or the library's default name.
func (w *world) officialFinds(s *v1.Service) string {
	w.Helper()
	fresh := w.fresh(s)
	if id := fresh.Annotations[string(settings.ID)]; id != "" {
		return w.truth(id).ID // it fails if there is none
	}
	label := fresh.Annotations[string(settings.Label)]
	if label == "" {
		label = cloudprovider.DefaultLoadBalancerName(fresh)
	}
	list, err := w.api.LoadBalancers(w.Context(), 0)
	if err != nil {
		w.Fatal(err)
	}
	for _, lb := range list.Items {
		if lb.Label == label {
			return lb.ID
		}
	}
	return ""
}

// officialSyncs does what the official controller does with a Service that has a load balancer: it sends all that it asks for in one
// request, without looking at what there is, and writes address and label into one entry of the status.
func (w *world) officialSyncs(s *v1.Service, id string, rules ...vultr.ForwardingRule) {
	w.Helper()
	fresh := w.fresh(s)
	label := fresh.Annotations[string(settings.Label)]
	if label == "" {
		label = cloudprovider.DefaultLoadBalancerName(fresh)
	}
	algorithm, timeout := "roundrobin", 600
	if err := w.api.UpdateLoadBalancer(w.Context(), id, vultr.LoadBalancerSettings{
		Label: &label, Algorithm: &algorithm, Timeout: &timeout, Rules: &rules, Instances: &w.ids,
		HealthCheck: &vultr.HealthCheck{
			Protocol: "tcp", Port: rules[0].BackendPort, CheckInterval: 15, ResponseTimeout: 5, UnhealthyThreshold: 5, HealthyThreshold: 5,
		},
	}); err != nil && !vultr.IsNothingToChange(err) {
		w.Fatal(err)
	}
	lb := w.truth(id)
	w.edit(s, func(s *v1.Service) {
		s.Annotations[string(settings.ID)] = id
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4, Hostname: label}}
	})
}

// The cluster goes back to the official controller for a while, and comes here again: each finds what the other has left, by the same
// address, nothing is made or deleted, and in the end all is as it was.
func TestBackAndForth(t *testing.T) {
	tcp := func(port, nodePort int) vultr.ForwardingRule {
		return vultr.ForwardingRule{FrontendProtocol: "tcp", FrontendPort: port, BackendProtocol: "tcp", BackendPort: nodePort}
	}
	for name, change := range map[string]func(*v1.Service){
		"by its default name": func(*v1.Service) {},
		"by a label":          www,
		"note taken away":     func(*v1.Service) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web", change)
				lb := w.settled(s)
				w.later(10 * time.Minute)
				before := w.fresh(s).Status.LoadBalancer
				for range 2 {
					w.stop()
					if name == "note taken away" {
						w.edit(s, without(settings.ID))
					}
					if found := w.officialFinds(s); found != lb.ID {
						t.Fatalf("the official controller takes %q for the Service's load balancer, which is %s", found, lb.ID)
					}
					if !servicehelper.HasLBFinalizer(w.fresh(s)) {
						t.Error("it would not learn of the Service's end")
					}
					w.officialSyncs(s, lb.ID, tcp(80, 30080))
					w.later(time.Hour)
					w.start()
					w.later(20 * time.Minute)
					if now := w.only(); now.ID != lb.ID || now.IPv4 != lb.IPv4 || leads(now) != "80:30080" {
						t.Errorf("%+v", now)
					}
					w.eventually("the status is as before", func() bool {
						now := w.fresh(s).Status.LoadBalancer
						return len(now.Ingress) == 1 && now.Ingress[0].IP == before.Ingress[0].IP && now.Ingress[0].IPMode != nil
					})
				}
				if w.posts() != 1 || w.cloud.Count("delete_load_balancer") != 0 {
					t.Errorf("%d made, %d deleted", w.posts(), w.cloud.Count("delete_load_balancer"))
				}
				w.delete(s)
				w.none() // it was made for the Service, whoever served it meanwhile
			})
		})
	}
}

// The same with Services that share: the official controller adds the rules of each to those that there are.
func TestSharedBackAndForth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		w.later(10 * time.Minute)
		w.stop()
		rules := w.truth(lb.ID).Rules
		for _, s := range []*v1.Service{first, second} {
			if found := w.officialFinds(s); found != lb.ID {
				t.Fatalf("the official controller takes %q for the load balancer of %s", found, s.Name)
			}
			w.officialSyncs(s, lb.ID, rules...)
		}
		w.later(time.Hour)
		w.start()
		if now := w.share("443:30443 80:30080", first, second); now.ID != lb.ID {
			t.Errorf("another load balancer: %+v", now)
		}
		w.later(20 * time.Minute)
		if entry := w.entry(first); entry.ID != lb.ID || entry.Guests != ledger.MembersOf(second.UID) || entry.Adopted {
			t.Errorf("ledger %+v", entry)
		}
		if events := strings.Join(w.events(), "\n"); strings.Contains(events, "SyncLoadBalancerFailed") {
			t.Errorf("events %q", events)
		}
		w.delete(first)
		w.delete(second)
		w.none()
	})
}
