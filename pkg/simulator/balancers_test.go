package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// memoryBalancers writes down what load balancers the data plane has.
type memoryBalancers struct {
	mu    sync.Mutex
	specs map[string]simulator.BalancerSpec
	fail  error
	slow  time.Duration // how long an Apply takes
}

func (m *memoryBalancers) Addresses(context.Context, string) (v4, v6 string, err error) {
	return "127.64.0.1", "2001:db8::1", nil
}

func (m *memoryBalancers) Apply(_ context.Context, spec simulator.BalancerSpec) error {
	time.Sleep(m.slow) // fake time
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.specs[spec.ID] = spec
	return nil
}

func (m *memoryBalancers) Remove(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.specs, id)
	return nil
}

func (m *memoryBalancers) Health(string) []simulator.BackendHealth { return nil }

func (m *memoryBalancers) List(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.specs)), nil
}

func (m *memoryBalancers) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// dropped returns what backends' firewalls drop of a load balancer's traffic.
func (m *memoryBalancers) dropped(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, d := range m.specs[id].Dropped {
		out = append(out, fmt.Sprint(d.Port, " ", d.UDP))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// backends returns the addresses that a load balancer sends traffic to, "gone" without a load balancer.
func (m *memoryBalancers) backends(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	spec, ok := m.specs[id]
	if !ok {
		return "gone"
	}
	var out []string
	for _, b := range spec.Backends {
		out = append(out, b.Address)
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}

func TestBalancersFollowTheirInstances(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{"orphan": {ID: "orphan"}}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		if got := plane.backends("orphan"); got != "gone" {
			w.Errorf("a load balancer without owner was not removed")
		}
		i := w.server(simulator.NewServer{Label: "i", MainIP: "10.0.0.1"})
		j := w.server(simulator.NewServer{Label: "j", MainIP: "10.0.0.2", Stopped: true})
		id := w.post("/v2/load-balancers", `{"region":"ewr","instances":["`+i+`","`+j+`"],"forwarding_rules":[`+webRule+`],
			"health_check":{"protocol":"tcp","port":31080},"firewall_rules":[{"port":80,"source":"10.0.0.0/8"}]}`).is(202).text("load_balancer.id")
		expect := func(when, want string) {
			w.Helper()
			w.pass(time.Second)
			if got := plane.backends(id); got != want {
				w.Errorf("%s: backends %s, want %s", when, got, want)
			}
		}
		expect("pending", "gone")
		w.pass(30 * time.Second)
		expect("active", "[10.0.0.1]")
		w.balancer(id).has("load_balancer.ipv4", "127.64.0.1").has("load_balancer.node_ips.v4", []any{"127.64.0.1"})
		w.post("/v2/instances/"+j+"/start", "").is(204)
		w.pass(15 * time.Second)
		expect("second started", "[10.0.0.1 10.0.0.2]")
		w.post("/v2/instances/"+i+"/halt", "").is(204)
		w.pass(6 * time.Second)
		expect("first halted", "[10.0.0.2]")
		plane.setFail(errors.New("port taken"))
		w.delete("/v2/instances/" + j).is(204)
		expect("data plane failing", "[10.0.0.2]")
		plane.setFail(nil)
		w.pass(time.Second)
		expect("second destroyed", "[]")
		w.balancer(id).has("load_balancer.instances", []any{i})
		w.delete("/v2/load-balancers/" + id).is(204)
		expect("deleted", "gone")
	})
}

// A load balancer whose listeners cannot be opened can be changed and deleted all the same.
func TestBalancerThatCannotListen(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		plane.setFail(errors.New("port taken"))
		id := w.newBalancer(`{"region":"ewr",` + rules(webRule) + `}`)
		w.balancer(id).has("load_balancer.status", "active").has("load_balancer.ipv4", "127.64.0.1")
		failures := 0
		for _, job := range w.sim.View().Transitions {
			if job.Target == id && job.Error == "port taken" {
				failures++
			}
		}
		if failures != 1 {
			w.Errorf("the fault is not shown: %+v", w.sim.View().Transitions)
		}
		w.patch("/v2/load-balancers/"+id, `{"label":"x"}`).is(204)
		plane.setFail(nil)
		w.pass(time.Minute)
		if got := plane.backends(id); got != "[]" {
			w.Errorf("after the fault: %s", got)
		}
		plane.setFail(errors.New("port taken"))
		other := w.newBalancer(`{"region":"ewr"}`)
		w.delete("/v2/load-balancers/" + other).is(204)
	})
}

// A change that comes while an earlier one is put on the data plane gets there too.
func TestChangeDuringChange(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		id := w.newBalancer(`{"region":"ewr"}`)
		plane.slow = 10 * time.Second
		for port := range 3 {
			w.patch("/v2/load-balancers/"+id, `{`+rules(fwd("tcp", 81+port, "tcp"))+`}`).is(204)
			w.pass(time.Second)
		}
		w.pass(time.Minute)
		if got := plane.specs[id].Rules; len(got) != 1 || got[0].FrontendPort != 83 {
			t.Errorf("rules on the data plane: %+v", got)
		}
	})
}

func TestBalancerSpec(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		id := w.newBalancer(`{"region":"ewr","proxy_protocol":true,"timeout":42,"balancing_algorithm":"leastconn",` + ssl() + `,
			"forwarding_rules":[` + webRule + `,` + fwd("https", 443, "http") + `],"firewall_rules":[{"port":80,"source":"10.0.0.0/8"}]}`)
		spec := plane.specs[id]
		if !spec.ProxyProtocol || spec.Timeout != 42*time.Second || spec.Algorithm != "leastconn" || spec.Certificate == nil {
			w.Errorf("spec %+v", spec)
		}
		if len(spec.Rules) != 2 || spec.Rules[0].FrontendPort != 80 || spec.Rules[0].BackendPort != 31080 || spec.Rules[0].ID == "" {
			w.Errorf("rules %+v", spec.Rules)
		}
		if len(spec.Firewall) != 1 || spec.Firewall[0].Source != "10.0.0.0/8" || spec.Firewall[0].IPType != "v4" {
			w.Errorf("firewall %+v", spec.Firewall)
		}
		if spec.HealthCheck.Interval != 15*time.Second || spec.HealthCheck.Timeout != 5*time.Second {
			w.Errorf("health check %+v", spec.HealthCheck)
		}
	})
}

func TestBalancerSubresources(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		lb := "/v2/load-balancers/" + w.newBalancer(`{"region":"ewr","forwarding_rules":[`+webRule+`]}`)
		w.get(lb+"/forwarding-rules").is(200).has("meta.total", 1)
		rule := w.post(lb+"/forwarding-rules", fwd("udp", 53, "udp")).is(202).text("forwarding_rule.id")
		if len(rule) != 16 {
			w.Errorf("rule ID %q", rule)
		}
		w.post(lb+"/forwarding-rules", fwd("udp", 53, "udp")).refusedSaying(400, "duplicate")
		w.get(lb+"/forwarding-rules/"+rule).is(200).has("forwarding_rule.frontend_port", 53)
		w.delete(lb + "/forwarding-rules/" + rule).is(204)
		w.get(lb+"/forwarding-rules/"+rule).refused(404, "Invalid forwarding rule ID.")
		w.delete(lb+"/forwarding-rules/"+rule).refused(404, "Invalid forwarding rule ID.")

		rule = w.post(lb+"/firewall-rules", `{"port":80,"source":"10.0.0.0/8","ip_type":"v4"}`).is(202).text("firewall_rule.id")
		w.post(lb+"/firewall-rules", `{"port":80,"source":"everyone","ip_type":"v4"}`).is(400)
		w.get(lb+"/firewall-rules").is(200).has("meta.total", 1)
		w.get(lb+"/firewall-rules/"+rule).is(200).has("firewall_rule.source", "10.0.0.0/8")
		w.delete(lb + "/firewall-rules/" + rule).is(204)
		w.delete(lb+"/firewall-rules/"+rule).refused(404, "Firewall rule ID not found")

		// A rule that stays keeps its ID, so that its listener is left alone.
		before := w.get(lb).items("load_balancer.forwarding_rules")[0]
		w.patch(lb, `{"forwarding_rules":[`+fwd("tcp", 81, "tcp")+`,`+webRule+`]}`).is(204)
		if after := w.get(lb).items("load_balancer.forwarding_rules")[1]; fmt.Sprint(after) != fmt.Sprint(before) {
			w.Errorf("rule %v became %v", before, after)
		}
	})
}
