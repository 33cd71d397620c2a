package simulator_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func TestSSHKeysAndScriptsReachTheGuest(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		key := w.post("/v2/ssh-keys", `{"name":"me","ssh_key":"`+aKey+`"}`).is(201).has("ssh_key.ssh_key", aKey).text("ssh_key.id")
		twin := w.post("/v2/ssh-keys", `{"name":"me","ssh_key":"`+aKey+`"}`).is(201).text("ssh_key.id")
		script := w.post("/v2/startup-scripts", `{"name":"s","script":"ZWNobyBoaQ=="}`).is(201).has("startup_script.type", "boot").text("startup_script.id")
		w.patch("/v2/startup-scripts/"+script, `{"name":"renamed"}`).is(204)
		w.get("/v2/startup-scripts/"+script).has("startup_script.name", "renamed").has("startup_script.script", "ZWNobyBoaQ==")
		w.patch("/v2/ssh-keys/"+key, `{"name":"you"}`).is(204)
		w.get("/v2/ssh-keys/"+key).has("ssh_key.name", "you")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"sshkey_id":["`+key+`"],"script_id":"`+script+`"}`).is(202)
		w.delete("/v2/ssh-keys/" + key).is(204)
		w.pass(time.Minute)
		w.guestView("198.18.0.11").is(200).has("public-keys", []any{aKey}).has("startup-script", "echo hi")
		w.delete("/v2/ssh-keys/" + key).is(404)
		w.delete("/v2/ssh-keys/" + twin).is(204)
		w.delete("/v2/startup-scripts/" + script).is(204)
		w.get("/v2/startup-scripts/"+script).refused(404, "Invalid startup script ID")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"sshkey_id":["`+key+`"]}`).refused(400, "Invalid ssh key")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"script_id":"`+script+`"}`).refused(400, "Invalid startup script ID")
		for path, bodies := range map[string][]string{
			"/v2/ssh-keys":        {`{}`, `{"name":"n"}`, `{"name":"n","ssh_key":"x"}`, `{"ssh_key":"` + aKey + `"}`},
			"/v2/startup-scripts": {`{}`, `{"name":"n"}`, `{"name":"n","script":"?"}`, `{"name":"n","script":"aGk=","type":"cron"}`, `{"script":"aGk="}`},
		} {
			for _, body := range bodies {
				w.post(path, body).is(400)
			}
		}
	})
}

func TestReservedIPs(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		const path = "/v2/reserved-ips"
		r := w.post(path, `{"region":"ewr","ip_type":"v4","label":"lb"}`).is(201)
		r.has("reserved_ip.subnet", "198.18.0.11").has("reserved_ip.subnet_size", 32).has("reserved_ip.instance_id", "")
		id := r.text("reserved_ip.id")
		w.post(path, `{"region":"ewr","ip_type":"v6"}`).is(201).has("reserved_ip.subnet_size", 64)
		w.patch(path+"/"+id, `{"label":""}`).is(204)
		w.get(path+"/"+id).has("reserved_ip.label", "")
		i, j := w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})
		far := w.server(simulator.NewServer{Label: "far", Region: "lax"})
		w.instance(i).has("instance.main_ip", "198.18.0.12") // the reserved one is taken
		w.post(path+"/"+id+"/attach", `{"instance_id":"`+far+`"}`).refusedSaying(400, "same region")
		w.post(path+"/"+id+"/attach", `{"instance_id":"`+nobody+`"}`).refused(404, "Invalid instance-id.")
		w.post(path+"/"+id+"/detach", "").refusedSaying(400, "not attached")
		w.post(path+"/"+id+"/attach", `{"instance_id":"`+i+`"}`).is(204)
		w.post(path+"/"+id+"/attach", `{"instance_id":"`+j+`"}`).refused(400, "Floating IPv4 address is already attached to another server")
		w.get("/v2/instances/"+i+"/ipv4").is(200).hasField("ipv4s", 1, "ip", "198.18.0.11").hasField("ipv4s", 1, "type", "secondary_ip")
		w.guestView("198.18.0.11").is(200).has("instance-v2-id", i)
		w.guestView("198.18.0.12").hasField("interfaces", 0, "ipv4.additional", "[map[address:198.18.0.11 netmask:255.255.0.0]]")
		w.post(path+"/"+id+"/detach", "").is(204)
		w.guestView("198.18.0.11").is(404)

		// As the main address of a new instance, which gives it back at its end.
		body := `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"reserved_ipv4":"` + id + `"}`
		k := w.post("/v2/instances", body).is(202).text("instance.id")
		w.post("/v2/instances", body).refused(400, "Floating IPv4 address is already attached to another server")
		w.pass(time.Minute)
		w.instance(k).has("instance.main_ip", "198.18.0.11")
		w.post(path+"/"+id+"/detach", "").refusedSaying(400, "main ip")
		w.delete("/v2/instances/" + k).is(204)
		w.get(path+"/"+id).has("reserved_ip.instance_id", "")

		// The address of an instance becomes the account's own.
		r = w.post(path+"/convert", `{"ip_address":"198.18.0.12","label":"kept"}`).is(201)
		r.has("reserved_ip.instance_id", i).has("reserved_ip.region", "ewr").has("reserved_ip.label", "kept")
		w.post(path+"/convert", `{"ip_address":"198.18.0.12"}`).is(400)
		w.post(path+"/convert", `{"ip_address":"192.0.2.1"}`).is(400)
		w.post(path+"/convert", `{}`).is(400)
		w.delete("/v2/instances/" + i).is(204)
		w.instance(w.server(simulator.NewServer{Label: "next"})).has("instance.main_ip", "198.18.0.15") // .13 j, .14 far
		w.delete(path + "/" + id).is(204)
		w.get(path+"/"+id).refused(404, "Invalid reserved-ip ID.")
		w.instance(w.server(simulator.NewServer{Label: "next"})).has("instance.main_ip", "198.18.0.11")
		for _, bad := range []string{`{}`, `{"region":"ewr"}`, `{"region":"moon","ip_type":"v4"}`, `{"region":"ewr","ip_type":"v5"}`} {
			w.post(path, bad).is(400)
		}
	})
}

// A reserved address that a new server waits for is nobody else's, whatever becomes of the reservation meanwhile.
func TestReservedIPOfNewServers(t *testing.T) {
	for path, body := range map[string]string{
		"/v2/instances":   `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"reserved_ipv4":"198.18.0.11"}`,
		"/v2/bare-metals": `{"region":"ewr","plan":"vbm-4c-32gb","os_id":2136,"reserved_ipv4":"198.18.0.11"}`,
	} {
		t.Run(path[4:], func(t *testing.T) {
			bubble(t, simulator.Config{}, func(w *world) {
				ip := "/v2/reserved-ips/" + w.post("/v2/reserved-ips", `{"region":"ewr","ip_type":"v4"}`).is(201).has("reserved_ip.subnet", "198.18.0.11").text("reserved_ip.id")
				w.post(path, body).is(202)
				w.post(ip+"/detach", "").refusedSaying(400, "main ip")
				w.pass(5 * time.Minute)
				w.guestView("198.18.0.11").is(200)
				w.post(ip+"/detach", "").refusedSaying(400, "main ip")
				w.post("/v2/reserved-ips/convert", `{"ip_address":"198.18.0.11"}`).is(400)
			})
			bubble(t, simulator.Config{}, func(w *world) {
				ip := "/v2/reserved-ips/" + w.post("/v2/reserved-ips", `{"region":"ewr","ip_type":"v4"}`).is(201).text("reserved_ip.id")
				w.post(path, body).is(202)
				w.delete(ip).is(204)
				other := w.server(simulator.NewServer{Label: "other"})
				w.pass(5 * time.Minute)
				w.guestView("198.18.0.11").is(200)
				w.instance(other).has("instance.main_ip", "198.18.0.12")
			})
		})
	}
}

func TestUpdateInstance(t *testing.T) {
	m := &recorder{}
	bubble(t, simulator.Config{Machine: m}, func(w *world) {
		id := w.server(simulator.NewServer{Label: "i", Plan: "vc2-1c-2gb", Tags: []string{"a"}})
		path := "/v2/instances/" + id
		w.patch(path, `{"tags":null,"ddos_protection":null,"label":"renamed"}`).is(202).
			has("instance.label", "renamed").has("instance.tags", []any{"a"})
		w.patch(path, `{"tags":["b","c"],"ddos_protection":true,"backups":"enabled","enable_ipv6":true,"user_scheme":"limited"}`).is(202)
		w.instance(id).has("instance.tags", []any{"b", "c"}).has("instance.user_scheme", "limited").
			has("instance.features", []any{"ipv6", "auto_backups", "ddos_protection"})
		w.patch(path, `{"tags":[]}`).is(202).has("instance.tags", []any{})
		for _, bad := range []string{
			`{"plan":"vc2-1c-1gb"}`, `{"plan":"vhf-2c-4gb"}`, `{"plan":"none"}`, `{"os_id":1}`, `{"user_scheme":"x"}`, `{"backups":"x"}`,
			`{"tags":["` + strings.Repeat(`a","`, 50) + `"]}`,
		} {
			w.patch(path, bad).is(400)
		}
		w.patch("/v2/instances/"+nobody, `{}`).refused(404, "Invalid instance-id.")

		w.patch(path, `{"plan":"vc2-2c-4gb"}`).is(202).state("resizing", "running", "locked").has("instance.plan", "vc2-1c-2gb")
		w.patch(path, `{"label":"while it resizes"}`).is(202)
		w.patch(path, `{"plan":"vc2-4c-8gb"}`).refused(400, "Server is currently locked")
		w.pass(time.Minute)
		w.instance(id).state("active", "running", "ok").has("instance.plan", "vc2-2c-4gb").has("instance.ram", 4096)
		if got := m.take(); got != "kill, start" {
			t.Errorf("a new plan told the machine %q", got)
		}
		w.post(path+"/reinstall", `{"hostname":"anew"}`).is(202).has("instance.server_status", "installingbooting").has("instance.hostname", "anew")
		w.pass(time.Second)
		w.instance(id).has("instance.power_status", "stopped")
		w.pass(time.Minute)
		w.instance(id).state("active", "running", "ok")
		w.patch(path, `{"os_id":2284}`).is(202).has("instance.os", "Ubuntu 24.04 LTS x64")
		w.pass(time.Minute)
		if got := m.take(); got != "kill, start, kill, start" {
			t.Errorf("two installations told the machine %q", got)
		}
		v := w.vpc()
		w.patch(path, `{"attach_vpc":["`+v+`"]}`).is(202)
		w.pass(10 * time.Second)
		w.instance(id).hasField("instance.vpcs", 0, "id", v)
		w.patch(path, `{"detach_vpc":["`+v+`"]}`).is(202)
		w.pass(10 * time.Second)
		w.instance(id).has("instance.vpcs", []any{})
		if got := m.take(); got != "kill, start, kill, start" {
			t.Errorf("two changes of VPCs told the machine %q", got)
		}
		w.patch(path, `{"enable_vpc":true}`).is(202)
		w.pass(10 * time.Second)
		w.instance(id).hasField("instance.vpcs", 0, "id", v)
	})
}

func TestBulkPower(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		i, j := w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"})
		both := `{"instance_ids":["` + i + `","` + j + `"]}`
		w.post("/v2/instances/halt", both).is(204)
		w.pass(10 * time.Second)
		w.instance(i).has("instance.power_status", "stopped")
		w.instance(j).has("instance.power_status", "stopped")
		w.post("/v2/instances/start", both).is(204)
		w.pass(20 * time.Second)
		w.post("/v2/instances/reboot", both).is(204)
		w.pass(10 * time.Second)
		if w.reboots(i) != 1 || w.reboots(j) != 1 {
			t.Errorf("restarts: %d and %d", w.reboots(i), w.reboots(j))
		}
		w.post("/v2/instances/halt", `{"instance_ids":["`+i+`","`+nobody+`"]}`).refused(404, "Invalid instance-id.")
		w.pass(10 * time.Second)
		w.instance(i).has("instance.power_status", "running")
		w.post("/v2/instances/halt", `{}`).is(400)
	})
}

func TestAddressesOfInstances(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		id := w.member(w.vpc(), `,"enable_ipv6":true`)
		path := "/v2/instances/" + id
		r := w.get(path+"/ipv4").is(200).has("meta.total", 2)
		r.hasField("ipv4s", 0, "type", "main_ip").hasField("ipv4s", 0, "ip", "198.18.0.11").hasField("ipv4s", 0, "netmask", "255.255.0.0").
			hasField("ipv4s", 0, "gateway", "198.18.0.1").hasField("ipv4s", 1, "type", "private").hasField("ipv4s", 1, "ip", "10.1.0.3")
		w.get(path+"/ipv4?per_page=1").hasField("ipv4s", 0, "type", "main_ip").has("meta.total", 2)
		v6 := w.instance(id).text("instance.v6_main_ip")
		w.get(path+"/ipv6").is(200).hasField("ipv6s", 0, "ip", v6).hasField("ipv6s", 0, "network_size", 64)

		w.post(path+"/ipv4", `{"reboot":false}`).is(202).has("ipv4.ip", "198.18.0.12").has("ipv4.type", "secondary_ip")
		w.post(path+"/ipv4", `{}`).is(202)
		w.pass(10 * time.Second)
		if w.reboots(id) != 1 {
			t.Errorf("%d restarts, want 1", w.reboots(id))
		}
		w.guestView("198.18.0.12").is(200)
		w.post(path+"/ipv4/reverse", `{"ip":"198.18.0.12","reverse":"a.example.com"}`).is(204)
		w.get(path+"/ipv4").hasField("ipv4s", 1, "reverse", "a.example.com")
		w.post(path+"/ipv4/reverse/default", `{"ip":"198.18.0.12"}`).is(204)
		w.get(path+"/ipv4").hasField("ipv4s", 1, "reverse", "198.18.0.12.vultrusercontent.com")
		w.post(path+"/ipv6/reverse", `{"ip":"`+v6+`","reverse":"b.example.com"}`).is(204)
		w.get(path+"/ipv6/reverse").is(200).hasField("reverse_ipv6s", 0, "reverse", "b.example.com")
		w.delete(path + "/ipv6/reverse/" + v6).is(204)
		w.get(path+"/ipv6/reverse").is(200).has("reverse_ipv6s", []any{})
		w.post(path+"/ipv4/reverse", `{"ip":"192.0.2.1","reverse":"a"}`).is(400)
		w.delete(path + "/ipv4/198.18.0.12").is(204)
		w.delete(path + "/ipv4/198.18.0.12").is(400)
		w.delete(path + "/ipv4/198.18.0.11").is(400)
		w.guestView("198.18.0.12").is(404)

		six := w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"disable_public_ipv4":true,"enable_ipv6":true}`).is(202).text("instance.id")
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"disable_public_ipv4":true}`).is(400)
		w.pass(time.Minute)
		w.instance(six).state("active", "running", "ok").has("instance.main_ip", "0.0.0.0")
		w.get("/v2/instances/"+six+"/ipv4").has("ipv4s", []any{})
	})
}

func TestPartsOfInstances(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		id := w.server(simulator.NewServer{Label: "i", UserData: "hi", Plan: "vc2-1c-2gb"})
		path := "/v2/instances/" + id
		w.get(path+"/user-data").is(200).has("user_data.data", "aGk=")
		w.get(path+"/backup-schedule").is(200).has("backup_schedule.enabled", false).has("backup_schedule.type", "")
		w.post(path+"/backup-schedule", `{"type":"daily"}`).is(400) // they are off
		w.patch(path, `{"backups":"enabled"}`).is(202)
		w.post(path+"/backup-schedule", `{"type":"weekly","hour":8,"dow":6}`).is(200).has("backup_schedule.enabled", true).
			has("backup_schedule.type", "weekly").has("backup_schedule.hour", 8).has("backup_schedule.dow", 6)
		w.post(path+"/backup-schedule", `{"type":"hourly"}`).is(400)
		w.patch(path, `{"backups":"disabled"}`).is(202)
		w.get(path+"/backup-schedule").has("backup_schedule.enabled", false)
		w.get(path+"/upgrades?type=plans").is(200).has("upgrades.plans", []any{"vc2-2c-2gb", "vc2-2c-4gb", "vc2-4c-8gb", "vc2-6c-16gb", "vc2-8c-32gb", "vc2-16c-64gb"}).has("upgrades.os", missing)
		w.get(path + "/upgrades?type=none").is(400)
		w.get(path+"/bandwidth").is(200).has("bandwidth", map[string]any{})
		w.get(path+"/neighbors").is(200).has("neighbors", []any{})
		w.get(path+"/iso").is(200).has("iso_status.state", "ready")
		for _, part := range []string{"user-data", "backup-schedule", "upgrades", "bandwidth", "neighbors", "iso", "ipv4", "ipv6", "ipv6/reverse", "vpcs"} {
			w.get("/v2/instances/"+nobody+"/"+part).refused(404, "Invalid instance-id.")
		}
	})
}

// What is large but was seen to be accepted is accepted, and kept as it came.
func TestLargeInstances(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		tags := func(n int) string {
			return `"tags":["` + strings.Join(slices.Repeat([]string{strings.Repeat("\u00e4", 512)}, n), `","`) + `"]`
		}
		data := func(n int) string { return `"user_data":"` + strings.Repeat("aGk=", n/4) + `"` }
		const body = `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,`
		id := w.post("/v2/instances", body+tags(50)+"}").is(202).text("instance.id")
		if n := len(w.instance(id).items("instance.tags")); n != 50 {
			t.Errorf("%d tags came back", n)
		}
		w.post("/v2/instances", body+tags(100)+"}").is(400)
		w.patch("/v2/instances/"+id, "{"+tags(100)+"}").is(400)
		// Megabytes are slow on the test's network.
		direct := func(method, path, body string) (status, length int) {
			request := httptest.NewRequestWithContext(w.ctx, method, path, strings.NewReader(body))
			request.Header.Set("Authorization", "Bearer "+testKey)
			answer := httptest.NewRecorder()
			w.sim.ServeHTTP(answer, request)
			return answer.Code, answer.Body.Len()
		}
		if status, _ := direct("PATCH", "/v2/instances/"+id, "{"+data(4<<20)+"}"); status != http.StatusAccepted {
			t.Errorf("4 MiB of user data: %d", status)
		}
		w.pass(w.lag)
		if status, n := direct("GET", "/v2/instances/"+id+"/user-data", ""); status != http.StatusOK || n < 4<<20 {
			t.Errorf("%d with %d bytes of user data came back", status, n)
		}
		if status, _ := direct("POST", "/v2/instances", body+data(4<<20+4)+"}"); status != http.StatusBadRequest {
			t.Errorf("more than 4 MiB of user data: %d", status)
		}
	})
}

func TestVolumesAtCreate(t *testing.T) {
	disks := newMemoryDisks()
	bubble(t, simulator.Config{Disks: disks}, func(w *world) {
		b := w.nvme()
		body := `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"block_devices":[{"block_id":"` + b + `"},{"disk_size":10,"label":"new"}]}`
		id := w.post("/v2/instances", body).is(202).text("instance.id")
		w.post("/v2/instances", body).refused(400, "Block storage is already attached to another server")
		w.pass(2 * time.Minute)
		w.block(b).has("block.attached_to_instance", id)
		w.get("/v2/blocks").has("meta.total", 2).hasField("blocks", 1, "label", "new").hasField("blocks", 1, "attached_to_instance", id)
		if w.reboots(id) != 0 || len(disks.plugged) != 2 {
			t.Errorf("%d restarts, plugged %v", w.reboots(id), disks.plugged)
		}
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"block_devices":[{"block_id":"`+nobody+`"}]}`).is(404)
		w.post("/v2/instances", `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"block_devices":null}`).is(202)
	})
}

func TestCatalogue(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		w.key = ""
		systems := map[string]any{}
		for _, o := range w.get("/v2/os").is(200).items("os") {
			m, _ := o.(map[string]any)
			name, _ := m["name"].(string)
			systems[name] = m["id"]
		}
		if systems["Ubuntu 24.04 LTS x64"] != 2284.0 || systems["Debian 12 x64 (bookworm)"] != 2136.0 || systems["Snapshot"] != 164.0 {
			t.Errorf("images %v", systems)
		}
		w.get("/v2/applications?type=one-click").is(200).hasField("applications", 0, "type", "one-click")
		w.get("/v2/applications?type=marketplace").is(200).has("meta.total", 1)
	})
}
