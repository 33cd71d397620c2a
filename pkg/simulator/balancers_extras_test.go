package simulator_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"testing"
	"testing/synctest"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func TestBalancerAutoSSL(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		w.post("/v2/domains", `{"domain":"example.com"}`).is(201)
		const auto = `"auto_ssl":{"domain_zone":"example.com","domain_sub":"www"}`
		id := w.newBalancer(`{"region":"ewr",` + auto + `,` + rules(fwd("https", 443, "http")) + `}`)
		lb := "/v2/load-balancers/" + id
		shown := func() string {
			w.Helper()
			synctest.Wait() // until the plane has been told
			cert := plane.specs[id].Certificate
			if cert == nil {
				return "none"
			}
			pair, err := tls.X509KeyPair(cert.CertificatePEM, cert.PrivateKeyPEM)
			if err != nil {
				w.Fatalf("%v", err)
			}
			return pair.Leaf.Subject.CommonName + " " + pair.Leaf.SerialNumber.String()
		}
		first := shown()
		if first[:len("www.example.com ")] != "www.example.com " {
			w.Errorf("the certificate is of %q", first)
		}
		w.patchBalancer(id, `{"label":"x",`+auto+`}`)
		if shown() != first {
			w.Errorf("the same name again made another certificate")
		}
		w.patch(lb, `{`+auto+`,`+ssl()+`}`).refusedSaying(400, "combined")
		w.patch(lb, `{"auto_ssl":{"domain_zone":"example.com","domain_sub":"no name"}}`).is(400)
		w.patch(lb, `{"auto_ssl":{"domain_zone":"example.org"}}`).refusedSaying(400, "not hosted")
		w.delete(lb+"/ssl").refusedSaying(400, "certificate") // the https rule needs one

		// Without renewal the certificate stays, and another one takes its place.
		w.delete(lb + "/auto_ssl").is(204)
		w.balancer(id).has("load_balancer.auto_ssl.domain", "").has("load_balancer.has_ssl", true)
		w.patchBalancer(id, `{"auto_ssl":{"domain_zone":"EXAMPLE.com"}}`).has("load_balancer.auto_ssl.domain", "example.com")
		w.patchBalancer(id, `{`+ssl()+`}`).has("load_balancer.auto_ssl.domain", "").has("load_balancer.has_ssl", true)
		w.delete("/v2/load-balancers/"+nobody+"/auto_ssl").refused(404, "Invalid load balancer ID.")
	})
}

func TestBalancerGlobalRegions(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		vpc := w.post("/v2/vpcs", `{"region":"ams","description":"there"}`).text("vpc.id")
		id := w.newBalancer(`{"region":"ewr","global_regions":[{"region_id":"ams","vpc_id":"` + vpc + `"},{"region_id":"fra"}]}`)
		want := []any{map[string]any{"region_id": "ams", "vpc_id": vpc}, map[string]any{"region_id": "fra", "vpc_id": ""}}
		w.patchBalancer(id, `{"label":"x"}`).has("load_balancer.global_regions", want)
		w.patchBalancer(id, `{"global_regions":[{"region_id":"fra"}]}`).has("load_balancer.global_regions", want[1:])
		w.patchBalancer(id, `{"global_regions":[]}`).has("load_balancer.global_regions", []any{})
		for _, bad := range []string{`{"region_id":"nowhere"}`, `{"region_id":"mxp"}`, `{"region_id":"ewr"}`, `{"region_id":"fra"},{"region_id":"fra"}`, `{"region_id":"fra","vpc_id":"` + vpc + `"}`} {
			w.patch("/v2/load-balancers/"+id, `{"global_regions":[`+bad+`]}`).is(400)
		}
	})
}

func TestBalancerReverseDNS(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		lb := "/v2/load-balancers/" + w.newBalancer(`{"region":"ewr"}`)
		names := lb + "/reverse-dns"
		w.get(lb).has("load_balancer.ipv6", "2001:db8::1").has("load_balancer.node_ips.v6", []any{"2001:db8::1"})
		w.get(names).has("reverse_dns.v4", []any{}).has("reverse_dns.v6", []any{})
		w.put(names, `{"v4":"lb.example.com"}`).is(204)
		w.put(names, `{"v4":"no name"}`).is(400)
		w.post(names, `{"v6":[{"domain":"lb6.example.com","ip":"2001:db8:0::1"}]}`).is(204)
		w.post(names, `{"v6":[{"domain":"lb6.example.com","ip":"2001:db8::2"}]}`).is(400)
		w.get(names).has("reverse_dns.v4", []any{map[string]any{"domain": "lb.example.com", "ip": "127.64.0.1"}}).
			has("reverse_dns.v6", []any{map[string]any{"domain": "lb6.example.com", "ip": "2001:db8::1"}})
		w.delete(names).is(204)
		w.get(names).has("reverse_dns.v6", []any{})
		w.get("/v2/load-balancers/"+nobody+"/reverse-dns").refused(404, "Invalid load balancer ID.")
	})
}

// A list of firewall rules is what govultr sends.
func TestBalancerFirewallList(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		lb := "/v2/load-balancers/" + w.newBalancer(`{"region":"ewr"}`)
		w.post(lb+"/firewall-rules", `{"firewall_rules":[{"port":80,"source":"10.0.0.0/8","ip_type":"v4"},{"port":443,"source":"cloudflare","ip_type":"v4"}]}`).is(202)
		w.post(lb+"/firewall-rules", `{"firewall_rules":[{"port":80,"source":"10.0.0.0/8","ip_type":"v4"},{"port":0,"source":"10.0.0.0/8","ip_type":"v4"}]}`).is(400)
		if got := w.get(lb).items("load_balancer.firewall_rules"); len(got) != 2 {
			w.Errorf("firewall rules %v", got)
		}
	})
}

// The chain follows the certificate, in both forms of a request, and is what the data plane gets.
func TestBalancerChain(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		cert, key := tlsPair()
		chain, _ := tlsPair()
		b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
		for name, ssl := range map[string]map[string]string{
			"plain":  {"private_key": key, "certificate": cert, "chain": chain},
			"base64": {"private_key_b64": b64(key), "certificate_b64": b64(cert), "chain_b64": b64(chain)},
		} {
			raw, err := json.Marshal(ssl)
			if err != nil {
				w.Fatalf("%v", err)
			}
			id := w.newBalancer(`{"region":"ewr","ssl":` + string(raw) + `,` + rules(fwd("https", 443, "http")) + `}`)
			given := plane.specs[id].Certificate
			pair, err := tls.X509KeyPair(given.CertificatePEM, given.PrivateKeyPEM)
			if err != nil {
				w.Fatalf("%s: %v", name, err)
			}
			var got string
			for _, der := range pair.Certificate {
				got += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
			}
			if got != cert+chain {
				w.Errorf("%s: %d certificates, or others than were sent", name, len(pair.Certificate))
			}
		}
		id := w.newBalancer(`{"region":"ewr"}`)
		for _, bad := range []string{"no PEM", cert + "rubbish", key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
			raw, err := json.Marshal(map[string]string{"private_key": key, "certificate": cert, "chain": bad})
			if err != nil {
				w.Fatalf("%v", err)
			}
			w.patch("/v2/load-balancers/"+id, `{"ssl":`+string(raw)+`}`).refusedSaying(400, "chain")
		}
	})
}
