package simulator

import (
	"net/http"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// region is one location as the API shows it.
type region struct {
	ID        string   `json:"id"`
	City      string   `json:"city"`
	Country   string   `json:"country"`
	Continent string   `json:"continent"`
	Options   []string `json:"options"`
	// Connectivity is of no use to clients; the platform always sends it.
	Connectivity []string `json:"connectivity"`
}

const (
	optionHighPerf      = "block_storage_high_perf"
	optionStorageOpt    = "block_storage_storage_opt"
	optionLoadBalancers = "load_balancers"
)

var (
	regionsWithHighPerf      = []string{"ams", "atl", "blr", "ewr", "lax", "lhr", "nrt", "ord", "sea", "sgp", "syd"}
	regionsWithoutStorageOpt = []string{"syd"}
	regionsWithoutBalancers  = []string{"mxp", "sao"}
	regionRows               = [][4]string{
		{"ams", "Amsterdam", "NL", "Europe"},
		{"atl", "Atlanta", "US", "North America"},
		{"blr", "Bangalore", "IN", "Asia"},
		{"bom", "Mumbai", "IN", "Asia"},
		{"cdg", "Paris", "FR", "Europe"},
		{"del", "Delhi NCR", "IN", "Asia"},
		{"dfw", "Dallas", "US", "North America"},
		{"ewr", "New Jersey", "US", "North America"},
		{"fra", "Frankfurt", "DE", "Europe"},
		{"hnl", "Honolulu", "US", "North America"},
		{"icn", "Seoul", "KR", "Asia"},
		{"itm", "Osaka", "JP", "Asia"},
		{"jnb", "Johannesburg", "ZA", "Africa"},
		{"lax", "Los Angeles", "US", "North America"},
		{"lhr", "London", "GB", "Europe"},
		{"mad", "Madrid", "ES", "Europe"},
		{"man", "Manchester", "GB", "Europe"},
		{"mel", "Melbourne", "AU", "Australia"},
		{"mex", "Mexico City", "MX", "North America"},
		{"mia", "Miami", "US", "North America"},
		{"mxp", "Milan", "IT", "Europe"},
		{"nrt", "Tokyo", "JP", "Asia"},
		{"ord", "Chicago", "US", "North America"},
		{"sao", "São Paulo", "BR", "South America"},
		{"scl", "Santiago", "CL", "South America"},
		{"sea", "Seattle", "US", "North America"},
		{"sgp", "Singapore", "SG", "Asia"},
		{"sjc", "Silicon Valley", "US", "North America"},
		{"sto", "Stockholm", "SE", "Europe"},
		{"syd", "Sydney", "AU", "Australia"},
		{"tlv", "Tel Aviv", "IL", "Asia"},
		{"waw", "Warsaw", "PL", "Europe"},
		{"yto", "Toronto", "CA", "North America"},
	}
	allRegions = buildRegions()
)

var regionRoutes = []route{
	{method: "GET", path: "/v2/regions", operation: "list_regions", handle: (*Simulator).listRegions, open: true},
	{method: "GET", path: "/v2/regions/{id}/availability", operation: "get_region_availability", handle: (*Simulator).regionAvailability, open: true, anyID: true},
	{method: "GET", path: "/v2/plans", operation: "list_plans", handle: (*Simulator).listPlans, open: true},
	{method: "GET", path: "/v2/plans-metal", operation: "list_plans_metal", handle: (*Simulator).listMetalPlans, open: true},
}

func buildRegions() []region {
	out := make([]region, 0, len(regionRows))
	for _, row := range regionRows {
		r := region{ID: row[0], City: row[1], Country: row[2], Continent: row[3], Options: []string{"ddos_protection"}, Connectivity: []string{}}
		if !slices.Contains(regionsWithoutStorageOpt, r.ID) {
			r.Options = append(r.Options, optionStorageOpt)
		}
		if slices.Contains(regionsWithHighPerf, r.ID) {
			r.Options = append(r.Options, optionHighPerf)
		}
		if !slices.Contains(regionsWithoutBalancers, r.ID) {
			r.Options = append(r.Options, optionLoadBalancers)
		}
		r.Options = append(r.Options, "kubernetes")
		out = append(out, r)
	}
	return out
}

func findRegion(id string) (region, bool) {
	i := slices.IndexFunc(allRegions, func(r region) bool { return r.ID == id })
	if i < 0 {
		return region{}, false
	}
	return allRegions[i], true
}

func (r region) sells(option string) bool { return slices.Contains(r.Options, option) }

func (s *Simulator) listRegions(c *call) (int, any, error) {
	return fixedList(c, "regions", allRegions)
}

func (s *Simulator) regionAvailability(c *call) (int, any, error) {
	if _, ok := findRegion(c.id()); !ok {
		// Seen here; what other requests are told of a bad region is unknown.
		return 0, nil, wire.BadRequest("Invalid region.")
	}
	available, bad := availablePlans(c.id(), c.req.URL.Query().Get("type"))
	if bad != nil {
		return 0, nil, bad
	}
	// Without a key the platform answers, but with nothing.
	if !s.knowsKey(bearer(c.req)) {
		available = []string{}
	}
	return http.StatusOK, map[string]any{"available_plans": available, "available_vpc_only_plans": available}, nil
}
