package simulator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// fwd writes a forwarding rule.
func fwd(front string, port int, back string) string {
	return fmt.Sprintf(`{"frontend_protocol":%q,"frontend_port":%d,"backend_protocol":%q,"backend_port":30080}`, front, port, back)
}

// balancerWith demands a status of a create with these further fields, and returns the answer.
func (w *world) balancerWith(status int, fields string) reply {
	w.Helper()
	return w.post("/v2/load-balancers", `{"region":"ewr",`+fields+`}`).is(status)
}

func rules(rules ...string) string { return `"forwarding_rules":[` + strings.Join(rules, ",") + `]` }

// tlsPair makes a certificate and its key as PEM.
func tlsPair() (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func ssl() string {
	cert, key := tlsPair()
	raw, err := json.Marshal(map[string]string{"private_key": key, "certificate": cert})
	if err != nil {
		panic(err)
	}
	return `"ssl":` + string(raw)
}

var balancerRuleTraits = []trait{
	{name: "16-odd-nodes", test: func(w *world) {
		for nodes, status := range map[int]int{1: 202, 3: 202, 99: 202, 0: 400, 2: 400, -1: 400, 101: 400} {
			w.balancerWith(status, fmt.Sprintf(`"nodes":%d`, nodes))
		}
	}},
	{name: "16-rules", test: func(w *world) {
		var fifteen []string
		for i := range 15 {
			fifteen = append(fifteen, fwd("tcp", 1000+i, "tcp"))
		}
		w.balancerWith(202, rules(fifteen...))
		w.balancerWith(400, rules(append(fifteen, fwd("tcp", 2000, "tcp"))...)).refusedSaying(400, "15")
		w.balancerWith(400, rules(fwd("tcp", 80, "tcp"), fwd("http", 80, "http"))).refusedSaying(400, "duplicate")
		w.balancerWith(400, rules(fwd("tcp", 0, "tcp")))
		w.balancerWith(400, rules(fwd("tcp", 65536, "tcp")))
	}},
	{name: "16-reserved-ports", test: func(w *world) {
		for port, status := range map[int]int{65299: 202, 65300: 400, 65305: 400, 65310: 400, 65311: 202} {
			w.balancerWith(status, rules(fwd("tcp", port, "tcp")))
		}
	}},
	{name: "16-ssl-prerequisites", test: func(w *world) {
		w.balancerWith(400, rules(fwd("https", 443, "http"))).refusedSaying(400, "certificate")
		w.balancerWith(400, `"ssl_redirect":true,`+rules(fwd("http", 80, "http"))).refusedSaying(400, "ssl_redirect")
		cert := ssl()
		id := w.balancerWith(202, cert+`,"ssl_redirect":true,`+rules(fwd("http", 80, "http"), fwd("https", 443, "http"))).
			has("load_balancer.has_ssl", true).text("load_balancer.id")
		w.pass(30 * time.Second)
		w.delete("/v2/load-balancers/"+id+"/ssl").refusedSaying(400, "certificate")
		w.patchBalancer(id, `{"ssl_redirect":false,`+rules(fwd("http", 80, "http"))+`}`).has("load_balancer.has_ssl", true)
		w.delete("/v2/load-balancers/" + id + "/ssl").is(204)
		w.balancer(id).has("load_balancer.has_ssl", false)
		w.balancerWith(400, `"auto_ssl":{"domain_zone":"example.com","domain_sub":"www"},`+rules(fwd("https", 443, "http"))).refusedSaying(400, "not hosted")
		w.post("/v2/domains", `{"domain":"example.com"}`).is(201)
		w.balancerWith(202, `"auto_ssl":{"domain_zone":"example.com","domain_sub":"www"},`+rules(fwd("https", 443, "http"))).
			has("load_balancer.has_ssl", true).has("load_balancer.auto_ssl.domain", "www.example.com")
		w.sslForms()
	}},
	{name: "16-http2-http3", test: func(w *world) {
		https := ssl() + "," + rules(fwd("https", 443, "http"))
		w.balancerWith(400, `"http2":true`).refusedSaying(400, "http2")
		w.balancerWith(400, `"http3":true,`+https).refusedSaying(400, "http3")
		w.balancerWith(400, `"http2":true,"http3":true,`+ssl()+","+rules(fwd("https", 443, "http"), fwd("udp", 443, "udp"))).refusedSaying(400, "duplicate")
		w.balancerWith(202, `"http2":true,`+ssl()+","+rules(fwd("https", 443, "http"), fwd("udp", 443, "udp")))
		w.balancerWith(202, `"http2":true,"http3":true,`+https).has("load_balancer.http2", true).has("load_balancer.http3", true)
	}},
	{name: "16-protocols", test: func(w *world) {
		for pair, status := range map[[2]string]int{
			{"tcp", "tcp"}: 202, {"udp", "udp"}: 202, {"http", "http"}: 202, {"http", "https"}: 202,
			{"tcp", "http"}: 400, {"tcp", "udp"}: 400, {"udp", "tcp"}: 400, {"http", "tcp"}: 400, {"sctp", "sctp"}: 400, {"TCP", "TCP"}: 400,
			{"https", "http"}: 202, {"https", "https"}: 202, {"https", "tcp"}: 400, {"https", "udp"}: 400, {"tcp", "https"}: 400,
		} {
			w.balancerWith(status, ssl()+","+rules(fwd(pair[0], 80, pair[1])))
		}
	}},
	{name: "16-sources", test: func(w *world) {
		for source, status := range map[string]int{
			"10.0.0.0/8": 202, "cloudflare": 202, "192.0.2.1": 202, "0.0.0.0/0": 202,
			"": 400, "everybody": 400, "10.0.0.0/33": 400, "2001:db8::/32": 400,
		} {
			w.balancerWith(status, fmt.Sprintf(`"firewall_rules":[{"port":80,"source":%q,"ip_type":"v4"}]`, source))
		}
		w.balancerWith(202, `"firewall_rules":[{"port":80,"source":"2001:db8::/32","ip_type":"v6"}]`)
	}},
	{name: "16-backend-region", test: func(w *world) {
		metal, err := w.sim.AddBareMetal(simulator.NewServer{Label: "m"})
		if err != nil {
			w.Fatalf("%v", err)
		}
		w.balancerWith(400, `"instances":["`+w.server(simulator.NewServer{Label: "a", Region: "ams"})+`"]`).refusedSaying(400, "region")
		w.balancerWith(400, `"instances":["`+nobody+`"]`)
		w.balancerWith(202, `"instances":["`+w.server(simulator.NewServer{Label: "i"})+`","`+metal+`"]`)
	}},
	{name: "16-regions", test: func(w *world) {
		for region, status := range map[string]int{"mxp": 400, "sao": 400, "nowhere": 400, "": 400, "fra": 202} {
			w.post("/v2/load-balancers", `{"region":"`+region+`"}`).is(status)
		}
	}},
}

// sslForms tries the two forms of a certificate, and wrong ones.
func (w *world) sslForms() {
	w.Helper()
	cert, key := tlsPair()
	_, otherKey := tlsPair()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	https := `,` + rules(fwd("https", 443, "https"))
	for _, c := range []struct {
		status int
		ssl    map[string]string
	}{
		{202, map[string]string{"private_key_b64": b64(key), "certificate_b64": b64(cert), "chain_b64": b64(cert)}},
		{400, map[string]string{"private_key_b64": b64(key), "certificate": cert}},
		{400, map[string]string{"private_key": otherKey, "certificate": cert}},
		{400, map[string]string{"private_key": key}},
		{400, map[string]string{"private_key_b64": "!", "certificate_b64": b64(cert)}},
	} {
		raw, err := json.Marshal(c.ssl)
		if err != nil {
			w.Fatalf("%v", err)
		}
		r := w.balancerWith(c.status, `"ssl":`+string(raw)+https)
		if strings.Contains(r.raw, "PRIVATE") || strings.Contains(r.raw, b64(key)[:20]) {
			w.Errorf("the answer shows the key")
		}
	}
}
