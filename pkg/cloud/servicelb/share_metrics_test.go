package servicelb_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// each waits until a metric of these Services has the value.
func (w *world) each(name string, value float64, services ...*v1.Service) {
	w.Helper()
	for _, s := range services {
		w.eventually("the metric "+name+" of "+s.Name, func() bool {
			is, there := metric(w.T, name, s.Name)
			return there && is == value
		})
	}
}

// Each of those that share a load balancer has its own state: what is wrong with one is not shown of the others, and none is ready
// before it is served. Rules, drift and last success are those of the load balancer that each has.
func TestStatesOfThoseWhoShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		a, b := w.service("sharer-a", www, on(80, 30080)), w.service("sharer-b", www, on(443, 30443))
		w.eventually("it is being made", func() bool { return w.posts() == 1 })
		w.showsState("sharer-a", "pending")
		w.showsState("sharer-b", "pending")
		lb := w.share("443:30443 80:30080", a, b)
		w.showsState("sharer-a", "ready")
		w.showsState("sharer-b", "ready")
		w.each("load_balancer_rules", 2, a, b)

		// One with faults that waits for its turn, then one whose port another one has.
		c := w.service("sharer-c", www, on(8080, 32080), with(settings.Timeout, "-1"))
		w.showsState("sharer-c", "failing")
		success, _ := metric(t, "load_balancer_last_success_timestamp_seconds", "sharer-b")
		w.later(20 * time.Minute)
		if got := []string{states(t, "sharer-a")[0], states(t, "sharer-b")[0], states(t, "sharer-c")[0]}; !slices.Equal(got, []string{"ready", "ready", "failing"}) {
			t.Errorf("states %v", got)
		}
		if now, _ := metric(t, "load_balancer_last_success_timestamp_seconds", "sharer-b"); now <= success {
			t.Error("that a guest is still served is not shown")
		}
		w.edit(c, without(settings.Timeout), on(80, 32080))
		w.wantEvent("LoadBalancerPortTaken")
		w.later(time.Minute)
		if got := states(t, "sharer-c"); !slices.Equal(got, []string{"failing"}) {
			t.Errorf("none of its ports is served, and its state is %v", got)
		}
		w.edit(c, on(8080, 32080))
		w.showsState("sharer-c", "ready")
		w.each("load_balancer_rules", 3, a, b, c)

		// What somebody changes on the platform concerns all of them.
		w.later(10 * time.Minute)
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Timeout: new(77)}); err != nil {
			t.Fatal(err)
		}
		w.each("load_balancer_drift_total", 1, a, b, c)

		// Who leaves takes its metrics along, the host as well.
		w.delete(b)
		w.delete(a)
		w.later(time.Minute)
		if left := slices.Concat(series(t, "sharer-a"), series(t, "sharer-b")); len(left) > 0 {
			t.Errorf("there are still %v", left)
		}
		w.showsState("sharer-c", "ready")
		w.each("load_balancer_rules", 1, c)
		w.delete(c)
		w.later(time.Minute)
		if left := series(t, "sharer-c"); len(left) > 0 {
			t.Errorf("there are still %v", left)
		}
	})
}

// The end of the certificate is shown of the Service whose it is, and of no other.
func TestExpiryOfThoseWhoShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		end := time.Now().Add(1000 * time.Hour)
		w.putSecret(certificate(t, end))
		a := w.service("expires-a", www, on(80, 30080))
		b := w.service("expires-b", www, on(443, 30443), with(settings.SSL, "tls"), with(settings.HTTPSPorts, "443"))
		w.share("443:30443 80:30080", a, b)
		w.each("certificate_expiry_timestamp_seconds", float64(end.Unix()), b)
		if at, there := metric(t, "certificate_expiry_timestamp_seconds", "expires-a"); there {
			t.Errorf("of the one without a certificate it is said to expire at %f", at)
		}
		w.edit(b, without(settings.SSL), without(settings.HTTPSPorts))
		w.eventually("it is shown of nobody", func() bool {
			_, there := metric(t, "certificate_expiry_timestamp_seconds", "expires-b")
			return !there
		})
		w.delete(a)
		w.delete(b)
	})
}

// Who leaves, and has no certificate any more, is not told for ever that the one which it had there expires.
func TestExpiryOfOneWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		end := time.Now().Add(1000 * time.Hour)
		w.putSecret(certificate(t, end))
		a := w.service("stays-a", www, on(80, 30080))
		b := w.service("leaves-b", www, on(443, 30443), with(settings.SSL, "tls"), with(settings.HTTPSPorts, "443"))
		w.share("443:30443 80:30080", a, b)
		w.each("certificate_expiry_timestamp_seconds", float64(end.Unix()), b)
		w.edit(b, without(settings.SSL), without(settings.HTTPSPorts), with(settings.Label, "alone"))
		w.eventually("each has its own", func() bool { return len(w.all()) == 2 && w.entry(b).Address != "" })
		w.later(10 * time.Minute)
		if at, there := metric(t, "certificate_expiry_timestamp_seconds", "leaves-b"); there {
			t.Errorf("it has no certificate, and is said to have one until %f", at)
		}
		w.each("load_balancer_rules", 1, a, b)
		w.delete(a)
		w.delete(b)
	})
}

// Whose http ports another Service redirects to https is told, though it asks for nothing, and by whom, not that it is the oldest itself.
func TestRedirectOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		first := w.service("first", www, on(80, 30080), with(settings.Protocol, "http"), aged(time.Hour))
		second := w.service("second", www, on(443, 30443), also(8080, 30088), with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"),
			with(settings.SSL, "tls"), with(settings.SSLRedirect, "true"))
		w.wantEvent("which the Service shares, has these settings once for all, as one of the Services asks for: ssl-redirect, which Service shop/second has")
		if lb := w.share("443:30443 8080:30088 80:30080", first, second); !w.truth(lb.ID).SSLRedirect {
			t.Error("it does not redirect")
		}
	})
}
