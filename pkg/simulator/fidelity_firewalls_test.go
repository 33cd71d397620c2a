package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	aKey    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF me@example"
	sshRule = `{"ip_type":"v4","protocol":"tcp","port":"22","subnet":"203.0.113.7","subnet_size":32}`
)

func (w *world) group() string {
	w.Helper()
	return w.post("/v2/firewalls", `{"description":"nodes"}`).is(201).text("firewall_group.id")
}

var firewallTraits = []trait{
	{name: "18-duplicate-rule", test: func(w *world) {
		rules := "/v2/firewalls/" + w.group() + "/rules"
		w.post(rules, sshRule).is(201)
		w.post(rules, sshRule).refused(400, "This rule is already defined ")
		w.post(rules, strings.Replace(sshRule, "}", `,"notes":"again"}`, 1)).refused(400, "This rule is already defined ")
		w.post(rules, strings.Replace(sshRule, "22", "23", 1)).is(201)
	}},
	{name: "18-source-echo", test: func(w *world) {
		rules := "/v2/firewalls/" + w.group() + "/rules"
		r := w.post(rules, sshRule).is(201)
		r.has("firewall_rule.source", "203.0.113.7/32").has("firewall_rule.subnet", "203.0.113.7").has("firewall_rule.subnet_size", 32)
		w.get(rules+"/1").is(200).has("firewall_rule.source", "203.0.113.7/32").has("firewall_rule.id", 1)
		w.post(rules, strings.Replace(sshRule, "}", `,"source":"cloudflare"}`, 1)).is(201).has("firewall_rule.source", "cloudflare")
	}},
	{name: "18-delete-in-use", test: func(w *world) {
		g := w.group()
		id := w.server(simulator.NewServer{Label: "i"})
		w.patch("/v2/instances/"+id, `{"firewall_group_id":"`+g+`"}`).is(202).has("instance.firewall_group_id", g)
		w.delete("/v2/firewalls/" + g).is(204)
		w.get("/v2/firewalls/" + g).is(404)
		w.instance(id).has("instance.firewall_group_id", "")
	}},
	{name: "18-vpc-not-filtered", config: simulator.Config{Balancers: filtered}, test: func(w *world) {
		g, v := w.group(), w.vpc()
		if _, dropped := w.behind(g, v, ""); dropped() != "30053 true, 31080 false" {
			w.Errorf("through the public interface: dropped %q", dropped())
		}
		if _, dropped := w.behind(g, v, `,"vpc":"`+v+`"`); dropped() != "" {
			w.Errorf("through the VPC: dropped %q", dropped())
		}
	}},
	{name: "18-no-instance-count", test: func(w *world) {
		g := w.group()
		r := w.get("/v2/firewalls/"+g).is(200).has("firewall_group.rule_count", 0).has("firewall_group.max_rule_count", 50)
		r.has("firewall_group.instance_count", missing)
	}},
}

// filtered is what the firewall groups of backends drop, by the data plane.
var filtered = &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}

// behind makes a load balancer before an instance in a VPC, and tells what the instance's firewall group drops.
func (w *world) behind(group, vpc string, lbBody string) (id string, dropped func() string) {
	w.Helper()
	i := w.member(vpc, `,"firewall_group_id":"`+group+`"`)
	id = w.newBalancer(`{"region":"ewr","instances":["` + i + `"],"health_check":{"protocol":"tcp","port":31080},
		"forwarding_rules":[` + webRule + `,{"frontend_protocol":"udp","frontend_port":53,"backend_protocol":"udp","backend_port":30053}]` + lbBody + `}`)
	w.pass(time.Second)
	return id, func() string { return filtered.dropped(id) }
}

func TestFirewallGroupsAgainstLoadBalancers(t *testing.T) {
	bubble(t, simulator.Config{Balancers: filtered}, func(w *world) {
		g := w.group()
		rules := "/v2/firewalls/" + g + "/rules"
		id, dropped := w.behind(g, w.vpc(), "")
		expect := func(when, want string) {
			w.Helper()
			w.pass(time.Minute)
			if got := dropped(); got != want {
				t.Errorf("%s: dropped %q, want %q", when, got, want)
			}
		}
		expect("empty group", "30053 true, 31080 false")
		w.post(rules, `{"ip_type":"v4","protocol":"tcp","port":"30000:32767","subnet":"192.0.2.0","subnet_size":24}`).is(201)
		expect("from elsewhere", "30053 true, 31080 false")
		n := w.post(rules, `{"ip_type":"v4","protocol":"tcp","port":"30000:32767","subnet":"127.64.0.0","subnet_size":16}`).is(201).at("firewall_rule.id")
		w.pass(5 * time.Second)
		if dropped() != "30053 true, 31080 false" {
			t.Error("the rule takes effect at once")
		}
		expect("from the load balancer's network", "30053 true")
		w.delete(rules + "/" + fmt.Sprint(n)).is(204)
		w.post(rules, `{"ip_type":"v4","protocol":"udp","port":"30053","subnet":"0.0.0.0","subnet_size":0,"source":"`+id+`"}`).is(201)
		expect("from this load balancer", "31080 false")
		w.delete("/v2/firewalls/" + g).is(204)
		expect("no group", "")
	})
}

func TestFirewallGroups(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		g := w.group()
		path := "/v2/firewalls/" + g
		w.do("PUT", path, `{"description":"others"}`).is(204)
		w.get(path).has("firewall_group.description", "others")
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			w.do(method, "/v2/firewalls/"+nobody, "{}").is(404)
		}
		w.get("/v2/firewalls/" + nobody + "/rules").is(404)
		w.post("/v2/firewalls/"+nobody+"/rules", sshRule).is(404)

		rules := path + "/rules"
		r := w.post(rules, `{"ip_type":"v6","protocol":"icmp","port":"9","subnet":"::","subnet_size":0,"notes":"ping"}`).is(201)
		r.has("firewall_rule.port", "").has("firewall_rule.ip_type", "v6").has("firewall_rule.type", "v6").
			has("firewall_rule.action", "accept").has("firewall_rule.direction", "in").has("firewall_rule.source", "::/0").
			has("firewall_rule.notes", "ping").has("firewall_rule.loadbalancer_id", "")
		w.post(rules, `{"ip_type":"v4","protocol":"udp","port":"8000:9000","subnet":"0.0.0.0","subnet_size":0}`).is(201).
			has("firewall_rule.port", "8000:9000")
		lb := w.newBalancer(`{"region":"ewr"}`)
		w.post(rules, `{"ip_type":"v4","protocol":"tcp","port":"80","subnet":"0.0.0.0","subnet_size":0,"source":"`+lb+`"}`).is(201).
			has("firewall_rule.loadbalancer_id", lb).has("firewall_rule.source", lb)
		for _, bad := range []string{
			`{}`, `{"ip_type":"v4"}`, strings.Replace(sshRule, "tcp", "sctp", 1), strings.Replace(sshRule, `"22"`, `""`, 1),
			strings.Replace(sshRule, `"22"`, `"0"`, 1), strings.Replace(sshRule, `"22"`, `"9:8"`, 1), strings.Replace(sshRule, `"22"`, `"1-9"`, 1),
			strings.Replace(sshRule, "v4", "v6", 1), strings.Replace(sshRule, ":32", ":33", 1), strings.Replace(sshRule, "203.0.113.7", "me", 1),
			strings.Replace(sshRule, "}", `,"source":"everybody"}`, 1),
		} {
			w.post(rules, bad).is(400)
		}
		w.get(rules).is(200).has("meta.total", 3)
		w.get(path).has("firewall_group.rule_count", 3)
		w.get(rules+"?per_page=2").hasField("firewall_rules", 1, "id", 2)
		w.delete(rules + "/2").is(204)
		w.delete(rules+"/2").refused(404, "Firewall rule ID not found")
		w.get(rules+"/2").refused(404, "Firewall rule ID not found")
		w.post(rules, sshRule).is(201).has("firewall_rule.id", 4) // numbers are not used again
		for n := range 47 {
			w.post(rules, strings.Replace(sshRule, `"22"`, fmt.Sprintf(`"%d"`, 1000+n), 1)).is(201)
		}
		w.post(rules, strings.Replace(sshRule, `"22"`, `"2000"`, 1)).refusedSaying(400, "at most 50")
	})
}

func TestFirewallGroupOfInstance(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		g := w.group()
		id := w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"firewall_group_id":"`+g+`"}`).is(202).
			has("instance.firewall_group_id", g).text("instance.id")
		w.server(simulator.NewServer{Label: "open"})
		w.pass(2 * 60e9)
		w.get("/v2/instances?firewall_group_id="+g).is(200).has("meta.total", 1)
		w.patch("/v2/instances/"+id, `{"label":"x"}`).is(202).has("instance.firewall_group_id", g)
		w.patch("/v2/instances/"+id, `{"firewall_group_id":"`+nobody+`"}`).is(400)
		w.patch("/v2/instances/"+id, `{"firewall_group_id":""}`).is(202).has("instance.firewall_group_id", "")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"firewall_group_id":"`+nobody+`"}`).is(400)
	})
}
