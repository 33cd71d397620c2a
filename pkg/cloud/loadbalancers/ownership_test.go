package loadbalancers_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/loadbalancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func timeNow() time.Time { return time.Now() }

func TestAdoptByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		theirs := w.existing("My Balancer", func(s *vultr.LoadBalancerSettings) {
			s.Firewall = &[]vultr.FirewallRule{{Port: 8080, Source: "10.0.0.0/8", IPType: "v4"}}
		})
		s := w.service("web", with(settings.ID, theirs.ID))
		status := w.settled(s)
		if status.Ingress[0].IP != theirs.IPv4 || status.Ingress[0].Hostname != "" {
			t.Errorf("status %+v", status)
		}
		lb := w.only()
		if lb.Label != "My Balancer" || len(lb.Firewall) != 1 {
			t.Errorf("name and firewall must stay: %+v", lb)
		}
		if !slices.Equal(lb.Instances, w.ids) || lb.Rules[0].FrontendPort != 80 {
			t.Errorf("it must serve the Service: %+v", lb)
		}
		w.edit(s, with(settings.FirewallRules, ""))
		w.settled(s)
		if lb = w.only(); len(lb.Firewall) != 0 {
			t.Errorf("an explicit empty list must clear: %+v", lb.Firewall)
		}
		w.events()
		w.gone(s)
		if lb = w.only(); lb.ID != theirs.ID {
			t.Errorf("%+v", lb)
		}
		w.wantEvent("LoadBalancerKept")
	})
}

func TestAdoptByLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stranger := w.cloud.AddInstance(simulator.NewServer{Label: "somebody"})
		theirs := w.existing("shared", func(s *vultr.LoadBalancerSettings) { s.Instances = &[]string{stranger} })
		s := w.service("web", with(settings.Label, "shared"))
		before := w.writes()
		_, err := w.ensure(s)
		wantText(t, err, theirs.ID, stranger, "not of this cluster")
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes to somebody's load balancer", n)
		}
		if err := w.api.UpdateLoadBalancer(t.Context(), theirs.ID, vultr.LoadBalancerSettings{Instances: &[]string{}}); err != nil {
			t.Fatal(err)
		}
		w.settled(s)
		if lb := w.only(); lb.ID != theirs.ID || !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("%+v", lb)
		}
		w.gone(s)
		if lb := w.only(); lb.ID != theirs.ID {
			t.Errorf("%+v", lb)
		}
	})
}

// A name of the owner's choice must not cost the proof that the load balancer is the Service's.
func TestOwnLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Label, "shop-web"))
		status := w.settled(s)
		lb := w.only()
		if lb.Label != "shop-web" || status.Ingress[0].Hostname != "shop-web" {
			t.Errorf("label %q, status %+v", lb.Label, status)
		}
		w.restart()
		w.edit(s, with(settings.Label, "shop-front"))
		w.settled(s)
		w.edit(s, func(s *v1.Service) { delete(s.Annotations, string(settings.Label)) })
		w.settled(s)
		if lb = w.only(); lb.Label != cloudprovider.DefaultLoadBalancerName(s) {
			t.Errorf("label %q", lb.Label)
		}
		w.edit(s, with(settings.Label, "shop-web"))
		w.settled(s)
		w.restart()
		w.gone(s)
		if all := w.balancers(); len(all) > 0 {
			t.Errorf("left behind: %+v", all)
		}
	})
}

// The official controller made load balancers with labels of their own and deleted them with their Services. Nothing
// tells them from those that somebody lent to a Service, but the note that the Service's owner adds.
func TestMadeByTheOfficialControllerWithALabelOfItsOwn(t *testing.T) {
	for name, adopted := range map[string]bool{"as it was": false, "with the note": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				lb := w.existing("storefront")
				s := w.service("web", with(settings.Label, "storefront"), with(settings.ID, lb.ID))
				w.settled(s)
				if adopted {
					w.edit(s, with(settings.Owned, lb.ID))
					w.settled(s)
				}
				if err := w.lbs.EnsureLoadBalancerDeleted(t.Context(), "kubernetes", w.fresh(s)); err != nil {
					t.Fatal(err)
				}
				if left := w.balancers(); (len(left) == 0) != adopted {
					t.Errorf("left after the Service: %+v", left)
				}
				if !adopted {
					w.wantEvent("not made for this Service")
				}
			})
		})
	}
}

// A copied manifest carries the annotations of the first Service.
func TestCopiedService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first")
		w.settled(first)
		lb := w.only()
		notes := w.fresh(first).Annotations
		copied := w.service("second", func(s *v1.Service) { s.Annotations = notes })
		before := w.writes()
		_, err := w.ensure(copied)
		if taken, ok := errors.AsType[*loadbalancers.TakenError](err); !ok || taken.Holder != "shop/first" || taken.ID != lb.ID {
			t.Errorf("ensure: %v", err)
		}
		w.edit(copied, func(s *v1.Service) {
			now := fixedTime
			s.DeletionTimestamp = &now
		})
		if err := w.lbs.EnsureLoadBalancerDeleted(t.Context(), "", w.fresh(copied)); err != nil {
			t.Errorf("delete: %v", err)
		}
		if _, exists, err := w.lbs.GetLoadBalancer(t.Context(), "", w.fresh(copied)); err != nil || exists {
			t.Errorf("get: %v, %v", exists, err)
		}
		if n := w.writes() - before; n != 0 || w.only().ID != lb.ID {
			t.Errorf("%d writes", n)
		}
		w.settled(first)
	})
}

func TestSameLabelTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first", with(settings.Label, "one"))
		second := w.service("second", with(settings.Label, "one"))
		for {
			if _, err := w.ensure(second); !isWait(err) {
				wantText(t, err, "shop/first", "not supported")
				break
			}
		}
		w.settled(first)
		_, err := w.ensure(second)
		wantText(t, err, "shop/first", "not supported")
		w.only()
	})
}

func TestUnsupportedSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		protected := w.service("protected", with(settings.VPC, "true"), with(settings.Prefix+"colour", "blue"))
		var err error
		w.eventually("the verdict", func() bool { _, err = w.ensure(protected); return !isWait(err) })
		if !errors.Is(err, plan.ErrUnprotected) {
			t.Errorf("a new one must be refused: %v", err)
		}
		if n := w.writes(); n != 0 {
			t.Errorf("%d writes", n)
		}
		_, _ = w.ensure(protected) // tells nothing new
		warnings := w.events()
		if len(warnings) != 1 {
			t.Errorf("want one event: %q", warnings)
		}

		coloured := w.service("coloured", with(settings.Prefix+"colour", "blue"))
		w.settled(coloured)
		w.wantEvent(settings.Prefix + "colour")

		theirs := w.existing("firewalled", func(s *vultr.LoadBalancerSettings) {
			s.Firewall = &[]vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}
		})
		kept := w.service("kept", with(settings.ID, theirs.ID), with(settings.Owned, theirs.ID), with(settings.FirewallRulesCM, "cm"))
		w.settled(kept)
		lb, err := w.api.LoadBalancer(t.Context(), theirs.ID)
		if err != nil || len(lb.Firewall) != 1 || !slices.Equal(lb.Instances, w.ids) || lb.Rules[0].FrontendPort != 80 {
			t.Errorf("firewall must stay, the rest must be served: %+v, %v", lb, err)
		}
	})
}
