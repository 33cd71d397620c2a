package simulator_test

import (
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

var consistencyTraits = []trait{
	{name: "20-silent-truncation", test: func(w *world) {
		long := strings.Repeat("ä", 300)
		v := w.post("/v2/vpcs", `{"region":"ewr","description":"`+long+`"}`).is(201)
		v.has("vpc.description", long[:2*255])
		w.do("PUT", "/v2/vpcs/"+v.text("vpc.id"), `{"description":"`+long+`"}`).is(204)
		w.get("/v2/vpcs/"+v.text("vpc.id")).has("vpc.description", long[:2*255])
		g := w.post("/v2/firewalls", `{"description":"`+long+`"}`).is(201).has("firewall_group.description", long[:2*255])
		w.do("PUT", "/v2/firewalls/"+g.text("firewall_group.id"), `{"description":"x`+long+`"}`).is(204)
		w.get("/v2/firewalls/"+g.text("firewall_group.id")).has("firewall_group.description", "x"+long[:2*254])
		key := w.post("/v2/ssh-keys", `{"name":"`+long+`","ssh_key":"`+aKey+`"}`).is(201).has("ssh_key.name", long[:2*128])
		w.patch("/v2/ssh-keys/"+key.text("ssh_key.id"), `{"name":"x`+long+`"}`).is(204)
		w.get("/v2/ssh-keys/"+key.text("ssh_key.id")).has("ssh_key.name", "x"+long[:2*127])
		for _, fits := range []int{255, 1} { // as long as it may be, it is kept
			w.post("/v2/vpcs", `{"region":"lax","description":"`+long[:2*fits]+`"}`).is(201).has("vpc.description", long[:2*fits])
		}
	}},
	{name: "20-late-details", test: func(w *world) {
		id := w.post("/v2/instances", anInstance).is(202).text("instance.id")
		path := "/v2/instances/" + id + "/backup-schedule"
		w.pass(25 * time.Second)
		w.instance(id).has("instance.status", "active")
		w.get(path).refused(404, "Invalid instance-id.")
		w.post(path, `{"type":"daily"}`).refused(404, "Invalid instance-id.")
		w.pass(10 * time.Second)
		w.get(path).is(200).has("backup_schedule.enabled", false)
	}},
	{name: "20-late-user-data", config: exactReads(), test: func(w *world) {
		id := w.server(simulator.NewServer{Label: "i", MainIP: "198.18.7.7", UserData: "old"})
		w.patch("/v2/instances/"+id, `{"user_data":"bmV3"}`).is(202)
		w.get("/v2/instances/"+id+"/user-data").is(200).has("user_data.data", "bmV3")
		w.pass(3 * time.Second)
		w.guestView("198.18.7.7").has("user-data", "old")
		w.pass(time.Second)
		w.guestView("198.18.7.7").has("user-data", "new")
	}},
	{name: "20-deleted-counts", config: simulator.Config{MaxInstances: 2}, test: func(w *world) {
		const full = "Server add failed: You have reached the maximum number of active instances for this account."
		i := w.post("/v2/instances", anInstance).is(202).text("instance.id")
		w.post("/v2/instances", anInstance).is(202)
		w.post("/v2/instances", anInstance).refused(400, full)
		w.pass(2 * time.Minute)
		w.delete("/v2/instances/" + i).is(204)
		w.get("/v2/instances/" + i).is(404)
		w.post("/v2/instances", anInstance).refused(400, full)
		w.pass(20 * time.Second)
		w.post("/v2/instances", anInstance).is(202)
	}},
}
