package simulator

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// bareMetal is one bare metal server. No machine stands behind it, and it takes no volumes and no firewall group.
type bareMetal struct {
	head
	Label    string   `json:"label"`
	Hostname string   `json:"hostname"`
	Region   string   `json:"region"`
	Plan     string   `json:"plan"`
	Tags     []string `json:"tags"`
	MainIP   string   `json:"main_ip"`
	Power    string   `json:"power"`
	// Pending servers are being made.
	Pending bool `json:"pending,omitempty"`

	OSID          int      `json:"os_id,omitempty"`
	AppID         int      `json:"app_id,omitempty"`
	ImageID       string   `json:"image_id,omitempty"`
	SnapshotID    string   `json:"snapshot_id,omitempty"`
	IPv6          bool     `json:"ipv6,omitempty"`
	UserData      string   `json:"user_data,omitempty"`
	UserScheme    string   `json:"user_scheme,omitempty"`
	SSHKeys       []string `json:"ssh_keys,omitempty"`
	StartupScript string   `json:"startup_script,omitempty"`
	Reserved      string   `json:"reserved,omitempty"`
	interfaces
}

var metalRoutes = []route{
	{method: "GET", path: "/v2/bare-metals", operation: "list_bare_metals", handle: (*Simulator).listMetals},
	{method: "POST", path: "/v2/bare-metals", operation: "create_bare_metal", handle: (*Simulator).createMetal, maxBody: 8 << 20},
	{method: "GET", path: "/v2/bare-metals/{id}", operation: "get_bare_metal", handle: (*Simulator).getMetal},
	{method: "PATCH", path: "/v2/bare-metals/{id}", operation: "update_bare_metal", handle: (*Simulator).updateMetal, maxBody: 8 << 20},
	{method: "DELETE", path: "/v2/bare-metals/{id}", operation: "delete_bare_metal", handle: (*Simulator).deleteMetal},
	{method: "POST", path: "/v2/bare-metals/{id}/halt", operation: "halt_bare_metal", handle: (*Simulator).haltMetal},
	{method: "POST", path: "/v2/bare-metals/{id}/start", operation: "start_bare_metal", handle: (*Simulator).startMetal},
	{method: "POST", path: "/v2/bare-metals/{id}/reboot", operation: "reboot_bare_metal", handle: (*Simulator).rebootMetal},
	{method: "POST", path: "/v2/bare-metals/{id}/reinstall", operation: "reinstall_bare_metal", handle: (*Simulator).reinstallMetal},
	{method: "POST", path: "/v2/bare-metals/halt", operation: "halt_bare_metals", handle: (*Simulator).haltMetals},
	{method: "POST", path: "/v2/bare-metals/start", operation: "start_bare_metals", handle: (*Simulator).startMetals},
	{method: "POST", path: "/v2/bare-metals/reboot", operation: "reboot_bare_metals", handle: (*Simulator).rebootMetals},
	{method: "GET", path: "/v2/bare-metals/{id}/ipv4", operation: "list_bare_metal_ipv4", handle: (*Simulator).listMetalIPv4},
	{method: "GET", path: "/v2/bare-metals/{id}/ipv6", operation: "list_bare_metal_ipv6", handle: (*Simulator).listMetalIPv6},
	{method: "GET", path: "/v2/bare-metals/{id}/user-data", operation: "get_bare_metal_user_data", handle: (*Simulator).metalUserData},
	{method: "GET", path: "/v2/bare-metals/{id}/upgrades", operation: "list_bare_metal_upgrades", handle: (*Simulator).metalUpgrades},
	{method: "GET", path: "/v2/bare-metals/{id}/bandwidth", operation: "get_bare_metal_bandwidth", handle: (*Simulator).metalBandwidth},
	{method: "GET", path: "/v2/bare-metals/{id}/vnc", operation: "get_bare_metal_vnc", handle: (*Simulator).metalVNC},
	{method: "GET", path: "/v2/bare-metals/{id}/vpcs", operation: "list_bare_metal_vpcs", handle: (*Simulator).listMetalVPCs},
	{method: "POST", path: "/v2/bare-metals/{id}/vpcs/attach", operation: "attach_bare_metal_vpc", handle: (*Simulator).attachMetalVPC},
	{method: "POST", path: "/v2/bare-metals/{id}/vpcs/detach", operation: "detach_bare_metal_vpc", handle: (*Simulator).detachMetalVPC},
}

var errNoMetal = wire.NotFound("Invalid server")

// running reports whether the server can take traffic.
func (m bareMetal) running() bool { return !m.Pending && m.Power == powerRunning && m.MainIP != "" }

func (s *Simulator) listMetals(c *call) (int, any, error) {
	return list(s, c, "bare_metals", s.metals.All(), everything, s.showMetal)
}

// withMetal answers a read of what a bare metal server has.
func (s *Simulator) withMetal(c *call, read func(m bareMetal) (int, any, error)) (int, any, error) {
	m, ok := s.metals.Get(c.id())
	if !ok {
		return 0, nil, errNoMetal
	}
	return read(m)
}

func (s *Simulator) getMetal(c *call) (int, any, error) {
	return s.withMetal(c, func(m bareMetal) (int, any, error) {
		return http.StatusOK, map[string]any{"bare_metal": s.showMetal(m)}, nil
	})
}

func (s *Simulator) showMetal(m bareMetal) any { return s.metalBody(m) }

func (s *Simulator) metalBody(m bareMetal) map[string]any {
	p, _ := findMetalPlan(m.Plan)
	osID := cmp.Or(m.OSID, defaultSystem)
	system, _ := findSystem(osID)
	status, features := statusActive, []string{}
	if m.Pending {
		status = statusPending
	}
	body := map[string]any{
		"id": m.ID, "os": system.Name, "ram": fmt.Sprintf("%d MB", p.RAM),
		"disk": fmt.Sprintf("%dx %d GB %s", p.DiskCount, p.Disk, p.Type), "cpu_count": p.CPUs,
		"main_ip": cmp.Or(m.MainIP, noAddress), "region": m.Region, "date_created": wire.Time(m.Created), "status": status,
		"power_status": m.Power, "netmask_v4": "", "gateway_v4": noAddress, "plan": m.Plan,
		"label": m.Label, "hostname": m.Hostname, "tag": "", "tags": orEmpty(m.Tags), "os_id": osID, "app_id": m.AppID,
		"image_id": m.ImageID, "snapshot_id": m.SnapshotID, "v6_network": "", "v6_main_ip": "", "v6_network_size": 0,
		"mac_address": macNumber(m.ID), "vserial": "", "features": features, "user_scheme": cmp.Or(m.UserScheme, schemeRoot),
		"vpcs": s.vpcBodies(m.interfaces),
	}
	if m.MainIP != "" {
		body["netmask_v4"], body["gateway_v4"] = s.netmask(), s.gateway().String()
	}
	if m.IPv6 {
		body["features"] = append(features, "ipv6")
		body["v6_network"], body["v6_main_ip"], body["v6_network_size"] = ipv6Network(m.ID), ipv6Address(m.ID), 64
	}
	return body
}

// macNumber is a MAC address as bare metal servers show it: as a number.
func macNumber(serverID string) int64 {
	n, err := strconv.ParseInt(strings.ReplaceAll(publicMAC(serverID), ":", ""), 16, 64)
	if err != nil { // twelve hex digits
		return 0
	}
	return n
}

func (s *Simulator) listMetalIPv4(c *call) (int, any, error) {
	return s.withMetal(c, func(m bareMetal) (int, any, error) {
		return fixedList(c, "ipv4s", s.addresses4(m.ID, m.MainIP, nil, nil, m.interfaces))
	})
}

func (s *Simulator) listMetalIPv6(c *call) (int, any, error) {
	return s.withMetal(c, func(m bareMetal) (int, any, error) { return fixedList(c, "ipv6s", addresses6(m.ID, m.IPv6)) })
}

func (s *Simulator) metalUserData(c *call) (int, any, error) {
	return s.withMetal(c, func(m bareMetal) (int, any, error) {
		return http.StatusOK, map[string]any{"user_data": map[string]string{"data": m.UserData}}, nil
	})
}

// metalUpgrades lists what can be installed; a bare metal server never changes its plan.
func (s *Simulator) metalUpgrades(c *call) (int, any, error) {
	return s.withMetal(c, func(bareMetal) (int, any, error) {
		return http.StatusOK, map[string]any{"upgrades": map[string]any{"applications": allApplications, "os": allSystems}}, nil
	})
}

func (s *Simulator) metalBandwidth(c *call) (int, any, error) {
	return s.withMetal(c, func(bareMetal) (int, any, error) {
		return http.StatusOK, map[string]any{"bandwidth": map[string]any{}}, nil
	})
}

func (s *Simulator) metalVNC(c *call) (int, any, error) {
	return s.withMetal(c, func(bareMetal) (int, any, error) {
		return http.StatusOK, map[string]any{"vnc": map[string]string{"url": "https://my.vultr.com/subs/baremetal/novnc/"}}, nil
	})
}

func (s *Simulator) listMetalVPCs(c *call) (int, any, error) {
	return s.withMetal(c, func(m bareMetal) (int, any, error) { return fixedList(c, "vpcs", m.addresses()) })
}
