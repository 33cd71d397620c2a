package simulator_test

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const nobody = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

var apiTraits = []trait{
	{name: "01-envelope", test: func(w *world) {
		w.get("/v2/blocks/"+nobody).refused(404, "Invalid block storage ID.")
		w.get("/v2/instances/"+nobody).refused(404, "Invalid instance-id.")
		w.post("/v2/blocks/"+nobody+"/detach", `{}`).refused(404, "Invalid block storage ID.")
		w.post("/v2/blocks", `{`).refusedSaying(400, "invalid json")
		w.post("/v2/blocks", `{"size_gb":"ten"}`).refusedSaying(400, "size_gb")
	}},
	{name: "01-content-type", test: func(w *world) {
		for _, path := range []string{"/v2/blocks", "/v2/blocks/" + nobody, "/v2/regions", "/v2/nothing"} {
			if got := w.get(path).header.Get("Content-Type"); got != "application/json" {
				w.Errorf("GET %s: Content-Type %q", path, got)
			}
		}
	}},
	{name: "01-uuid", test: func(w *world) {
		for _, id := range []string{"1", "pvc-1", nobody + "0", "{" + nobody + "}", "6ba7b8109dad41d180b400c04fd430c8"} {
			w.get("/v2/blocks/"+id).refused(400, "Invalid UUID format.")
			w.delete("/v2/instances/"+id).refused(400, "Invalid UUID format.")
			w.get("/v2/load-balancers/"+id).refused(400, "Invalid UUID format.")
		}
	}},
	{name: "01-token", test: func(w *world) {
		for _, key := range []string{"", "wrong", testKey + "x"} {
			w.key = key
			w.get("/v2/blocks").refused(401, "Invalid API token.")
			w.get("/v2/blocks/"+nobody).refused(401, "Invalid API token.")
			w.get("/v2/regions").is(200)
			w.get("/v2/plans").is(200)
			if n := len(w.get("/v2/regions/ewr/availability").is(200).items("available_plans")); n != 0 {
				w.Errorf("%d plans are available without a key", n)
			}
		}
		w.key = testKey
		w.get("/v2/blocks").is(200)
		w.get("/v2/account").is(200)
	}},
	{name: "01-source-acl", test: func(w *world) {
		w.sim.SetAllowedSources([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		w.get("/v2/blocks").refused(401, "Unauthorized IP address: "+testSource)
		w.sim.SetAllowedSources([]netip.Prefix{netip.MustParsePrefix(testSource + "/32")})
		w.get("/v2/blocks").is(200)
		w.from("2001:db8::9").get("/v2/blocks").refused(401, "Unauthorized IP address: 2001:db8::9")
		w.sim.SetAllowedSources([]netip.Prefix{netip.MustParsePrefix("2001:db8::/64")})
		w.from("2001:db8::9").get("/v2/blocks").is(200)
		w.key = "wrong" // is told before the address is judged
		w.get("/v2/blocks").refused(401, "Invalid API token.")
	}},
	{name: "01-unknown-route", test: func(w *world) {
		for _, path := range []string{"/v2/vpc2", "/", "/v2", "/v2/blocks/", "/v2//blocks", "/v1/account", "/v2/blocks/" + nobody + "/nothing"} {
			w.get(path).refused(404, "Not found.")
		}
		w.do("PUT", "/v2/blocks/"+nobody, "").refused(404, "Not found.")
	}},
	{name: "02-status-codes", test: func(w *world) {
		i := w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"label":"i"}`).is(202).text("instance.id")
		b := w.nvme()
		lb := w.post("/v2/load-balancers", `{"region":"ewr"}`).is(202).text("load_balancer.id")
		w.patch("/v2/blocks/"+b, `{"label":"other"}`).is(204)
		w.pass(2 * time.Minute)
		w.attach(b, i).is(204)
		w.pass(10 * time.Second)
		w.detach(b).is(204)
		w.pass(10 * time.Second)
		for _, verb := range []string{"halt", "start", "reboot"} {
			w.post("/v2/instances/"+i+"/"+verb, "").is(204)
		}
		w.patch("/v2/load-balancers/"+lb, `{"label":"other"}`).is(204)
		for _, path := range []string{"/v2/blocks/" + b, "/v2/instances/" + i, "/v2/load-balancers/" + lb} {
			w.delete(path).is(204)
			w.get(path).is(404)
		}
		for path, body := range map[string]string{
			"/v2/vpcs": `{"region":"ewr"}`, "/v2/firewalls": `{}`, "/v2/ssh-keys": `{"name":"n","ssh_key":"` + aKey + `"}`,
			"/v2/startup-scripts": `{"name":"n","script":"aGk="}`, "/v2/reserved-ips": `{"region":"ewr","ip_type":"v4"}`,
			"/v2/domains": `{"domain":"example.com"}`, "/v2/kubernetes/clusters": aCluster,
		} {
			w.post(path, body).is(201)
		}
		m := w.post("/v2/bare-metals", aMetal).is(202).text("bare_metal.id")
		w.patch("/v2/bare-metals/"+m, `{"label":"other"}`).is(202)
		w.patch("/v2/instances/"+w.server(simulator.NewServer{Label: "i"}), `{"label":"other"}`).is(202)
	}},
	{name: "02-asynchronous", config: exactReads(), test: func(w *world) {
		i := w.server(simulator.NewServer{Label: "i"})
		b := w.post("/v2/blocks", `{"region":"ewr","size_gb":10}`).is(202).has("block.status", "pending").text("block.id")
		w.pass(2 * time.Second)
		w.block(b).has("block.status", "pending")
		w.pass(time.Second)
		w.block(b).has("block.status", "active")
		w.attach(b, i).is(204)
		w.pass(3 * time.Second)
		w.block(b).has("block.attached_to_instance", "")
		w.pass(time.Second)
		w.block(b).has("block.attached_to_instance", i)
		w.detach(b).is(204)
		w.pass(3 * time.Second)
		w.block(b).has("block.attached_to_instance", i)
		w.pass(time.Second)
		w.block(b).has("block.attached_to_instance", "")
		v := w.vpc()
		w.post("/v2/instances/"+i+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).is(204)
		w.get("/v2/instances/"+i+"/vpcs").is(200).has("vpcs", []any{})
		w.pass(5 * time.Second)
		w.get("/v2/instances/"+i+"/vpcs").is(200).hasField("vpcs", 0, "id", v)
		lb := w.post("/v2/load-balancers", `{"region":"ewr"}`).is(202).has("load_balancer.status", "pending").text("load_balancer.id")
		j := w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"attach_vpc":["`+v+`"]}`).is(202).text("instance.id")
		w.pass(5 * time.Second)
		w.get("/v2/instances/"+j+"/vpcs").is(200).has("vpcs", []any{})
		w.pass(time.Second)
		w.get("/v2/instances/"+j+"/vpcs").is(200).hasField("vpcs", 0, "ip_address", "10.1.0.4")
		w.pass(13 * time.Second)
		w.balancer(lb).has("load_balancer.status", "pending")
		w.pass(time.Second)
		w.balancer(lb).has("load_balancer.status", "active")
	}},
	{name: "12-labels-not-unique", test: func(w *world) {
		for path, body := range map[string]string{
			"/v2/blocks": `{"region":"ewr","size_gb":10,"label":"twin"}`, "/v2/instances": anInstance, "/v2/bare-metals": aMetal,
			"/v2/load-balancers": `{"region":"ewr","label":"twin"}`, "/v2/vfs": `{"region":"ewr","label":"twin","storage_size":{"gb":10}}`,
			"/v2/reserved-ips": `{"region":"ewr","ip_type":"v4","label":"twin"}`, "/v2/vpcs": `{"region":"ewr","description":"twin"}`,
			"/v2/firewalls": `{"description":"twin"}`, "/v2/ssh-keys": `{"name":"twin","ssh_key":"` + aKey + `"}`,
			"/v2/startup-scripts": `{"name":"twin","script":"aGk="}`, "/v2/kubernetes/clusters": aCluster,
		} {
			first, second := w.post(path, body), w.post(path, body)
			if first.status/100 != 2 || first.status != second.status || idOf(first.object()) == "" || idOf(first.object()) == idOf(second.object()) {
				w.Errorf("%s twice: %d %s, then %d %s", path, first.status, first.raw, second.status, second.raw)
			}
		}
	}},
	{name: "12-lost-answer", test: func(w *world) {
		id, err := w.sim.AddFault(simulator.Fault{Operation: "create_block", Action: simulator.FaultResetAfter, Times: 1})
		if err != nil {
			w.Fatalf("%v", err)
		}
		body := `{"region":"ewr","size_gb":10,"label":"once"}`
		if r := w.post("/v2/blocks", body); r.err == nil {
			w.Errorf("the answer came: %d %s", r.status, r.raw)
		}
		w.sim.RemoveFault(id)
		w.pass(5 * time.Second)
		w.get("/v2/blocks").is(200).has("meta.total", 1)
		w.post("/v2/blocks", body).is(202)
		w.pass(5 * time.Second)
		w.get("/v2/blocks").is(200).has("meta.total", 2)
		if n := w.sim.Counters()["create_block"]; n.Total != 2 || n.Failed != 1 || n.ByStatus[0] != 1 {
			w.Errorf("counted %+v, want 2 creates of which 1 had no answer", n)
		}
	}},
	{name: "13-rate-limit", config: simulator.Config{RateLimit: 30}, test: func(w *world) {
		for range 30 {
			w.get("/v2/blocks").is(200)
		}
		r := w.get("/v2/blocks")
		r.refused(429, "rate limit exceeded")
		if got := r.header.Get("Retry-After"); got != "1" {
			w.Errorf("Retry-After is %q", got)
		}
		w.get("/v2/nothing").is(429)                     // whatever it asks for
		w.from("203.0.113.10").get("/v2/blocks").is(200) // others have a limit of their own
		w.pass(time.Second)
		for range 30 {
			w.get("/v2/regions").is(200)
		}
		w.get("/v2/regions").is(429)
		if n := w.sim.Counters()["list_blocks"].ByStatus[429]; n != 1 {
			w.Errorf("counted %d refused requests, want 1", n)
		}
	}},
	{name: "13-server-errors", test: func(w *world) {
		for _, f := range []simulator.Fault{
			{Path: "^/v2/blocks$", Method: "GET", Nth: 2, Times: 1, Action: simulator.FaultStatus, Status: 503, RetryAfter: 7},
			{Operation: "list_instances", Times: 1, Action: simulator.FaultStatus, Status: 502, Body: `<html>`},
			{Operation: "list_vpcs", Times: 1, Action: simulator.FaultStatus, Status: 429, Body: `{"status": 429,"error": "rate limit exceeded"}`, RetryAfter: 3},
		} {
			if _, err := w.sim.AddFault(f); err != nil {
				w.Fatalf("%v", err)
			}
		}
		w.get("/v2/blocks").is(200)
		r := w.get("/v2/blocks")
		r.refused(503, "Service Unavailable")
		if got := r.header.Get("Retry-After"); got != "7" {
			w.Errorf("Retry-After is %q", got)
		}
		w.get("/v2/blocks").is(200)
		if got := w.get("/v2/instances").is(502).raw; got != `<html>` {
			w.Errorf("body %q", got)
		}
		r = w.get("/v2/vpcs")
		r.refused(429, "rate limit exceeded")
		if got := r.header.Get("Retry-After"); got != "3" {
			w.Errorf("Retry-After is %q", got)
		}
	}},
}

// TestRateLimitIsBySourceOrKey tells who shares a limit.
func TestRateLimitIsBySourceOrKey(t *testing.T) {
	for by, shared := range map[simulator.RateLimitBy]bool{simulator.RateLimitByIP: false, simulator.RateLimitByKey: true} {
		t.Run(string(by), func(t *testing.T) {
			bubble(t, simulator.Config{RateLimit: 5, RateLimitBy: by}, func(w *world) {
				other := w.clientAt(t, "203.0.113.10")
				for range 5 {
					w.get("/v2/blocks").is(200)
				}
				w.get("/v2/blocks").is(http.StatusTooManyRequests)
				want := http.StatusOK
				if shared {
					want = http.StatusTooManyRequests
				}
				w.doWith(other, "GET", "/v2/blocks", "").is(want)
			})
		})
	}
}
