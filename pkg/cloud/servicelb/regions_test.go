package servicelb_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// regions returns where a load balancer has parts besides its own region: "ams fra".
func regions(lb vultr.LoadBalancer) string {
	var all []string
	for _, region := range lb.GlobalRegions {
		all = append(all, region.Region)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// A load balancer has parts where its Service asks for them, from when it is active on, and none when that ends.
func TestGlobalRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.GlobalRegions, "FRA, ams"))
		lb := w.settled(s)
		spans := func(want string) {
			t.Helper()
			w.shows(lb.ID, "has parts in "+want, func(l vultr.LoadBalancer) bool { return regions(l) == want })
		}
		spans("ams fra")
		if !w.entry(s).Regions {
			t.Error("it is not written down that they are the Service's")
		}
		before := w.writes()
		w.later(time.Hour)
		w.start()
		w.later(time.Hour)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes though nothing changed", n)
		}
		w.edit(s, with(settings.GlobalRegions, "ewr,ams"))
		w.wantEvent("names ewr, which is the load balancer's own region")
		spans("ams")
		w.edit(s, with(settings.GlobalRegions, "ams,amsterdam"))
		w.wantEvent("must be a list of regions")
		w.later(10 * time.Minute)
		spans("ams")
		w.stop()
		w.edit(s, without(settings.GlobalRegions))
		w.start()
		spans("")
		w.later(10 * time.Minute)
		if w.entry(s).Regions {
			t.Error("it is written down that it has parts")
		}

		// What somebody else puts there is not the Service's.
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{GlobalRegions: &[]vultr.GlobalRegion{{Region: "fra"}}}); err != nil {
			t.Fatal(err)
		}
		w.events()
		w.later(20 * time.Minute)
		spans("fra")
		if count(w.events(), "LoadBalancerDrifted") != 0 {
			t.Error("it is told as a change of what the Service asks for")
		}
	})
}

// The answer to the request is lost, or the process dies right after it: the parts go all the same when the Service does not want
// them any more.
func TestGlobalRegionsInDoubt(t *testing.T) {
	for name, dies := range map[string]bool{"the answer is lost": false, "the process dies": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				api := &tapped{API: w.newClient(w.cloud.Key)}
				w.startWith(api)
				s := w.service("web")
				lb := w.settled(s)
				w.later(10 * time.Minute)
				sent := make(chan struct{}, 1)
				api.update = func(ctx context.Context, change vultr.LoadBalancerSettings, do func() error) error {
					if err := do(); err != nil || change.GlobalRegions == nil {
						return err
					}
					select {
					case sent <- struct{}{}:
					default:
						return nil
					}
					if dies {
						<-ctx.Done()
						return ctx.Err()
					}
					return lost()
				}
				w.edit(s, with(settings.GlobalRegions, "ams"))
				w.shows(lb.ID, "has a part", func(l vultr.LoadBalancer) bool { return regions(l) == "ams" })
				if dies {
					w.stop()
				}
				w.edit(s, without(settings.GlobalRegions))
				if dies {
					w.start()
				}
				w.shows(lb.ID, "has no part any more", func(l vultr.LoadBalancer) bool { return regions(l) == "" })
			})
		})
	}
}

// A part of a load balancer may be shown as a load balancer of its own, with the same label: it is not deleted as one that was made
// twice, nobody is told of it, and it does not hold up the Service's end.
func TestPartsAreNoTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.GlobalRegions, "ams"))
		lb := w.settled(s)
		w.shows(lb.ID, "has a part", func(l vultr.LoadBalancer) bool { return regions(l) == "ams" })
		proof := cloudprovider.DefaultLoadBalancerName(s)
		part, err := w.api.CreateLoadBalancer(t.Context(), "ams", vultr.LoadBalancerSettings{Label: &proof})
		if err != nil {
			t.Fatal(err)
		}
		w.ignored[part.ID] = true
		w.later(20 * time.Minute)
		w.start()
		w.later(20 * time.Minute)
		w.truth(part.ID)
		if events := w.events(); has(events, "DuplicateLoadBalancer") {
			t.Errorf("events %q", events)
		}
		w.cloud.Fault(simulator.Fault{Method: "DELETE", Path: "/load-balancers/" + part.ID, Action: simulator.FaultStatus, Status: 422})
		w.deleting(s)
		w.eventually("the whole goes", func() bool { return len(w.all()) == 0 })
		w.cloud.Sim.ClearFaults()
		w.finalizerGone(s, 20*time.Minute)
	})
}
