package simulator_test

import (
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const aMetal = `{"region":"ewr","plan":"vbm-4c-32gb","os_id":2136,"label":"metal","tags":["Big"],"user_data":"aGk=","enable_ipv6":true}`

func (w *world) metal(id string) reply {
	w.Helper()
	return w.get("/v2/bare-metals/" + id).is(200)
}

func TestBareMetalLife(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		r := w.post("/v2/bare-metals", aMetal).is(202).has("bare_metal.status", "pending").has("bare_metal.main_ip", "0.0.0.0")
		id := r.text("bare_metal.id")
		path := "/v2/bare-metals/" + id
		w.post(path+"/halt", "").refused(400, "Server is currently locked")
		w.patch(path, `{"os_id":2284}`).refused(400, "Server is currently locked")
		w.pass(3*time.Minute + w.lag)
		r = w.metal(id).has("bare_metal.status", "active").has("bare_metal.main_ip", "198.18.0.11").has("bare_metal.ram", "32768 MB").
			has("bare_metal.disk", "2x 240 GB SSD").has("bare_metal.cpu_count", 4).has("bare_metal.features", []any{"ipv6"}).
			has("bare_metal.server_status", missing).has("bare_metal.default_password", missing)
		if mac, ok := r.at("bare_metal.mac_address").(float64); !ok || mac < 0x560000000000 || mac > 0x5600ffffffff {
			t.Errorf("MAC address %v", r.at("bare_metal.mac_address"))
		}
		w.guestView("198.18.0.11").is(200).has("user-data", "hi")
		w.get("/v2/bare-metals?label=other&tag=none").has("meta.total", 1) // no filters here

		w.post(path+"/start", "").is(204)
		w.post(path+"/halt", "").is(204) // the last one asked for wins
		w.pass(time.Minute)
		w.metal(id).has("bare_metal.power_status", "stopped")
		w.post("/v2/bare-metals/start", `{"baremetal_ids":["`+id+`"]}`).is(204)
		w.pass(time.Minute)
		w.metal(id).has("bare_metal.power_status", "running")
		w.post("/v2/bare-metals/halt", `{"baremetal_ids":["`+nobody+`"]}`).refused(404, "Invalid server")
		w.post("/v2/bare-metals/reboot", `{}`).is(400)

		w.patch(path, `{"label":"renamed","tags":["x"]}`).is(202).has("bare_metal.label", "renamed").has("bare_metal.tags", []any{"x"})
		w.post(path+"/reinstall", "").is(202).has("bare_metal.status", "pending")
		w.pass(3*time.Minute + w.lag)
		w.metal(id).has("bare_metal.status", "active").has("bare_metal.main_ip", "198.18.0.11")
		w.get(path+"/ipv4").is(200).hasField("ipv4s", 0, "ip", "198.18.0.11")
		w.get(path+"/ipv6").is(200).has("meta.total", 1)
		w.get(path+"/user-data").is(200).has("user_data.data", "aGk=")
		w.get(path+"/upgrades").is(200).has("upgrades.plans", missing)
		w.get(path + "/vnc").is(200).text("vnc.url")
		w.get(path + "/bandwidth").is(200)
		w.get(path+"/vpc2").refused(404, "Not found.")
		w.delete(path).is(204)
		w.get(path).refused(404, "Invalid server")
		w.delete(path).refused(404, "Invalid server")
		for _, part := range []string{"ipv4", "ipv6", "user-data", "upgrades", "vnc", "bandwidth", "vpcs"} {
			w.get(path+"/"+part).refused(404, "Invalid server")
		}
		for _, bad := range []string{`{}`, `{"region":"ewr"}`, `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136}`, `{"region":"ewr","plan":"vbm-4c-32gb"}`} {
			w.post("/v2/bare-metals", bad).is(400)
		}
	})
}

func TestBareMetalInVPCAndBehindLoadBalancer(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		id, err := w.sim.AddBareMetal(simulator.NewServer{Label: "m", MainIP: "198.18.7.7"})
		if err != nil {
			t.Fatal(err)
		}
		path, v := "/v2/bare-metals/"+id, w.vpc()
		lb := w.newBalancer(`{"region":"ewr","instances":["` + id + `"]}`)
		w.post(path+"/vpcs/attach", `{"vpc_id":"`+v+`"}`).is(204)
		w.pass(10 * time.Second)
		w.get(path+"/vpcs").is(200).hasField("vpcs", 0, "ip_address", "10.1.0.3")
		w.metal(id).hasField("bare_metal.vpcs", 0, "subnet", "10.1.0.0/20")
		w.delete("/v2/vpcs/"+v).refused(400, "The following servers are attached to this VPC network: 198.18.7.7")
		w.guestView("198.18.7.7").hasField("interfaces", 1, "network-v2-id", v)
		ip := w.post("/v2/reserved-ips", `{"region":"ewr","ip_type":"v4","instance_id":"`+id+`"}`).is(201)
		w.get(path+"/ipv4").hasField("ipv4s", 1, "ip", ip.text("reserved_ip.subnet"))
		w.delete(path).is(204)
		w.balancer(lb).has("load_balancer.instances", []any{})
		w.get("/v2/reserved-ips/"+ip.text("reserved_ip.id")).has("reserved_ip.instance_id", "")
		w.delete("/v2/vpcs/" + v).is(400)
		w.pass(20 * time.Second)
		w.delete("/v2/vpcs/" + v).is(204)
	})
}
