package servicelb_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// host adds a domain to the account's DNS.
func (w *world) host(domain string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.cloud.URL+"/v2/domains", strings.NewReader(`{"domain":"`+domain+`"}`))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.cloud.Key)
	client := &http.Client{Transport: &http.Transport{DialContext: w.cloud.Dial, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	_ = resp.Body.Close() // nobody reads it
	if resp.StatusCode >= 300 {
		w.Fatalf("adding the domain: %s", resp.Status)
	}
}

func (w *world) putDomain(zone, sub string) {
	w.Helper()
	w.putSecret(&v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "domain"},
		Data:       map[string][]byte{"domainZone": []byte(zone), "subDomain": []byte(sub)},
	})
}

func issuedTo(domain string) func(vultr.LoadBalancer) bool {
	return func(lb vultr.LoadBalancer) bool { return lb.HasSSL && lb.AutoSSL.Domain == domain }
}

// The platform issues the certificate for the domain that a Secret names, follows the Secret, and loses it when the Service
// has another certificate, or none; in between https goes on.
func TestAutoSSL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.host("example.com")
		s := w.service("web", with(settings.HTTPSPorts, "80"), with(settings.BackendProtocol, "http"), with(settings.AutoSSL, "domain"))
		w.wantEvent(`Secret "domain": there is none of this name in namespace shop`)
		if n := w.posts(); n != 0 {
			t.Fatalf("%d load balancers were made without a certificate", n)
		}
		w.putDomain("example.com", "www")
		lb := w.settled(s)
		if !issuedTo("www.example.com")(lb) || lb.Rules[0].FrontendProtocol != "https" {
			t.Errorf("%+v", lb)
		}
		w.later(5 * time.Minute)
		before := w.writes()
		w.start()
		w.later(20 * time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes, nothing has changed", n)
		}

		w.putDomain("example.com", "shop")
		w.within(2*time.Second, "it is for the other name", func() bool { return issuedTo("shop.example.com")(w.truth(lb.ID)) })
		w.later(10 * time.Minute)
		if events := w.events(); has(events, "Warning") {
			t.Errorf("events %q", events)
		}
		w.putDomain("", "shop")
		w.wantEvent("it has no key domainZone")
		w.later(10 * time.Minute)
		if now := w.truth(lb.ID); !issuedTo("shop.example.com")(now) {
			t.Errorf("%+v, the Secret says nothing any more", now.AutoSSL)
		}

		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		w.edit(s, without(settings.AutoSSL), with(settings.SSL, "tls"))
		w.shows(lb.ID, "has the Service's own certificate", func(l vultr.LoadBalancer) bool { return l.HasSSL && l.AutoSSL == vultr.AutoSSL{} })
		w.later(time.Minute)
		if c := w.entry(s).Certificate; c == "" || strings.HasPrefix(c, "auto:") {
			t.Errorf("the ledger knows the certificate as %q", c)
		}
		w.edit(s, without(settings.SSL), with(settings.AutoSSLDomain, "example.com"))
		w.shows(lb.ID, "has one of the platform again", issuedTo("example.com"))
		w.edit(s, without(settings.AutoSSLDomain), without(settings.HTTPSPorts), without(settings.BackendProtocol))
		w.shows(lb.ID, "has none", func(l vultr.LoadBalancer) bool { return !l.HasSSL && l.AutoSSL == vultr.AutoSSL{} })
		w.later(time.Minute)
		if c := w.entry(s).Certificate; c != "" {
			t.Errorf("the ledger knows the certificate as %q", c)
		}
		before = w.writes()
		w.later(20 * time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes, nothing has changed", n)
		}
	})
}

// A certificate that the platform issues at somebody else's word is not the Service's to end.
func TestAutoSSLOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.host("example.com")
		s := w.service("web")
		lb := w.settled(s)
		w.later(5 * time.Minute)
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{AutoSSL: &vultr.AutoSSL{Zone: "example.com"}}); err != nil {
			t.Fatal(err)
		}
		w.shows(lb.ID, "has a certificate", issuedTo("example.com"))
		w.edit(s, with(settings.Timeout, "30"))
		w.later(20 * time.Minute)
		if now := w.truth(lb.ID); !issuedTo("example.com")(now) || now.Timeout != 30 {
			t.Errorf("%+v", now)
		}
	})
}
