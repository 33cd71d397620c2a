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
	// kind is what the route is about, "" where nothing is ever behind; see ReadKinds.
	kind string
	// maxBody bounds the request's body; 0 means defaultMaxBody.
	maxBody int64
}

var unknownRoute = route{operation: "unknown", handle: (*Simulator).notFound, open: true}

// resource is the routes of one kind of things, under the name that people know it by.
type resource struct {
	name string
	// kind is what ReadLags calls it; "" where every read shows the truth.
	kind   string
	routes []route
}

// resources are all routes there are. Each table is beside the code that answers it.
var resources = []resource{
	{"Account", "", accountRoutes},
	{"Regions and plans", "", regionRoutes},
	{"Images and applications", "", catalogueRoutes},
	{"Instances", "instances", slices.Concat(instanceRoutes, instanceVPCRoutes, instancePartRoutes)},
	{"Bare metal", "bare_metals", metalRoutes},
	{"Block storage", "blocks", blockRoutes},
	{"Block snapshots", "block_snapshots", snapshotRoutes},
	{"File systems (VFS)", "vfs", fileSystemRoutes},
	{"Load balancers", "load_balancers", slices.Concat(balancerRoutes, balancerRuleRoutes, balancerExtraRoutes)},
	{"VPCs", "vpcs", vpcRoutes},
	{"Firewall groups", "firewall_groups", firewallRoutes},
	{"Reserved IPs", "reserved_ips", reservedIPRoutes},
	{"SSH keys", "ssh_keys", sshKeyRoutes},
	{"Startup scripts", "startup_scripts", scriptRoutes},
	{"DNS", "domains", domainRoutes},
	{"Kubernetes Engine", "clusters", clusterRoutes},
}

// routes builds the mux over the routes of all resources.
func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, res := range resources {
		for _, r := range res.routes {
			r.kind = res.kind
			mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) { s.serve(r, w, req) })
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { s.serve(unknownRoute, w, req) })
	return mux
}
