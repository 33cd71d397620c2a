package servicelb_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// picky is a platform that refuses some requests.
type picky struct {
	servicelb.API
	refuses  func(vultr.LoadBalancerSettings) bool
	off      atomic.Bool // it refuses nothing any more
	refusals atomic.Int64
}

func (p *picky) judge(s vultr.LoadBalancerSettings) error {
	if p.off.Load() || !p.refuses(s) {
		return nil
	}
	p.refusals.Add(1)
	return &vultr.Error{Op: "change load balancer", Status: http.StatusBadRequest, Message: "The platform does not like that."}
}

func (p *picky) UpdateLoadBalancer(ctx context.Context, id string, s vultr.LoadBalancerSettings) error {
	if err := p.judge(s); err != nil {
		return err
	}
	return p.API.UpdateLoadBalancer(ctx, id, s) //nolint:wrapcheck // it is the client
}

func (p *picky) CreateLoadBalancer(ctx context.Context, region string, s vultr.LoadBalancerSettings) (vultr.LoadBalancer, error) {
	if err := p.judge(s); err != nil {
		return vultr.LoadBalancer{}, err
	}
	return p.API.CreateLoadBalancer(ctx, region, s) //nolint:wrapcheck // it is the client
}

// pick runs a process in front of a platform that refuses some requests.
func (w *world) pick(refuses func(vultr.LoadBalancerSettings) bool) *picky {
	w.Helper()
	p := &picky{API: w.newClient(w.cloud.Key), refuses: refuses}
	w.startWith(p)
	return p
}

// opensTo is for a platform that refuses a range.
func opensTo(source string) func(vultr.LoadBalancerSettings) bool {
	return func(s vultr.LoadBalancerSettings) bool {
		if s.Firewall == nil {
			return false
		}
		for _, rule := range *s.Firewall {
			if rule.Source == source {
				return true
			}
		}
		return false
	}
}

func ranges(sources ...string) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = sources }
}

// The platform refuses what one of those that share asks for. It is told, keeps what it has and costs few requests; the others' changes
// are made, who leaves is released, who comes is served. All this after a restart, too, when nothing is known of whose fault it is.
func TestRefusedRequestHoldsUpNobodyElse(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts %t", restarts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				p := w.pick(opensTo("10.9.0.0/16"))
				first, second, lb := w.pair()
				third := w.service("third", www, on(8080, 32080))
				w.share("443:30443 8080:32080 80:30080", first, second, third)
				w.later(10 * time.Minute)
				w.events()
				w.edit(second, ranges("10.9.0.0/16"))
				w.wantEvent("SyncLoadBalancerFailed")
				if restarts {
					p = w.pick(p.refuses)
				}
				w.edit(third, also(8081, 32081))
				w.within(30*time.Second, "the third has its port", func() bool { return leads(w.truth(lb.ID)) == "443:30443 8080:32080 8081:32081 80:30080" })
				w.deleting(first)
				w.within(time.Minute, "the first has left", func() bool { return leads(w.truth(lb.ID)) == "443:30443 8080:32080 8081:32081" })
				w.finalizerGone(first, time.Minute)
				if restarts {
					w.later(time.Minute)
					p = w.pick(p.refuses)
				}
				fourth := w.service("fourth", www, on(444, 30444))
				w.share("443:30443 444:30444 8080:32080 8081:32081", second, third, fourth)
				w.later(2 * time.Minute)
				if now := w.truth(lb.ID); len(now.Firewall) != 0 || now.ID != lb.ID {
					t.Errorf("%+v", now)
				}
				events := w.events()
				if has(events, "LoadBalancerDrifted") || count(events, "SyncLoadBalancerFailed") > 1 {
					t.Errorf("events %q", events)
				}
				if n := p.refusals.Load(); n > 6 {
					t.Errorf("%d requests were refused", n)
				}
				p.refusals.Store(0)
				writes := w.writes()
				w.later(time.Hour)
				if n := p.refusals.Load(); n < 6 || n > 13 || w.writes() != writes {
					t.Errorf("%d requests were refused in an hour, and %d were made", n, w.writes()-writes)
				}
				w.edit(second, ranges("10.0.0.0/8"))
				w.within(30*time.Second, "the ranges are sent", func() bool { return len(w.truth(lb.ID).Firewall) == 7 })
			})
		})
	}
}

// The one at fault is the oldest, whose settings all follow: these stay as they are, rather than those of another one take their place.
func TestRefusedSettingOfTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		p := w.pick(func(s vultr.LoadBalancerSettings) bool { return s.Timeout != nil && *s.Timeout == 77 })
		first := w.service("first", www, on(80, 30080), with(settings.ProxyProtocol, "true"), with(settings.Algorithm, "least_connections"), with(settings.Timeout, "60"))
		second := w.service("second", www, on(443, 30443), with(settings.Timeout, "300"))
		lb := w.share("443:30443 80:30080", first, second)
		w.later(10 * time.Minute)
		w.edit(first, with(settings.Timeout, "77"), with(settings.Algorithm, "roundrobin"))
		w.wantEvent("The platform does not like that.")
		w.edit(second, also(8443, 31443))
		w.share("443:30443 80:30080 8443:31443", first, second)
		w.later(time.Hour)
		if now := w.truth(lb.ID); now.Timeout != 60 || now.Algorithm != "leastconn" || !now.ProxyProtocol {
			t.Errorf("%+v", now)
		}
		p.off.Store(true)
		w.within(10*time.Minute, "it is tried again", func() bool {
			now := w.truth(lb.ID)
			return now.Timeout == 77 && now.Algorithm == "roundrobin"
		})
	})
}

// The platform refuses to make the load balancer as all ask for. It is made for those whose requests it takes, and the one at fault joins
// them when it is corrected.
func TestRefusedRequestOfOneWhileItIsMade(t *testing.T) {
	for _, guilty := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(guilty), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				w.pick(opensTo("10.9.0.0/16"))
				var all, others []*v1.Service
				for i := range int32(3) {
					s := w.service(fmt.Sprintf("s%d", i), www, on(80+i, 30080+i), func(s *v1.Service) {
						if int(i) == guilty {
							ranges("10.9.0.0/16")(s)
						}
					})
					all = append(all, s)
					if int(i) != guilty {
						others = append(others, s)
					}
				}
				served := func(lb vultr.LoadBalancer, s *v1.Service) bool {
					ingress := w.fresh(s).Status.LoadBalancer.Ingress
					return len(ingress) == 1 && ingress[0].IP == lb.IPv4
				}
				w.within(10*time.Minute, "the others are served", func() bool {
					lbs := w.all()
					return len(lbs) == 1 && len(lbs[0].Rules) == 2 && served(lbs[0], others[0]) && served(lbs[0], others[1])
				})
				w.wantEvent("The platform does not like that.")
				w.edit(all[guilty], ranges())
				w.share("80:30080 81:30081 82:30082", all...)
				w.later(10 * time.Minute)
				if n := w.posts(); n != 1 {
					t.Errorf("%d were made", n)
				}
				for _, s := range all {
					w.delete(s)
				}
				w.none()
			})
		})
	}
}

// What is refused is what all ask for, their name: nobody can be served otherwise, but who leaves is released.
func TestRefusedNameOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		w.pick(func(s vultr.LoadBalancerSettings) bool { return s.Label != nil && *s.Label == "www" })
		first, second, lb := w.pair()
		w.wantEvent("The platform does not like that.")
		w.deleting(second)
		w.finalizerGone(second, 2*time.Minute)
		if now := w.truth(lb.ID); leads(now) != "80:30080" || w.entry(first).Guests != ledger.Members("") {
			t.Errorf("it leads to %s; ledger %+v", leads(now), w.entry(first))
		}
		w.delete(first)
		w.none()
	})
}

// A certificate that the platform refuses holds up nobody else, and another one in its Secret is tried at once.
func TestRefusedCertificateIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		p := w.pick(func(s vultr.LoadBalancerSettings) bool { return s.Certificate != nil })
		first := w.service("first", www, on(80, 30080))
		w.settled(first)
		w.putSecret(certificate(t, time.Now().Add(100*time.Hour)))
		second := w.service("second", www, on(443, 30443), with(settings.SSL, "tls"), with(settings.HTTPSPorts, "443"))
		w.wantEvent("The platform does not like that.")
		w.edit(first, also(81, 30081))
		lb := w.share("80:30080 81:30081", first)
		if !servicehelper.HasLBFinalizer(w.fresh(second)) {
			t.Error("the one who waits has no finalizer")
		}
		w.later(time.Minute)
		p.off.Store(true)
		w.putSecret(certificate(t, time.Now().Add(200*time.Hour)))
		w.within(10*time.Second, "it has the port and the certificate", func() bool {
			now := w.truth(lb.ID)
			return leads(now) == "443:30443 80:30080 81:30081" && now.HasSSL
		})
		w.share("443:30443 80:30080 81:30081", first, second)
	})
}
