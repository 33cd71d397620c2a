package simulator

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

var instancePartRoutes = []route{
	{method: "GET", path: "/v2/instances/{id}/ipv4", operation: "list_instance_ipv4", handle: (*Simulator).listInstanceIPv4},
	{method: "POST", path: "/v2/instances/{id}/ipv4", operation: "create_instance_ipv4", handle: (*Simulator).createInstanceIPv4},
	{method: "DELETE", path: "/v2/instances/{id}/ipv4/{ip}", operation: "delete_instance_ipv4", handle: (*Simulator).deleteInstanceIPv4},
	{method: "POST", path: "/v2/instances/{id}/ipv4/reverse", operation: "create_instance_reverse_ipv4", handle: (*Simulator).setInstanceReverse},
	{method: "POST", path: "/v2/instances/{id}/ipv4/reverse/default", operation: "default_instance_reverse_ipv4", handle: (*Simulator).dropInstanceReverse},
	{method: "GET", path: "/v2/instances/{id}/ipv6", operation: "list_instance_ipv6", handle: (*Simulator).listInstanceIPv6},
	{method: "GET", path: "/v2/instances/{id}/ipv6/reverse", operation: "list_instance_reverse_ipv6", handle: (*Simulator).listInstanceReverseIPv6},
	{method: "POST", path: "/v2/instances/{id}/ipv6/reverse", operation: "create_instance_reverse_ipv6", handle: (*Simulator).setInstanceReverse},
	{method: "DELETE", path: "/v2/instances/{id}/ipv6/reverse/{ip}", operation: "delete_instance_reverse_ipv6", handle: (*Simulator).dropInstanceReverse},
	{method: "GET", path: "/v2/instances/{id}/user-data", operation: "get_instance_user_data", handle: (*Simulator).instanceUserData},
	{method: "GET", path: "/v2/instances/{id}/upgrades", operation: "list_instance_upgrades", handle: (*Simulator).instanceUpgrades},
	{method: "GET", path: "/v2/instances/{id}/backup-schedule", operation: "get_instance_backup_schedule", handle: (*Simulator).getBackupSchedule},
	{method: "POST", path: "/v2/instances/{id}/backup-schedule", operation: "set_instance_backup_schedule", handle: (*Simulator).setBackupSchedule},
	{method: "GET", path: "/v2/instances/{id}/bandwidth", operation: "get_instance_bandwidth", handle: (*Simulator).instanceBandwidth},
	{method: "GET", path: "/v2/instances/{id}/neighbors", operation: "get_instance_neighbors", handle: (*Simulator).instanceNeighbors},
	{method: "GET", path: "/v2/instances/{id}/iso", operation: "get_instance_iso", handle: (*Simulator).instanceISO},
}

// withInstance answers a read of what an instance has.
func (s *Simulator) withInstance(c *call, read func(i instance) (int, any, error)) (int, any, error) {
	i, ok := s.instances.Get(c.id())
	if !ok {
		return 0, nil, errNoInstance
	}
	return read(i)
}

// address4 is one IPv4 address of a server.
type address4 struct {
	IP      string `json:"ip"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
	Type    string `json:"type"` // main_ip, secondary_ip, private
	Reverse string `json:"reverse"`
	MAC     string `json:"mac_address"`
}

// addresses4 are the public addresses of a server, then those in VPCs.
func (s *Simulator) addresses4(serverID, mainIP string, extra []string, reverse map[string]string, n interfaces) []address4 {
	out := []address4{}
	public := func(ip, kind string) {
		name := reverse[ip]
		if name == "" {
			name = ip + ".vultrusercontent.com"
		}
		out = append(out, address4{
			IP: ip, Netmask: s.netmask(), Gateway: s.gateway().String(), Type: kind, Reverse: name, MAC: publicMAC(serverID),
		})
	}
	if mainIP != "" {
		public(mainIP, "main_ip")
	}
	for _, ip := range s.furtherAddresses(serverID, mainIP, extra) {
		public(ip, "secondary_ip")
	}
	for _, i := range n.shown() {
		v, _ := s.vpcs.Get(i.VPC)
		out = append(out, address4{IP: i.Address, Netmask: dottedMask(v.Mask), Type: "private", MAC: i.MAC})
	}
	return out
}

func (s *Simulator) listInstanceIPv4(c *call) (int, any, error) {
	return s.withInstance(c, func(i instance) (int, any, error) {
		return fixedList(c, "ipv4s", s.addresses4(i.ID, i.MainIP, i.Extra, i.Reverse, i.interfaces))
	})
}

// createInstanceIPv4 adds a public address; the guest is restarted for it unless the request says no.
func (s *Simulator) createInstanceIPv4(c *call) (int, any, error) {
	var req struct {
		Reboot *bool `json:"reboot"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var i instance
	var address string
	err := s.update(func(tx *store.Tx) (err error) {
		if i, err = s.settledInstance(tx, c.id()); err != nil {
			return err
		}
		if address, err = s.freeAddress(tx); err != nil {
			return err
		}
		i.Extra = append(slices.Clone(i.Extra), address)
		s.instances.Put(tx, i.ID, i)
		if req.Reboot == nil || *req.Reboot {
			s.schedule(tx, jobInstanceReboot, i.ID, "", s.cfg.Delays.Reboot+s.powerBacklog(tx, i.ID))
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	all := s.addresses4(i.ID, i.MainIP, i.Extra, i.Reverse, i.interfaces)
	n := slices.IndexFunc(all, func(a address4) bool { return a.IP == address })
	return s.accepted(), map[string]any{"ipv4": all[n]}, nil
}

func (s *Simulator) deleteInstanceIPv4(c *call) (int, any, error) {
	ip := c.req.PathValue("ip")
	err := s.changedInstance(c.id(), func(i *instance) error {
		if !slices.Contains(i.Extra, ip) { // reserved addresses are detached instead
			return ours("Invalid IP address.")
		}
		i.Extra = slices.DeleteFunc(slices.Clone(i.Extra), func(a string) bool { return a == ip })
		return nil
	})
	return s.noContent(), nil, err
}

// changedInstance changes an instance at once.
func (s *Simulator) changedInstance(id string, change func(i *instance) error) error {
	return s.update(func(tx *store.Tx) error {
		i, ok := s.instances.GetIn(tx, id)
		if !ok {
			return errNoInstance
		}
		if err := change(&i); err != nil {
			return err
		}
		s.instances.Put(tx, id, i)
		return nil
	})
}

type reverseRequest struct {
	IP      string `json:"ip"`
	Reverse string `json:"reverse"`
}

func (s *Simulator) setInstanceReverse(c *call) (int, any, error) {
	var req reverseRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changedInstance(c.id(), func(i *instance) error {
		if !s.hasAddress(*i, req.IP) || req.Reverse == "" {
			return ours("Invalid reverse DNS entry.")
		}
		i.Reverse = maps.Clone(i.Reverse)
		if i.Reverse == nil {
			i.Reverse = map[string]string{}
		}
		i.Reverse[req.IP] = req.Reverse
		return nil
	})
	return s.noContent(), nil, err
}

// hasAddress reports whether a public address is the instance's, of IPv6 any in its network.
func (s *Simulator) hasAddress(i instance, text string) bool {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	if network, err := netip.ParseAddr(i.ipv6Network()); err == nil && address.Is6() {
		return i.IPv6 && netip.PrefixFrom(network, 64).Contains(address)
	}
	return i.MainIP == text || slices.Contains(s.furtherAddresses(i.ID, i.MainIP, i.Extra), text)
}

// dropInstanceReverse takes a reverse name away, which is named in the path or in the body.
func (s *Simulator) dropInstanceReverse(c *call) (int, any, error) {
	req := reverseRequest{IP: c.req.PathValue("ip")}
	if req.IP == "" {
		if err := c.decode(&req); err != nil {
			return 0, nil, err
		}
	}
	err := s.changedInstance(c.id(), func(i *instance) error {
		if !s.hasAddress(*i, req.IP) {
			return ours("Invalid IP address.")
		}
		i.Reverse = maps.Clone(i.Reverse)
		delete(i.Reverse, req.IP)
		return nil
	})
	return s.noContent(), nil, err
}

// address6 is one IPv6 address of a server.
type address6 struct {
	IP          string `json:"ip"`
	Network     string `json:"network"`
	NetworkSize int    `json:"network_size"`
	Type        string `json:"type"`
}

func (s *Simulator) listInstanceIPv6(c *call) (int, any, error) {
	return s.withInstance(c, func(i instance) (int, any, error) {
		return fixedList(c, "ipv6s", addresses6(i.ID, i.IPv6))
	})
}

func addresses6(serverID string, enabled bool) []address6 {
	if !enabled {
		return []address6{}
	}
	return []address6{{IP: ipv6Address(serverID), Network: ipv6Network(serverID), NetworkSize: 64, Type: "main_ip"}}
}

func (s *Simulator) listInstanceReverseIPv6(c *call) (int, any, error) {
	return s.withInstance(c, func(i instance) (int, any, error) {
		rows := []map[string]string{}
		for _, ip := range slices.Sorted(maps.Keys(i.Reverse)) {
			if strings.Contains(ip, ":") {
				rows = append(rows, map[string]string{"ip": ip, "reverse": i.Reverse[ip]})
			}
		}
		return http.StatusOK, map[string]any{"reverse_ipv6s": rows}, nil
	})
}

func (s *Simulator) instanceUserData(c *call) (int, any, error) {
	return s.withInstance(c, func(i instance) (int, any, error) {
		return http.StatusOK, map[string]any{"user_data": map[string]string{"data": i.UserData}}, nil
	})
}

// instanceBandwidth counts nothing: no traffic is measured here.
func (s *Simulator) instanceBandwidth(c *call) (int, any, error) {
	return s.withInstance(c, func(instance) (int, any, error) {
		return http.StatusOK, map[string]any{"bandwidth": map[string]any{}}, nil
	})
}

func (s *Simulator) instanceNeighbors(c *call) (int, any, error) {
	return s.withInstance(c, func(instance) (int, any, error) {
		return http.StatusOK, map[string]any{"neighbors": []string{}}, nil
	})
}

func (s *Simulator) instanceISO(c *call) (int, any, error) {
	return s.withInstance(c, func(instance) (int, any, error) {
		return http.StatusOK, map[string]any{"iso_status": map[string]string{"state": "ready", "iso_id": ""}}, nil
	})
}

// backupSchedule says when backups are made. None are.
type backupSchedule struct {
	Type string `json:"type"`
	Hour int    `json:"hour"`
	Dow  int    `json:"dow"`
	Dom  int    `json:"dom"`
}

// backupsAfter is the schedule after an update.
func (i instance) backupsAfter(wanted string) *backupSchedule {
	switch {
	case wanted == backupsDisabled:
		return nil
	case wanted == backupsEnabled && i.Backups == nil:
		return &backupSchedule{Type: "daily"}
	}
	return i.Backups
}

// details finds an instance whose sub-resources are there. For a while after a create they are not, though the
// instance is active.
func (s *Simulator) details(id string) (instance, *wire.Error) {
	i, ok := s.instances.Get(id)
	if !ok || (i.Incomplete && s.keeps(quirkLateDetails)) {
		return i, errNoInstance
	}
	return i, nil
}

func (s *Simulator) showBackupSchedule(b *backupSchedule) any {
	body := map[string]any{"enabled": b != nil, "type": "", "next_scheduled_time_utc": "", "hour": 0, "dow": 0, "dom": 0}
	if b != nil {
		body["type"], body["hour"], body["dow"], body["dom"] = b.Type, b.Hour, b.Dow, b.Dom
		next := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1).Add(time.Duration(b.Hour) * time.Hour)
		body["next_scheduled_time_utc"] = next.Format("2006-01-02 15:04:05")
	}
	return map[string]any{"backup_schedule": body}
}

func (s *Simulator) getBackupSchedule(c *call) (int, any, error) {
	i, bad := s.details(c.id())
	if bad != nil {
		return 0, nil, bad
	}
	return http.StatusOK, s.showBackupSchedule(i.Backups), nil
}

func (s *Simulator) setBackupSchedule(c *call) (int, any, error) {
	var b backupSchedule
	if err := c.decode(&b); err != nil {
		return 0, nil, err
	}
	if _, bad := s.details(c.id()); bad != nil {
		return 0, nil, bad
	}
	kinds := []string{"daily", "weekly", "monthly", "daily_alt_even", "daily_alt_odd"}
	if !slices.Contains(kinds, b.Type) || b.Hour < 0 || b.Hour > 23 || b.Dow < 0 || b.Dow > 7 || b.Dom < 0 || b.Dom > 28 {
		return 0, nil, ours("Invalid backup schedule.")
	}
	err := s.changedInstance(c.id(), func(i *instance) error {
		if i.Backups == nil {
			return ours("Backups are not enabled for this server.")
		}
		i.Backups = &b
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.showBackupSchedule(&b), nil
}
