package simulator

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// vpc is one private network of a region. Servers' interfaces in it are kept with the servers. It is in the API and in
// the metadata only: no packet travels through it.
type vpc struct {
	head
	Region      string `json:"region"`
	Description string `json:"description"`
	Subnet      string `json:"subnet"` // the network's address, without mask
	Mask        int    `json:"mask"`
}

const (
	// maxVPCs is how many VPCs a region takes.
	maxVPCs = 5
	// maxDescription is where the descriptions of VPCs and firewall groups are cut off, without a word.
	maxDescription = 255
	// autoMask is the size of networks that the platform chooses.
	autoMask = 20
)

var vpcRoutes = []route{
	{method: "GET", path: "/v2/vpcs", operation: "list_vpcs", handle: (*Simulator).listVPCs},
	{method: "POST", path: "/v2/vpcs", operation: "create_vpc", handle: (*Simulator).createVPC},
	{method: "GET", path: "/v2/vpcs/{id}", operation: "get_vpc", handle: (*Simulator).getVPC},
	{method: "PUT", path: "/v2/vpcs/{id}", operation: "update_vpc", handle: (*Simulator).updateVPC},
	{method: "DELETE", path: "/v2/vpcs/{id}", operation: "delete_vpc", handle: (*Simulator).deleteVPC},
	{method: "GET", path: "/v2/vpcs/{id}/attachments", operation: "list_vpc_attachments", handle: (*Simulator).listVPCAttachments},
	{method: "GET", path: "/v2/vpc2", operation: "list_vpc2", handle: (*Simulator).legacyVPC2, open: true},
	{method: "GET", path: "/v2/instances/{id}/vpc2", operation: "list_instance_vpc2", handle: (*Simulator).legacyVPC2, open: true, anyID: true},
}

var errNoVPC = wire.NotFound("Invalid VPC ID.")

// prefix is the network's range. What is stored was checked.
func (v vpc) prefix() netip.Prefix {
	addr, err := netip.ParseAddr(v.Subnet)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, v.Mask)
}

func showVPC(v vpc) any {
	return map[string]any{
		"id": v.ID, "region": v.Region, "description": v.Description, "v4_subnet": v.Subnet, "v4_subnet_mask": v.Mask,
		"date_created": wire.Time(v.Created),
	}
}

func (s *Simulator) listVPCs(c *call) (int, any, error) {
	return list(s, c, "vpcs", s.vpcs.All(), everything, showVPC)
}

func (s *Simulator) getVPC(c *call) (int, any, error) {
	v, ok := s.vpcs.Get(c.id())
	if !ok {
		return 0, nil, errNoVPC
	}
	return http.StatusOK, map[string]any{"vpc": showVPC(v)}, nil
}

type vpcRequest struct {
	Region      string `json:"region"`
	Description string `json:"description"`
	Subnet      string `json:"v4_subnet"`
	Mask        int    `json:"v4_subnet_mask"`
}

func (s *Simulator) createVPC(c *call) (int, any, error) {
	var req vpcRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var v vpc
	err := s.update(func(tx *store.Tx) error {
		var bad *wire.Error
		if v, bad = s.newVPC(tx, req); bad != nil {
			return bad
		}
		s.vpcs.Put(tx, v.ID, v)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"vpc": showVPC(v)}, nil
}

// newVPC judges a create.
func (s *Simulator) newVPC(tx *store.Tx, req vpcRequest) (vpc, *wire.Error) {
	if _, ok := findRegion(req.Region); !ok {
		return vpc{}, ours("Invalid region.")
	}
	taken := map[netip.Prefix]bool{}
	count := 0
	for _, v := range s.vpcs.AllIn(tx) {
		taken[v.prefix()] = true
		if v.Region == req.Region {
			count++
		}
	}
	if count >= maxVPCs && s.keeps(quirkFiveVPCs) {
		return vpc{}, ours("The maximum of %d VPC networks in this region is reached.", maxVPCs)
	}
	v := vpc{head: s.newHead(), Region: req.Region, Description: s.truncated(req.Description, maxDescription)}
	if req.Subnet == "" && req.Mask == 0 {
		p := freeSubnet(taken)
		v.Subnet, v.Mask = p.Addr().String(), p.Bits()
		return v, nil
	}
	addr, err := netip.ParseAddr(req.Subnet)
	if err != nil || !addr.Is4() || !addr.IsPrivate() {
		return vpc{}, ours("Invalid v4_subnet.")
	}
	p := netip.PrefixFrom(addr, req.Mask)
	if req.Mask < 8 || req.Mask > 29 || p.Masked() != p {
		return vpc{}, ours("Invalid v4_subnet_mask.")
	}
	v.Subnet, v.Mask = req.Subnet, req.Mask
	return v, nil
}

// freeSubnet returns the first network of 10.0.0.0/8 that no VPC of the account has.
func freeSubnet(taken map[netip.Prefix]bool) netip.Prefix {
	for second := range 255 {
		for third := 0; third < 256; third += 1 << (24 - autoMask) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second + 1), byte(third), 0}), autoMask)
			if !taken[p] {
				return p
			}
		}
	}
	return netip.MustParsePrefix("10.0.0.0/20") // an account has far fewer
}

func (s *Simulator) updateVPC(c *call) (int, any, error) {
	var req struct {
		Description *string `json:"description"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.update(func(tx *store.Tx) error {
		v, ok := s.vpcs.GetIn(tx, c.id())
		if !ok {
			return errNoVPC
		}
		if req.Description != nil {
			v.Description = s.truncated(*req.Description, maxDescription)
		}
		s.vpcs.Put(tx, v.ID, v)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteVPC(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		v, ok := s.vpcs.GetIn(tx, c.id())
		if !ok {
			return errNoVPC
		}
		if users := s.vpcUsers(tx, v.ID); len(users) > 0 && s.keeps(quirkVPCInUse) {
			return wire.BadRequest("The following servers are attached to this VPC network: %s", strings.Join(users, ", "))
		}
		s.vpcs.Delete(tx, v.ID)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) listVPCAttachments(c *call) (int, any, error) {
	if _, ok := s.vpcs.Get(c.id()); !ok {
		return 0, nil, errNoVPC
	}
	return list(s, c, "attachments", inOrder(s.vpcAttachments(c.id())), everything, vpcAttachment.show)
}

// legacyVPC2 answers what released clients still ask of VPC 2.0, which the platform took away.
func (s *Simulator) legacyVPC2(c *call) (int, any, error) {
	if !s.cfg.LegacyVPC2 && s.keeps(quirkNoVPC2) {
		return s.notFound(c)
	}
	if bad := s.authorize(c.req); bad != nil {
		return 0, nil, bad
	}
	return fixedList(c, "vpcs", []any{})
}

// macOf makes a MAC address of a server's ID. The platform's public interfaces begin with 56:00, the private ones of
// the same server with 5a:00, 5a:01 and so on; the rest is the same.
func macOf(serverID string, first, second byte) string {
	hex := strings.ReplaceAll(serverID, "-", "")
	return fmt.Sprintf("%02x:%02x:%s:%s:%s:%s", first, second, hex[0:2], hex[2:4], hex[4:6], hex[6:8])
}

func publicMAC(serverID string) string { return macOf(serverID, 0x56, 0) }
