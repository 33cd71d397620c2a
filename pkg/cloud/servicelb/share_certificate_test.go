package servicelb_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// terminates reports whether a load balancer has an https port that leads to a node port.
func terminates(lb vultr.LoadBalancer, nodePort int) bool {
	return slices.ContainsFunc(lb.Rules, func(r vultr.ForwardingRule) bool { return r.FrontendProtocol == "https" && r.BackendPort == nodePort })
}

// The certificate of a Service that uses it no more does not go on serving the ports of another one, of another Namespace, that has none
// of its own: that one would have the traffic of the first one's names, deciphered.
func TestCertificateOfOneWhoHasLeft(t *testing.T) {
	lacks := map[string]func(*v1.Service){
		"there is no Secret": func(*v1.Service) {},
		"it has faults":      with(settings.NodeCount, "2"),
		"it is misspelled":   func(s *v1.Service) { without(settings.SSL)(s); with(settings.Prefix+"sssl", "none")(s) },
	}
	for name, leave := range map[string]func(w *world, s *v1.Service){
		"is deleted":           func(w *world, s *v1.Service) { w.delete(s) },
		"takes another label":  func(w *world, s *v1.Service) { w.edit(s, with(settings.Label, "other")) },
		"has no https anymore": func(w *world, s *v1.Service) { w.edit(s, without(settings.HTTPSPorts), without(settings.SSL)) },
	} {
		for why, lack := range lacks {
			t.Run(name+", "+why, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
					w.allowSharing("shop", "www")
					w.allowSharing("bank", "www")
					w.putSecret(certificate(t, time.Now().Add(1000*time.Hour))) // shop/tls
					first := w.service("first", www, on(443, 30443), with(settings.SSL, "tls"), with(settings.HTTPSPorts, "443"), aged(2*time.Hour))
					second := w.service("second", www, on(8443, 31443), in("bank"), with(settings.SSL, "none"), with(settings.HTTPSPorts, "8443"), aged(time.Hour))
					lb := w.share("443:30443 8443:31443", first, second)
					w.edit(second, lack)
					w.later(10 * time.Minute)
					w.events()

					leave(w, first)
					w.shows(lb.ID, "has no https port of the first any more", func(l vultr.LoadBalancer) bool { return !terminates(l, 30443) })
					w.wantEvent("the https ports wait for their certificate")
					w.later(10 * time.Minute)
					if now := w.truth(lb.ID); now.HasSSL || terminates(now, 31443) {
						t.Errorf("bank/second has %s (certificate there: %t)", leads(now), now.HasSSL)
					}
					w.edit(second, on(443, 31443), with(settings.HTTPSPorts, "443")) // which may be free now
					w.later(20 * time.Minute)
					if now := w.truth(lb.ID); now.HasSSL || terminates(now, 31443) {
						t.Errorf("bank/second has taken %s (certificate there: %t)", leads(now), now.HasSSL)
					}
				})
			})
		}
	}
}

// The next one's own certificate takes the place of the one that was used until then, with no break, and stays when that one's Secret goes.
func TestCertificateOfTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		own := certificate(t, time.Now().Add(2000*time.Hour))
		own.Name = "own"
		w.putSecret(own)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		first := w.service("first", www, on(443, 30443), with(settings.SSL, "tls"), with(settings.HTTPSPorts, "443"), aged(2*time.Hour))
		second := w.service("second", www, on(8443, 31443), with(settings.SSL, "own"), with(settings.HTTPSPorts, "8443"), aged(time.Hour))
		lb := w.share("443:30443 8443:31443", first, second)
		w.later(10 * time.Minute)
		w.delete(first)
		w.share("8443:31443", second)
		w.later(10 * time.Minute)
		if err := w.client.CoreV1().Secrets("shop").Delete(t.Context(), "own", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.edit(second, with(settings.Timeout, "30"))
		w.wantEvent("the old certificate stays")
		w.later(20 * time.Minute)
		if now := w.truth(lb.ID); !now.HasSSL || !terminates(now, 31443) || now.Timeout != 30 {
			t.Errorf("%+v", now)
		}
		if n := w.cloud.Count("delete_load_balancer_ssl"); n != 0 {
			t.Errorf("a certificate was removed %d times", n)
		}
	})
}

// That the next one's Secret can't be read for a while says nothing about its certificate: its port is not closed for that.
func TestCertificateOfTheNextOneCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		own := certificate(t, time.Now().Add(2000*time.Hour))
		own.Name = "own"
		w.putSecret(own)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		first := w.service("first", www, on(443, 30443), with(settings.SSL, "tls"), with(settings.HTTPSPorts, "443"), aged(2*time.Hour))
		second := w.service("second", www, on(8443, 31443), with(settings.SSL, "own"), with(settings.HTTPSPorts, "8443"), aged(time.Hour))
		lb := w.share("443:30443 8443:31443", first, second)
		w.later(10 * time.Minute)
		down := w.refuse("get", "secrets", errors.New("the API server is down"))
		down.Store(true)
		w.deleting(first)
		w.later(5 * time.Minute)
		if now := w.truth(lb.ID); !now.HasSSL || !terminates(now, 31443) {
			t.Errorf("%+v", now)
		}
		down.Store(false)
		w.finalizerGone(first, 10*time.Minute)
		if now := w.share("8443:31443", second); !now.HasSSL {
			t.Errorf("%+v", now)
		}
	})
}

// A Service asks for its http port to be redirected to https, and its certificate is missing. Alone it gets nothing until there is one. On
// a load balancer that it shares its http port is not served without the redirect, which is less encrypted than asked for.
func TestNoPlainHTTPInPlaceOfARedirect(t *testing.T) {
	for name, joins := range map[string]bool{"while it is made": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				other := w.service("other", www, on(8080, 32080), aged(time.Hour))
				if joins {
					w.share("8080:32080", other)
				}
				s := w.service("web", www, on(80, 30080), also(443, 30443), with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"),
					with(settings.SSL, "tls"), with(settings.SSLRedirect, "true"))
				w.wantEvent(`there is no Secret "tls"`)
				w.later(10 * time.Minute)
				if now := w.only(); leads(now) != "8080:32080" {
					t.Errorf("it leads to %s, and redirects: %t", leads(now), now.SSLRedirect)
				}
				w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
				if now := w.share("443:30443 8080:32080 80:30080", other, s); !now.SSLRedirect {
					t.Error("it does not redirect")
				}
			})
		})
	}
}

// What is served in plain text already goes on while there is no certificate for the redirect that its owner has just asked for.
func TestPlainHTTPStaysUntilItCanBeRedirected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.service("other", www, on(8080, 32080), aged(time.Hour))
		s := w.service("web", www, on(80, 30080), with(settings.Protocol, "http"))
		w.share("8080:32080 80:30080", other, s)
		w.later(10 * time.Minute)
		w.edit(s, also(443, 30443), with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls"), with(settings.SSLRedirect, "true"))
		w.wantEvent(`there is no Secret "tls"`)
		w.later(10 * time.Minute)
		w.share("8080:32080 80:30080", other, s)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		if now := w.share("443:30443 8080:32080 80:30080", other, s); !now.SSLRedirect {
			t.Error("it does not redirect")
		}
		w.later(10 * time.Minute)
		w.edit(s, without(settings.SSLRedirect), with(settings.NodeCount, "2"))
		w.later(10 * time.Minute)
		if now := w.only(); !now.SSLRedirect || leads(now) != "443:30443 8080:32080 80:30080" {
			t.Errorf("one with a fault is brought to %s, and redirects: %t", leads(now), now.SSLRedirect)
		}
	})
}
