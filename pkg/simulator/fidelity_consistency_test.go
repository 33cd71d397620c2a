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
