package simulator_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const webRule = `{"frontend_protocol":"tcp","frontend_port":80,"backend_protocol":"tcp","backend_port":31080}`

// newBalancer makes a load balancer and waits until it is settled.
func (w *world) newBalancer(body string) string {
	w.Helper()
	id := w.post("/v2/load-balancers", body).is(202).text("load_balancer.id")
	w.pass(30 * time.Second)
	return id
}

// patchBalancer updates a load balancer and returns it as it is then.
func (w *world) patchBalancer(id, body string) reply {
	w.Helper()
	w.patch("/v2/load-balancers/"+id, body).is(204)
	return w.balancer(id)
}

var balancerTraits = []trait{
	{name: "14-pending", config: exactReads(), test: func(w *world) {
		id := w.post("/v2/load-balancers", `{"region":"ewr"}`).is(202).has("load_balancer.status", "pending").text("load_balancer.id")
		w.pass(19 * time.Second)
		w.balancer(id).has("load_balancer.status", "pending").has("load_balancer.ipv4", "")
		w.pass(time.Second)
		w.balancer(id).has("load_balancer.status", "active").has("load_balancer.cname", "vlb-"+id+".vultrlb.com")
	}},
	{name: "14-late-address", config: exactReads(), test: func(w *world) {
		id := w.post("/v2/load-balancers", `{"region":"ewr"}`).is(202).has("load_balancer.ipv4", "").text("load_balancer.id")
		w.pass(21 * time.Second)
		w.balancer(id).has("load_balancer.status", "active").has("load_balancer.ipv4", "")
		w.pass(time.Second)
		if got := w.balancer(id).text("load_balancer.ipv4"); got == "" {
			w.Errorf("the address does not come")
		}
	}},
	{name: "14-activating", test: func(w *world) {
		id := w.post("/v2/load-balancers", `{"region":"ewr"}`).is(202).text("load_balancer.id")
		w.patch("/v2/load-balancers/"+id, `{"label":"x"}`).refusedSaying(400, "activating")
		w.post("/v2/load-balancers/"+id+"/forwarding-rules", webRule).refusedSaying(400, "activating")
		w.pass(30 * time.Second)
		w.patchBalancer(id, `{"nodes":3}`).has("load_balancer.nodes", 3)
		w.patch("/v2/load-balancers/"+id, `{"label":"x"}`).refusedSaying(400, "activating")
		w.pass(10 * time.Second)
		w.patchBalancer(id, `{"label":"x"}`).has("load_balancer.label", "x")
	}},
	{name: "14-not-ready", test: func(w *world) {
		id := w.post("/v2/load-balancers", `{"region":"ewr"}`).is(202).text("load_balancer.id")
		w.delete("/v2/load-balancers/"+id).refused(400, "Load balancer is not ready.")
		w.pass(30 * time.Second)
		w.delete("/v2/load-balancers/" + id).is(204)
		w.get("/v2/load-balancers/"+id).refused(404, "Invalid load balancer ID.")
	}},
	{name: "15-omitted-keeps", test: func(w *world) {
		i := w.server(simulator.NewServer{Label: "i"})
		vpc := w.post("/v2/vpcs", `{"region":"ewr"}`).is(201).text("vpc.id")
		id := w.newBalancer(`{"region":"ewr","label":"lb","nodes":3,"balancing_algorithm":"leastconn","timeout":60,"proxy_protocol":true,
			"sticky_session":{"cookie_name":"c"},"health_check":{"protocol":"tcp","port":31080,"check_interval":7},
			"http2":true,"http3":true,"ssl_redirect":true,"vpc":"` + vpc + `","global_regions":[{"region_id":"fra"}],` + ssl() + `,
			"forwarding_rules":[` + webRule + `,` + fwd("https", 443, "http") + `],"firewall_rules":[{"port":80,"source":"10.0.0.0/8","ip_type":"v4"}],
			"instances":["` + i + `"]}`)
		before := w.balancer(id)
		before.has("load_balancer.generic_info.vpc", vpc).has("load_balancer.has_ssl", true)
		for _, body := range []string{`{"label":"other"}`, `{}`, `{"instances":null,"forwarding_rules":null,"health_check":null}`, `{"health_check":{}}`} {
			after := w.patchBalancer(id, body)
			all, _ := before.at("load_balancer").(map[string]any)
			for name, value := range all {
				if name != "label" {
					after.has("load_balancer."+name, value)
				}
			}
		}
		w.balancer(id).has("load_balancer.label", "other").has("load_balancer.generic_info.timeout", 60)
	}},
	{name: "15-arrays-replace", test: func(w *world) {
		i, j := w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})
		id := w.newBalancer(`{"region":"ewr","forwarding_rules":[` + webRule + `],"instances":["` + i + `"],
			"firewall_rules":[{"port":80,"source":"10.0.0.0/8","ip_type":"v4"}]}`)
		r := w.patchBalancer(id, `{"instances":["`+j+`"],"forwarding_rules":[`+strings.ReplaceAll(webRule, "80", "81")+`],
			"firewall_rules":[{"port":81,"source":"cloudflare","ip_type":"v4"}]}`)
		r.has("load_balancer.instances", []any{j})
		for _, name := range []string{"forwarding_rules", "firewall_rules"} {
			if n := len(r.items("load_balancer." + name)); n != 1 {
				w.Errorf("%d %s, want the new one alone", n, name)
			}
		}
		r = w.patchBalancer(id, `{"instances":[],"forwarding_rules":[],"firewall_rules":[]}`)
		for _, name := range []string{"instances", "forwarding_rules", "firewall_rules"} {
			r.has("load_balancer."+name, []any{})
		}
	}},
	{name: "15-sticky-names", test: func(w *world) {
		id := w.newBalancer(`{"region":"ewr","sticky_session":{"cookie_name":"c"},"sticky_sessions":{"cookie_name":"wrong"}}`)
		w.balancer(id).has("load_balancer.generic_info.sticky_sessions.cookie_name", "c")
		w.patchBalancer(id, `{"sticky_session":{"cookie_name":""}}`).has("load_balancer.generic_info.sticky_sessions.cookie_name", "")
	}},
	{name: "15-objects-present", test: func(w *world) {
		const empty = `{"region":"ewr","label":"","global_cname":"","has_ssl":false,"http2":false,"http3":false,"nodes":1,
			"generic_info":{"balancing_algorithm":"roundrobin","timeout":600,"ssl_redirect":false,"sticky_sessions":{"cookie_name":""},
				"proxy_protocol":false,"private_network":"","vpc":""},
			"health_check":{"protocol":"http","port":80,"path":"/","check_interval":15,"response_timeout":5,"unhealthy_threshold":5,"healthy_threshold":5},
			"forwarding_rules":[],"firewall_rules":[],"instances":[],"auto_ssl":{"domain_zone":"","domain_sub":"","domain":""},"global_regions":[]`
		expect := func(r reply, life string) {
			w.Helper()
			var want map[string]any
			if err := json.Unmarshal([]byte(empty+life), &want); err != nil {
				w.Fatalf("%v", err)
			}
			got, _ := r.at("load_balancer").(map[string]any)
			for _, own := range []string{"id", "date_created", "cname"} {
				if text, _ := got[own].(string); text == "" {
					w.Errorf("%s is %v", own, got[own])
				}
				delete(got, own)
			}
			if !reflect.DeepEqual(got, want) {
				w.Errorf("it has %v, want %v", got, want)
			}
		}
		r := w.post("/v2/load-balancers", `{"region":"ewr"}`).is(202)
		id := r.text("load_balancer.id")
		expect(r, `,"status":"pending","ipv4":"","ipv6":"","node_ips":{"v4":[],"v6":[],"private":[]}}`)
		w.pass(30 * time.Second)
		expect(w.balancer(id), `,"status":"active","ipv4":"198.19.0.1","ipv6":"","node_ips":{"v4":["198.19.0.1"],"v6":[],"private":[]}}`)
	}},
	{name: "15-instances-sorted", test: func(w *world) {
		var ids []string
		for range 5 {
			ids = append(ids, w.server(simulator.NewServer{Label: "i"}))
		}
		slices.Sort(ids)
		slices.Reverse(ids)
		id := w.newBalancer(`{"region":"ewr","instances":["` + strings.Join(ids, `","`) + `"]}`)
		slices.Reverse(ids)
		if got := fmt.Sprint(w.balancer(id).items("load_balancer.instances")); got != fmt.Sprint(ids) {
			w.Errorf("instances %v, want %v", got, ids)
		}
	}},
	{name: "15-tcp-path", test: func(w *world) {
		id := w.newBalancer(`{"region":"ewr","health_check":{"protocol":"tcp","port":80,"path":"/"}}`)
		w.balancer(id).has("load_balancer.health_check.path", "")
		w.patchBalancer(id, `{"health_check":{"protocol":"http","path":"/healthz"}}`).has("load_balancer.health_check.path", "/healthz")
		w.patchBalancer(id, `{"health_check":{"protocol":"tcp"}}`).has("load_balancer.health_check.path", "")
	}},
}
