package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/metadata"
)

// vpc makes a VPC in ewr.
func (w *world) vpc() string {
	w.Helper()
	return w.post("/v2/vpcs", `{"region":"ewr","description":"net"}`).is(201).text("vpc.id")
}

// member makes an instance in a VPC and waits until it is ready.
func (w *world) member(vpc, more string) string {
	w.Helper()
	id := w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"label":"m","attach_vpc":["`+vpc+`"]`+more+`}`).
		is(202).text("instance.id")
	w.pass(2 * time.Minute)
	return id
}

// guestView is what the metadata service tells a guest at an address; nil for strangers.
func (w *world) guestView(address string) reply {
	w.Helper()
	out := reply{w: w, what: "metadata for " + address}
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://169.254.169.254/v1.json", http.NoBody)
	if err != nil {
		w.Fatalf("%v", err)
	}
	req.RemoteAddr = address + ":1234"
	rec := httptest.NewRecorder()
	metadata.New(w.sim.MetadataByAddress, klog.Background()).ServeHTTP(rec, req)
	out.status, out.raw = rec.Code, rec.Body.String()
	if rec.Code == http.StatusOK {
		if err := json.Unmarshal(rec.Body.Bytes(), &out.body); err != nil {
			w.Fatalf("%s: %v", out.what, err)
		}
	}
	return out
}

// field returns a value of one item of a list: field("interfaces", 1, "ipv4.address").
func (r reply) field(list string, n int, path string) any {
	r.w.Helper()
	items := r.items(list)
	if n >= len(items) {
		r.w.Fatalf("%s: %s has %d items (%s)", r.what, list, len(items), r.raw)
	}
	return reply{w: r.w, body: items[n]}.at(path)
}

// hasField demands a value of one item of a list.
func (r reply) hasField(list string, n int, path string, want any) reply {
	r.w.Helper()
	if number, ok := want.(int); ok {
		want = float64(number)
	}
	if got := r.field(list, n, path); fmt.Sprint(got) != fmt.Sprint(want) {
		r.w.Errorf("%s: %s of %s[%d] is %v, want %v", r.what, path, list, n, got, want)
	}
	return r
}

var vpcTraits = []trait{
	{name: "17-five-per-region", test: func(w *world) {
		for range 5 {
			w.vpc()
		}
		w.post("/v2/vpcs", `{"region":"ewr"}`).refusedSaying(400, "maximum")
		w.post("/v2/vpcs", `{"region":"lax"}`).is(201)
	}},
	{name: "17-delete-in-use", test: func(w *world) {
		v := w.vpc()
		i := w.member(v, "")
		w.delete("/v2/vpcs/"+v).refused(400, "The following servers are attached to this VPC network: "+w.instance(i).text("instance.main_ip"))
		w.post("/v2/instances/"+i+"/vpcs/detach", `{"vpc_id":"`+v+`"}`).is(204)
		w.delete("/v2/vpcs/" + v).is(400) // not out of it yet
		w.pass(10 * time.Second)
		w.delete("/v2/vpcs/" + v).is(204)
		w.get("/v2/vpcs/"+v).refused(404, "Invalid VPC ID.")
	}},
	{name: "17-public-addresses", test: func(w *world) {
		v := w.vpc()
		first, second := w.member(v, ""), w.member(v, "")
		w.delete("/v2/vpcs/"+v).refused(400, "The following servers are attached to this VPC network: "+
			w.instance(first).text("instance.main_ip")+", "+w.instance(second).text("instance.main_ip"))
	}},
	{name: "17-lingers", test: func(w *world) {
		v := w.vpc()
		i := w.member(v, "")
		lb := w.newBalancer(`{"region":"ewr","vpc":"` + v + `","instances":["` + i + `"]}`)
		w.balancer(lb).has("load_balancer.generic_info.vpc", v)
		address, lbAddress := w.instance(i).text("instance.main_ip"), w.balancer(lb).text("load_balancer.ipv4")
		w.delete("/v2/instances/" + i).is(204)
		w.get("/v2/instances/" + i).is(404)
		w.pass(10 * time.Second)
		w.delete("/v2/vpcs/"+v).refused(400, "The following servers are attached to this VPC network: "+address+", "+lbAddress)
		w.delete("/v2/load-balancers/" + lb).is(204)
		w.pass(10 * time.Second)
		w.delete("/v2/vpcs/"+v).refused(400, "The following servers are attached to this VPC network: "+lbAddress)
		w.pass(10 * time.Second)
		w.delete("/v2/vpcs/" + v).is(204)
	}},
	{name: "17-attach-reboots", test: func(w *world) {
		v := w.vpc()
		created := w.member(v, "")
		if got := w.reboots(created); got != 0 {
			w.Errorf("an instance that was made in a VPC was restarted %d times", got)
		}
		i := w.server(simulator.NewServer{Label: "i"})
		for n, verb := range []string{"attach", "detach"} {
			w.post("/v2/instances/"+i+"/vpcs/"+verb, `{"vpc_id":"`+v+`"}`).is(204)
			w.pass(time.Minute)
			if got := w.reboots(i); got != n+1 {
				w.Errorf("after %s: %d restarts, want %d", verb, got, n+1)
			}
		}
	}},
	{name: "17-no-vpc2", test: func(w *world) {
		w.get("/v2/instances/"+w.server(simulator.NewServer{Label: "i"})+"/vpc2").refused(404, "Not found.")
		w.get("/v2/vpc2").refused(404, "Not found.")
		w.post("/v2/vpc2", `{"region":"ewr"}`).refused(404, "Not found.")
	}},
	{name: "19-region-code", test: func(w *world) {
		w.server(simulator.NewServer{Label: "i", MainIP: "198.18.7.7"})
		w.guestView("198.18.7.7").is(200).has("region.regioncode", "EWR").has("region.countrycode", "US")
	}},
	{name: "19-instance-v2-id", test: func(w *world) {
		i := w.server(simulator.NewServer{Label: "i", MainIP: "198.18.7.7"})
		r := w.guestView("198.18.7.7").is(200).has("instance-v2-id", i)
		if legacy := r.text("instanceid"); legacy == i || strings.Trim(legacy, "0123456789") != "" {
			w.Errorf("instanceid is %q, want a number", legacy)
		}
	}},
	{name: "19-no-tags", test: func(w *world) {
		w.server(simulator.NewServer{Label: "i", MainIP: "198.18.7.7", Tags: []string{"worker"}})
		w.guestView("198.18.7.7").is(200).has("tags", []any{})
	}},
	{name: "19-private-interface", test: func(w *world) {
		v := w.vpc()
		i := w.member(v, "")
		main := w.instance(i).text("instance.main_ip")
		r := w.guestView(main).is(200)
		r.hasField("interfaces", 0, "network-type", "public").hasField("interfaces", 0, "ipv4.address", main)
		r.hasField("interfaces", 1, "network-type", "private").hasField("interfaces", 1, "ipv4.address", "10.1.0.3").
			hasField("interfaces", 1, "ipv4.netmask", "255.255.240.0").hasField("interfaces", 1, "ipv4.gateway", "").
			hasField("interfaces", 1, "network-v2-id", v).hasField("interfaces", 1, "mtu", "1450")
		public, _ := r.field("interfaces", 0, "mac").(string)
		private, _ := r.field("interfaces", 1, "mac").(string)
		if !strings.HasPrefix(public, "56:00:") || private != "5a"+public[2:] {
			w.Errorf("MAC addresses %s and %s", public, private)
		}
		w.server(simulator.NewServer{Label: "outside", MainIP: "198.18.7.7"})
		if n := len(w.guestView("198.18.7.7").is(200).items("interfaces")); n != 1 {
			w.Errorf("an instance without a VPC has %d interfaces", n)
		}
	}},
	{name: "19-evpn", test: func(w *world) {
		v := w.vpc()
		i := w.member(v, `,"vpc_only":true`)
		w.instance(i).state("active", "running", "ok").has("instance.main_ip", "0.0.0.0").
			has("instance.internal_ip", "10.1.0.3").has("instance.vpc_only", true)
		r := w.guestView("10.1.0.3").is(200).has("instance-v2-id", i)
		if n := len(r.items("interfaces")); n != 1 {
			w.Errorf("%d interfaces", n)
		}
		r.hasField("interfaces", 0, "network-type", "evpn").hasField("interfaces", 0, "ipv4.address", "dhcp").
			hasField("interfaces", 0, "ipv4.gateway", "")
	}},
	{name: "19-public-nic", test: func(w *world) {
		w.member(w.vpc(), "")
		w.guestView("10.1.0.3").is(404)
		w.guestView("198.18.0.11").is(200)
	}},
}

func TestStrangersHaveNoMetadata(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		w.guestView("192.0.2.1").is(404)
		if doc, ok := w.sim.MetadataByInstance(nobody); ok {
			t.Errorf("metadata of nobody: %+v", doc)
		}
	})
}

func TestVPCs(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		r := w.post("/v2/vpcs", `{"region":"ewr","description":"own","v4_subnet":"10.99.0.0","v4_subnet_mask":24}`).is(201)
		r.has("vpc.v4_subnet", "10.99.0.0").has("vpc.v4_subnet_mask", 24).has("vpc.region", "ewr").has("vpc.description", "own")
		own := r.text("vpc.id")
		w.get("/v2/vpcs").is(200).has("meta.total", 1)
		w.do("PUT", "/v2/vpcs/"+own, `{"description":"renamed"}`).is(204)
		w.get("/v2/vpcs/"+own).is(200).has("vpc.description", "renamed")
		w.do("PUT", "/v2/vpcs/"+nobody, `{}`).refused(404, "Invalid VPC ID.")
		w.delete("/v2/vpcs/"+nobody).refused(404, "Invalid VPC ID.")
		w.get("/v2/vpcs/"+nobody+"/attachments").refused(404, "Invalid VPC ID.")
		for _, bad := range []string{
			`{"region":"moon"}`, `{}`, `{"region":"ewr","v4_subnet":"10.0.0.0"}`, `{"region":"ewr","v4_subnet_mask":24}`,
			`{"region":"ewr","v4_subnet":"8.8.8.0","v4_subnet_mask":24}`, `{"region":"ewr","v4_subnet":"10.0.0.1","v4_subnet_mask":24}`,
			`{"region":"ewr","v4_subnet":"fd00::","v4_subnet_mask":24}`, `{"region":"ewr","v4_subnet":"10.0.0.0","v4_subnet_mask":31}`,
		} {
			w.post("/v2/vpcs", bad).is(400)
		}
		auto := w.vpc()
		w.get("/v2/vpcs/"+auto).has("vpc.v4_subnet", "10.1.0.0").has("vpc.v4_subnet_mask", 20)
		w.get("/v2/vpcs/"+w.vpc()).has("vpc.v4_subnet", "10.1.16.0")
	})
}

func TestServersInVPCs(t *testing.T) {
	bubble(t, exactReads(), func(w *world) {
		v, other := w.vpc(), w.vpc()
		far := w.post("/v2/vpcs", `{"region":"lax"}`).is(201).text("vpc.id")
		body := `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"label":"m","attach_vpc":["` + v + `"]}`
		i := w.post("/v2/instances", body).is(202).text("instance.id")
		w.pass(5 * time.Second)
		w.get("/v2/instances/"+i+"/vpcs").is(200).has("vpcs", []any{})
		w.instance(i).has("instance.vpcs", []any{}).has("instance.internal_ip", "")
		w.pass(time.Second)
		w.get("/v2/instances/"+i+"/vpcs").is(200).hasField("vpcs", 0, "id", v).hasField("vpcs", 0, "ip_address", "10.1.0.3")
		w.instance(i).hasField("instance.vpcs", 0, "subnet", "10.1.0.0/20").has("instance.internal_ip", "10.1.0.3")
		w.post("/v2/instances/"+i+"/vpcs/attach", `{"vpc_id":"`+other+`"}`).refused(400, "Server is currently locked")
		w.pass(time.Minute)
		j := w.member(v, "")
		w.get("/v2/instances/"+j+"/vpcs").hasField("vpcs", 0, "ip_address", "10.1.0.4")
		w.post("/v2/instances/"+j+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).refusedSaying(400, "already attached")
		w.post("/v2/instances/"+j+"/vpcs/attach", `{"vpc_id":"`+far+`"}`).refusedSaying(400, "same region")
		w.post("/v2/instances/"+j+"/vpcs/attach", `{"vpc_id":"`+nobody+`"}`).refused(404, "Invalid VPC ID.")
		w.post("/v2/instances/"+j+"/vpcs/detach", `{"vpc_id":"`+other+`"}`).refusedSaying(400, "not attached")
		w.post("/v2/instances/"+nobody+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).refused(404, "Invalid instance-id.")
		w.post("/v2/instances/"+j+"/vpcs/attach", `{"vpc_id":"`+other+`"}`).is(204)
		w.pass(10 * time.Second)
		r := w.get("/v2/vpcs/"+other+"/attachments").is(200).has("meta.total", 1)
		r.hasField("attachments", 0, "linked_subscription.id", j).hasField("attachments", 0, "ip.v4", "10.1.16.3")
		// An address that came free is the next one's.
		w.delete("/v2/instances/" + i).is(204)
		w.get("/v2/instances/"+w.member(v, "")+"/vpcs").hasField("vpcs", 0, "ip_address", "10.1.0.3")
		w.post("/v2/load-balancers", `{"region":"lax","vpc":"`+v+`"}`).refused(400, "Invalid VPC ID.")
	})
}

// A VPC that is full refuses a server at once: nothing is restarted in vain.
func TestFullVPC(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		v := w.post("/v2/vpcs", `{"region":"ewr","v4_subnet":"10.99.0.0","v4_subnet_mask":29}`).is(201).text("vpc.id")
		body := `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"attach_vpc":["` + v + `"]}`
		for range 3 { // .3, .4, .5
			w.post("/v2/instances", body).is(202)
		}
		i, j := w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})
		w.post("/v2/instances/"+i+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).is(204) // will have .6
		w.post("/v2/instances/"+j+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).refusedSaying(400, "no address")
		w.post("/v2/instances", body).refusedSaying(400, "no address")
		w.pass(time.Minute)
		w.get("/v2/instances/"+i+"/vpcs").hasField("vpcs", 0, "ip_address", "10.99.0.6")
		if got := w.reboots(j); got != 0 {
			t.Errorf("%d restarts", got)
		}
		w.post("/v2/instances/"+i+"/vpcs/detach", `{"vpc_id":"`+v+`"}`).is(204)
		w.pass(time.Minute)
		w.post("/v2/instances/"+j+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).is(204)
	})
}

func TestEnableVPC(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		body := `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"enable_vpc":true}`
		a, b := w.post("/v2/instances", body).is(202).text("instance.id"), w.post("/v2/instances", body).is(202).text("instance.id")
		w.pass(10 * time.Second)
		if x, y := w.get("/v2/instances/"+a+"/vpcs").field("vpcs", 0, "id"), w.get("/v2/instances/"+b+"/vpcs").field("vpcs", 0, "id"); x != y {
			w.Errorf("the default VPC is %v, then %v", x, y)
		}
		w.get("/v2/vpcs").is(200).has("meta.total", 1)
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"vpc_only":true}`).refusedSaying(400, "vpc_only")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"attach_vpc":["`+nobody+`"]}`).refused(404, "Invalid VPC ID.")
	})
}

func TestLegacyVPC2(t *testing.T) {
	bubble(t, simulator.Config{LegacyVPC2: true}, func(w *world) {
		w.get("/v2/instances/"+w.server(simulator.NewServer{Label: "i"})+"/vpc2").is(200).has("vpcs", []any{}).has("meta.total", 0)
		w.key = "wrong"
		w.get("/v2/vpc2").refused(401, "Invalid API token.")
	})
}

// A machine is restarted for a VPC, and what was accepted survives the end of the process.
func TestVPCMoveIsDurable(t *testing.T) {
	var i, v string
	worlds(t, simulator.Config{}, func(w *world) {
		v, i = w.vpc(), w.server(simulator.NewServer{Label: "i"})
		w.post("/v2/instances/"+i+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).is(204)
	}, func(w *world) {
		w.delete("/v2/vpcs/" + v).is(400)
		w.pass(10 * time.Second)
		w.get("/v2/instances/"+i+"/vpcs").hasField("vpcs", 0, "id", v)
		if w.reboots(i) != 1 {
			t.Errorf("%d restarts", w.reboots(i))
		}
		w.delete("/v2/instances/" + i).is(204)
	}, func(w *world) {
		w.delete("/v2/vpcs/" + v).is(400)
		w.pass(time.Minute)
		w.delete("/v2/vpcs/" + v).is(204)
		if slices.ContainsFunc(w.sim.View().Transitions, func(tr simulator.TransitionView) bool { return tr.Target == i }) {
			t.Error("something of the instance is left")
		}
	})
}
