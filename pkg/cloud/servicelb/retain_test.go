package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// A load balancer that is to be kept stays as it is when its Service goes, and another Service can have it, with its address.
func TestRetain(t *testing.T) {
	for name, tt := range map[string]struct {
		value string
		leave func(w *world, s *v1.Service)
	}{
		"deleted": {"true", func(w *world, s *v1.Service) { w.deleting(s) }},
		"no longer one": {"true", func(w *world, s *v1.Service) {
			w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		}},
		"said by mistake":      {"yes", func(w *world, s *v1.Service) { w.deleting(s) }},
		"said at the very end": {"", func(w *world, s *v1.Service) { w.edit(s, with(settings.Retain, "true")); w.deleting(s) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web", with(settings.Timeout, "30"))
				lb := w.settled(s)
				if tt.value != "" {
					w.edit(s, with(settings.Retain, tt.value))
				}
				w.later(time.Minute)
				tt.leave(w, s)
				w.finalizerGone(s, 5*time.Second)
				w.wantEvent("Load balancer " + lb.ID + " is left as it is, because " + string(settings.Retain) + " says so")
				if w.fresh(s).DeletionTimestamp != nil {
					w.gone(s)
				}
				w.later(time.Hour)
				if now := w.only(); now.ID != lb.ID || now.Timeout != 30 || len(now.Instances) != len(lb.Instances) || w.cloud.Count("delete_load_balancer") > 0 {
					t.Errorf("%+v; %d deletions", now, w.cloud.Count("delete_load_balancer"))
				}
				if entry := w.entry(s); entry != (ledger.Entry{}) || has(w.events(), "LoadBalancerOrphaned") {
					t.Errorf("the ledger has %+v", entry)
				}
				w.say(settings.AllowAdoption, lb.ID)
				heir := w.service("heir", with(settings.ID, lb.ID))
				w.eventually("another Service has its address", func() bool {
					ingress := w.fresh(heir).Status.LoadBalancer.Ingress
					return len(ingress) == 1 && ingress[0].IP == lb.IPv4
				})
				if w.only().ID != lb.ID {
					t.Error("another one was made")
				}
			})
		})
	}
}
