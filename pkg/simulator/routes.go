package simulator

import (
	"net/http"
	"slices"
)

// route is one operation of the API.
type route struct {
	method, path string
	// operation is its stable name in the request log and in faults.
	operation string
	handle    func(s *Simulator, c *call) (int, any, error)
	// open routes need no key.
	open bool
	// anyID routes take an {id} that is no UUID.
	anyID bool
	// maxBody bounds the request's body; 0 means defaultMaxBody.
	maxBody int64
}

var unknownRoute = route{operation: "unknown", handle: (*Simulator).notFound, open: true}

// resource is the routes of one kind of things, under the name that people know it by.
type resource struct {
	name   string
	routes []route
}

// resources are all routes there are. Each table is beside the code that answers it.
var resources = []resource{
	{"Account", accountRoutes},
	{"Regions and plans", regionRoutes},
	{"Images and applications", catalogueRoutes},
	{"Instances", slices.Concat(instanceRoutes, instanceVPCRoutes, instancePartRoutes)},
	{"Bare metal", metalRoutes},
	{"Block storage", blockRoutes},
	{"Block snapshots", snapshotRoutes},
	{"File systems (VFS)", fileSystemRoutes},
	{"Load balancers", slices.Concat(balancerRoutes, balancerRuleRoutes, balancerExtraRoutes)},
	{"VPCs", vpcRoutes},
	{"Firewall groups", firewallRoutes},
	{"Reserved IPs", reservedIPRoutes},
	{"SSH keys", sshKeyRoutes},
	{"Startup scripts", scriptRoutes},
	{"DNS", domainRoutes},
	{"Kubernetes Engine", clusterRoutes},
}

// routes builds the mux over the routes of all resources.
func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, res := range resources {
		for _, r := range res.routes {
			mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) { s.serve(r, w, req) })
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { s.serve(unknownRoute, w, req) })
	return mux
}
