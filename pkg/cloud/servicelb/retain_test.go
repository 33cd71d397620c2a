package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

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
				thief := w.service("thief", with(settings.ID, lb.ID)) // the node port is free again, so it has the same one
				w.wantEvent("it was made for another Service")
				w.delete(thief)
				if now := w.only(); now.ID != lb.ID || now.Timeout != 30 {
					t.Errorf("%+v", now)
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

// A load balancer that is protected outlives the wish to delete its Service, until the protection is taken off; then it goes,
// or stays without the Service.
func TestDeletionProtection(t *testing.T) {
	for name, tt := range map[string]struct {
		value string
		end   func(*v1.Service)
		left  int
	}{
		"taken off": {"true", with(settings.DeletionProtection, "false"), 0},
		"removed":   {"true", without(settings.DeletionProtection), 0},
		"malformed": {"on", without(settings.DeletionProtection), 0},
		"kept":      {"true", with(settings.Retain, "true"), 1},
		"given up":  {"true", with(settings.Create, "false"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web")
				lb := w.settled(s)
				w.edit(s, with(settings.DeletionProtection, tt.value))
				w.later(time.Minute)
				w.deleting(s)
				w.wantEvent("DeletionProtected Load balancer " + lb.ID + " is not deleted")
				w.later(time.Hour)
				w.start()
				w.later(time.Hour)
				if now := w.only(); now.ID != lb.ID || !servicehelper.HasLBFinalizer(w.fresh(s)) || w.cloud.Count("delete_load_balancer") > 0 {
					t.Errorf("%+v, finalizers %v", now, w.fresh(s).Finalizers)
				}
				if n := count(w.events(), "DeletionProtected"); n != 1 {
					t.Errorf("told %d times by the second process", n)
				}
				w.edit(s, tt.end)
				w.finalizerGone(s, time.Minute)
				if n := len(w.all()); n != tt.left {
					t.Errorf("%d load balancers are left, want %d", n, tt.left)
				}
			})
		})
	}
}
