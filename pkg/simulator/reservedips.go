package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// reservedIP is a public address that is the account's, whatever server has it.
type reservedIP struct {
	head
	Region string `json:"region"`
	Type   string `json:"type"`   // v4, v6
	Subnet string `json:"subnet"` // the address, or the network of a v6 one
	Label  string `json:"label"`
	// Server is the instance or bare metal server that has it, "" if none.
	Server string `json:"server"`
}

var reservedIPRoutes = []route{
	{method: "GET", path: "/v2/reserved-ips", operation: "list_reserved_ips", handle: (*Simulator).listReservedIPs},
	{method: "POST", path: "/v2/reserved-ips", operation: "create_reserved_ip", handle: (*Simulator).createReservedIP},
	{method: "POST", path: "/v2/reserved-ips/convert", operation: "convert_reserved_ip", handle: (*Simulator).convertReservedIP},
	{method: "GET", path: "/v2/reserved-ips/{id}", operation: "get_reserved_ip", handle: (*Simulator).getReservedIP},
	{method: "PATCH", path: "/v2/reserved-ips/{id}", operation: "update_reserved_ip", handle: (*Simulator).updateReservedIP},
	{method: "DELETE", path: "/v2/reserved-ips/{id}", operation: "delete_reserved_ip", handle: (*Simulator).deleteReservedIP},
	{method: "POST", path: "/v2/reserved-ips/{id}/attach", operation: "attach_reserved_ip", handle: (*Simulator).attachReservedIP},
	{method: "POST", path: "/v2/reserved-ips/{id}/detach", operation: "detach_reserved_ip", handle: (*Simulator).detachReservedIP},
}

var (
	errNoReservedIP    = wire.NotFound("Invalid reserved-ip ID.")
	errReservedIPTaken = wire.BadRequest("Floating IPv4 address is already attached to another server")
)

func (r reservedIP) size() int {
	if r.Type == "v6" {
		return 64
	}
	return 32
}

func showReservedIP(r reservedIP) any {
	return map[string]any{
		"id": r.ID, "region": r.Region, "ip_type": r.Type, "subnet": r.Subnet, "subnet_size": r.size(), "label": r.Label,
		"instance_id": r.Server,
	}
}

func (s *Simulator) listReservedIPs(c *call) (int, any, error) {
	return list(s, c, "reserved_ips", s.reservedIPs.All(), everything, showReservedIP)
}

func (s *Simulator) getReservedIP(c *call) (int, any, error) {
	r, ok := s.reservedIPs.Get(c.id())
	if !ok {
		return 0, nil, errNoReservedIP
	}
	return http.StatusOK, map[string]any{"reserved_ip": showReservedIP(r)}, nil
}

type reservedIPRequest struct {
	Region   string  `json:"region"`
	Type     string  `json:"ip_type"`
	Label    *string `json:"label"`
	Address  string  `json:"ip_address"`
	Instance string  `json:"instance_id"`
}

func (s *Simulator) createReservedIP(c *call) (int, any, error) {
	var req reservedIPRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	if _, ok := findRegion(req.Region); !ok {
		return 0, nil, ours("Invalid region.")
	}
	if req.Type != "v4" && req.Type != "v6" {
		return 0, nil, ours("Invalid ip_type.")
	}
	r := reservedIP{head: s.newHead(), Region: req.Region, Type: req.Type}
	set(&r.Label, req.Label)
	err := s.update(func(tx *store.Tx) (err error) {
		if r.Type == "v6" {
			hex := strings.ReplaceAll(r.ID, "-", "")
			r.Subnet = fmt.Sprintf("2001:19f0:%s:%s::", hex[:4], hex[4:8])
		} else if r.Subnet, err = s.freeAddress(tx); err != nil {
			return err
		}
		if req.Instance != "" {
			if r, err = s.giveReservedIP(tx, r, req.Instance); err != nil {
				return err
			}
		}
		s.reservedIPs.Put(tx, r.ID, r)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"reserved_ip": showReservedIP(r)}, nil
}

// convertReservedIP makes an address that a server has the account's own.
func (s *Simulator) convertReservedIP(c *call) (int, any, error) {
	var req reservedIPRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	r := reservedIP{head: s.newHead(), Type: "v4", Subnet: req.Address}
	set(&r.Label, req.Label)
	err := s.update(func(tx *store.Tx) error {
		for _, o := range s.reservedIPs.AllIn(tx) {
			if o.Subnet == req.Address {
				return ours("The IP address is reserved already.")
			}
		}
		for _, i := range s.instances.AllIn(tx) {
			if req.Address != "" && (i.MainIP == req.Address || slices.Contains(i.Extra, req.Address)) {
				r.Server, r.Region = i.ID, i.Region
				i.Extra = slices.DeleteFunc(slices.Clone(i.Extra), func(a string) bool { return a == req.Address })
				s.instances.Put(tx, i.ID, i)
			}
		}
		if r.Server == "" {
			return ours("Invalid ip_address.")
		}
		s.reservedIPs.Put(tx, r.ID, r)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"reserved_ip": showReservedIP(r)}, nil
}

// changeReservedIP runs a change of one that exists.
func (s *Simulator) changeReservedIP(id string, change func(tx *store.Tx, r reservedIP) (reservedIP, error)) error {
	return s.update(func(tx *store.Tx) error {
		r, ok := s.reservedIPs.GetIn(tx, id)
		if !ok {
			return errNoReservedIP
		}
		r, err := change(tx, r)
		if err != nil {
			return err
		}
		s.reservedIPs.Put(tx, id, r)
		return nil
	})
}

func (s *Simulator) updateReservedIP(c *call) (int, any, error) {
	var req reservedIPRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeReservedIP(c.id(), func(_ *store.Tx, r reservedIP) (reservedIP, error) {
		set(&r.Label, req.Label)
		return r, nil
	})
	return s.noContent(), nil, err
}

// deleteReservedIP gives the address back. A server that has it as its main one keeps it as an ordinary one; whether the
// platform refuses instead is unknown.
func (s *Simulator) deleteReservedIP(c *call) (int, any, error) {
	return remove(s, s.reservedIPs, c.id(), errNoReservedIP)
}

func (s *Simulator) attachReservedIP(c *call) (int, any, error) {
	var req reservedIPRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeReservedIP(c.id(), func(tx *store.Tx, r reservedIP) (reservedIP, error) {
		return s.giveReservedIP(tx, r, req.Instance)
	})
	return s.noContent(), nil, err
}

// giveReservedIP lets a server of either kind have the address.
func (s *Simulator) giveReservedIP(tx *store.Tx, r reservedIP, serverID string) (reservedIP, error) {
	region := ""
	if i, ok := s.instances.GetIn(tx, serverID); ok && !i.Deleting {
		region = i.Region
	} else if m, ok := s.metals.GetIn(tx, serverID); ok {
		region = m.Region
	}
	switch {
	case r.Server != "":
		return r, errReservedIPTaken
	case region == "":
		return r, errNoInstance
	case region != r.Region:
		return r, ours("Reserved IP and server must be in the same region.")
	}
	r.Server = serverID
	return r, nil
}

func (s *Simulator) detachReservedIP(c *call) (int, any, error) {
	err := s.changeReservedIP(c.id(), func(tx *store.Tx, r reservedIP) (reservedIP, error) {
		switch {
		case r.Server == "":
			return r, ours("Reserved IP is not attached to a server.")
		case s.isMainIP(tx, r):
			return r, ours("Reserved IP is the main IP of its server.")
		}
		r.Server = ""
		return r, nil
	})
	return s.noContent(), nil, err
}

// isMainIP reports whether the server that has the address has it as its main one, or will when it boots.
func (s *Simulator) isMainIP(tx *store.Tx, r reservedIP) bool {
	i, _ := s.instances.GetIn(tx, r.Server)
	m, _ := s.metals.GetIn(tx, r.Server)
	return slices.Contains([]string{i.MainIP, i.Reserved, m.MainIP, m.Reserved}, r.Subnet)
}

// freeReservedIPs takes the reserved addresses from a server that is being destroyed.
func (s *Simulator) freeReservedIPs(tx *store.Tx, serverID string) {
	for id, r := range s.reservedIPs.AllIn(tx) {
		if r.Server == serverID {
			r.Server = ""
			s.reservedIPs.Put(tx, id, r)
		}
	}
}

// reservedMainIP finds the v4 address that a create names, by its ID or by itself, and gives it to the new server.
func (s *Simulator) reservedMainIP(tx *store.Tx, named, serverID, region string) (string, *wire.Error) {
	for id, r := range s.reservedIPs.AllIn(tx) {
		if id != named && r.Subnet != named {
			continue
		}
		switch {
		case r.Server != "":
			return "", errReservedIPTaken
		case r.Region != region || r.Type != "v4":
			return "", ours("Invalid reserved_ipv4.")
		}
		r.Server = serverID
		s.reservedIPs.Put(tx, id, r)
		return r.Subnet, nil
	}
	return "", ours("Invalid reserved_ipv4.")
}

// furtherAddresses are a server's public IPv4 addresses beside its main one.
func (s *Simulator) furtherAddresses(serverID, mainIP string, extra []string) []string {
	out := slices.Clone(extra)
	for _, r := range sorted(s.reservedIPs.All(), func(r reservedIP) int64 { return r.Seq }) {
		if r.Server == serverID && r.Type == "v4" && r.Subnet != mainIP {
			out = append(out, r.Subnet)
		}
	}
	return out
}
