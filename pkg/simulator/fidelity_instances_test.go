package simulator_test

import (
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const anInstance = `{"region":"ewr","plan":"vc2-1c-2gb","os_id":2136,"label":"worker","tags":null}`

// state demands the three states of an instance.
func (r reply) state(status, power, server string) reply {
	r.w.Helper()
	return r.has("instance.status", status).has("instance.power_status", power).has("instance.server_status", server)
}

var instanceTraits = []trait{
	{name: "03-power-status", config: exactReads(), test: func(w *world) {
		r := w.post("/v2/instances", anInstance).is(202).state("pending", "running", "none")
		r.has("instance.main_ip", "0.0.0.0").has("instance.gateway_v4", "0.0.0.0")
		id := r.text("instance.id")
		w.pass(22 * time.Second)
		w.instance(id).state("pending", "running", "none").has("instance.main_ip", "0.0.0.0")
		w.pass(time.Second)
		w.instance(id).state("active", "stopped", "locked").has("instance.main_ip", "198.18.0.11")
		w.pass(34 * time.Second)
		w.instance(id).state("active", "stopped", "locked")
		w.pass(time.Second)
		w.instance(id).state("active", "running", "ok").has("instance.main_ip", "198.18.0.11")
	}},
	{name: "03-locked-window", test: func(w *world) {
		b := w.nvme()
		id := w.post("/v2/instances", anInstance).is(202).text("instance.id")
		for range 2 { // pending, then active but locked
			w.attach(b, id).refused(400, "Server is currently locked")
			w.post("/v2/instances/"+id+"/halt", "").refused(400, "Server is currently locked")
			w.pass(30 * time.Second)
		}
		w.attach(b, id).is(204)
	}},
	{name: "04-live-default", test: func(w *world) {
		id, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		reboots := 0
		for _, step := range []struct {
			path, body string
			reboots    int
		}{
			{"attach", `{"instance_id":"` + id + `","live":true}`, 0},
			{"detach", `{"live":true}`, 0},
			{"attach", `{"instance_id":"` + id + `"}`, 1},
			{"detach", ``, 1},
			{"attach", `{"instance_id":"` + id + `","live":false}`, 1},
			{"detach", `{"live":null}`, 1},
		} {
			w.post("/v2/blocks/"+b+"/"+step.path, step.body).is(204)
			w.pass(5 * time.Second)
			reboots += step.reboots
			if got := w.reboots(id); got != reboots {
				w.Errorf("after %s %s: %d restarts, want %d", step.path, step.body, got, reboots)
			}
		}
	}},
	{name: "08-survives-instance", test: func(w *world) {
		id, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		w.attach(b, id).is(204)
		w.pass(5 * time.Second)
		w.delete("/v2/instances/" + id).is(204)
		w.get("/v2/instances/"+id).refused(404, "Invalid instance-id.")
		w.pass(time.Minute)
		w.block(b).has("block.attached_to_instance", "").has("block.status", "active")
	}},
	{name: "08-lingering-attachment", test: func(w *world) {
		id, other, b := w.server(simulator.NewServer{Label: "i"}), w.server(simulator.NewServer{Label: "j"}), w.nvme()
		w.attach(b, id).is(204)
		w.pass(5 * time.Second)
		w.delete("/v2/instances/" + id).is(204)
		w.pass(time.Second)
		w.block(b).has("block.attached_to_instance", id).has("block.attached_to_instance_label", "")
		w.attach(b, other).refused(400, "Nothing to change")
		w.detach(b).refused(400, "Block storage volume is not currently attached to a server")
		w.delete("/v2/blocks/" + b).is(400)
		w.pass(4 * time.Second)
		w.block(b).has("block.attached_to_instance", "")
		w.attach(b, other).is(204)
	}},
	{name: "08-delete-in-use", test: func(w *world) {
		id, b := w.server(simulator.NewServer{Label: "i"}), w.nvme()
		w.attach(b, id).is(204)
		w.delete("/v2/blocks/"+b).refusedSaying(400, "detached") // not visible yet, but on its way
		w.pass(5 * time.Second)
		w.delete("/v2/blocks/"+b).refusedSaying(400, "detached")
		w.detach(b).is(204)
		w.delete("/v2/blocks/"+b).refusedSaying(400, "detached")
		w.pass(5 * time.Second)
		w.delete("/v2/blocks/" + b).is(204)
		w.get("/v2/blocks/"+b).refused(404, "Invalid block storage ID.")
	}},
}
