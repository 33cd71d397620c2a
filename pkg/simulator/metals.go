package simulator

import (
	"net/http"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// bareMetal is one bare metal server. The simulator makes them only by AddBareMetal.
type bareMetal struct {
	head
	Label    string   `json:"label"`
	Hostname string   `json:"hostname"`
	Region   string   `json:"region"`
	Plan     string   `json:"plan"`
	Tags     []string `json:"tags"`
	MainIP   string   `json:"main_ip"`
	Power    string   `json:"power"`
	interfaces
}

var metalRoutes = []route{
	{method: "GET", path: "/v2/bare-metals", operation: "list_bare_metals", handle: (*Simulator).listMetals},
	{method: "GET", path: "/v2/bare-metals/{id}", operation: "get_bare_metal", handle: (*Simulator).getMetal},
}

func (s *Simulator) listMetals(c *call) (int, any, error) {
	q := c.req.URL.Query()
	match := func(m bareMetal) bool {
		return s.labelMatches(m.Label, q.Get("label")) && s.tagMatches(m.Tags, q.Get("tag"))
	}
	return list(s, c, "bare_metals", s.metals.All(), match, s.showMetal)
}

func (s *Simulator) getMetal(c *call) (int, any, error) {
	m, ok := s.metals.Get(c.id())
	if !ok {
		return 0, nil, wire.NotFound("Invalid server.")
	}
	return http.StatusOK, map[string]any{"bare_metal": s.showMetal(m)}, nil
}

func (s *Simulator) showMetal(m bareMetal) any {
	tags := m.Tags
	if tags == nil {
		tags = []string{}
	}
	return map[string]any{
		"id": m.ID, "os": "Debian 12 x64 (bookworm)", "ram": "32768 MB", "disk": "2x 240 GB SSD", "cpu_count": 4,
		"main_ip": m.MainIP, "region": m.Region, "date_created": wire.Time(m.Created), "status": statusActive,
		"power_status": m.Power, "netmask_v4": s.netmask(), "gateway_v4": s.gateway().String(), "plan": m.Plan,
		"label": m.Label, "hostname": m.Hostname, "tag": "", "tags": tags, "os_id": 2136, "app_id": 0, "image_id": "",
		"v6_network": "", "v6_main_ip": "", "v6_network_size": 0, "mac_address": 94558180541218, "vserial": "",
		"features": []string{}, "user_scheme": "root", "vpcs": []vpcBody{},
	}
}
