package simulator

import "net/http"

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

// routes builds the mux over the tables of all resources.
func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, table := range [][]route{accountRoutes, regionRoutes, blockRoutes, snapshotRoutes, instanceRoutes, metalRoutes, balancerRoutes, balancerRuleRoutes, vpcRoutes, instanceVPCRoutes, firewallRoutes, sshKeyRoutes, scriptRoutes, reservedIPRoutes, catalogueRoutes, instancePartRoutes} {
		for _, r := range table {
			mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) { s.serve(r, w, req) })
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { s.serve(unknownRoute, w, req) })
	return mux
}
