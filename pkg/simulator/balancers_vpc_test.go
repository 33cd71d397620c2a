package simulator_test

import (
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// A load balancer in a VPC reaches what is in it, also what has no public address, and without one what has.
func TestBalancerInVPC(t *testing.T) {
	plane := &memoryBalancers{specs: map[string]simulator.BalancerSpec{}}
	bubble(t, simulator.Config{Balancers: plane}, func(w *world) {
		v, other := w.vpc(), w.vpc()
		outside := w.server(simulator.NewServer{Label: "outside", MainIP: "192.0.2.1"})
		both := w.server(simulator.NewServer{Label: "both", MainIP: "192.0.2.2", VPCs: []string{other, v}})
		hidden := w.server(simulator.NewServer{Label: "hidden", VPCs: []string{v}, VPCOnly: true})
		elsewhere := w.server(simulator.NewServer{Label: "elsewhere", VPCs: []string{other}, VPCOnly: true})
		halted := w.server(simulator.NewServer{Label: "halted", VPCs: []string{v}, VPCOnly: true, Stopped: true})
		metal, err := w.sim.AddBareMetal(simulator.NewServer{Label: "metal", MainIP: "192.0.2.3", VPCs: []string{v}})
		if err != nil {
			t.Fatal(err)
		}
		w.instance(hidden).state("active", "running", "ok").has("instance.main_ip", "0.0.0.0").has("instance.internal_ip", "10.1.0.4").has("instance.vpc_only", true)
		w.instance(both).has("instance.main_ip", "192.0.2.2").hasField("instance.vpcs", 1, "id", v)
		id := w.newBalancer(`{"region":"ewr","instances":["` + outside + `","` + both + `","` + hidden + `","` + elsewhere + `","` + halted + `","` + metal + `"],
			"health_check":{"protocol":"tcp","port":31080},"forwarding_rules":[` + webRule + `]}`)
		expect := func(when, want string) {
			w.Helper()
			w.pass(time.Second)
			if got := plane.backends(id); got != want {
				t.Errorf("%s: backends %s, want %s", when, got, want)
			}
		}
		expect("by the public network", "[192.0.2.1 192.0.2.2 192.0.2.3]")
		w.patch("/v2/load-balancers/"+id, `{"vpc":"`+v+`"}`).is(204)
		expect("through the VPC", "[10.1.0.4 192.0.2.2 192.0.2.3]")
		w.post("/v2/instances/"+halted+"/start", "").is(204)
		w.pass(time.Minute)
		expect("one more runs", "[10.1.0.4 10.1.0.5 192.0.2.2 192.0.2.3]")
		w.post("/v2/instances/"+outside+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).is(204)
		w.pass(2 * time.Minute)
		expect("one more is in it", "[10.1.0.4 10.1.0.5 192.0.2.1 192.0.2.2 192.0.2.3]")
		w.post("/v2/instances/"+both+"/vpcs/detach", `{"vpc_id":"`+v+`"}`).is(204)
		w.pass(2 * time.Minute)
		expect("one is out of it", "[10.1.0.4 10.1.0.5 192.0.2.1 192.0.2.3]")
		w.patch("/v2/load-balancers/"+id, `{"vpc":""}`).is(204)
		expect("by the public network again", "[192.0.2.1 192.0.2.2 192.0.2.3]")
	})
}
