package vultr

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

const (
	vpcsPath        = "/v2/vpcs"
	reservedIPsPath = "/v2/reserved-ips"
)

var (
	opDescribeVPC      = operation{name: "update_vpc", words: "change VPC", method: http.MethodPut}
	opAttachReservedIP = operation{name: "attach_reserved_ip", words: "attach reserved IP", method: http.MethodPost}
	opDetachReservedIP = operation{name: "detach_reserved_ip", words: "detach reserved IP", method: http.MethodPost}
)

var vpcs = resource[govultr.VPC, VPC]{
	path: vpcsPath, one: []string{"vpc"}, many: "vpcs",
	ops: operationsOn("vpc", "vpcs", "VPC", "VPCs"),
	id:  func(v VPC) string { return v.ID }, domain: vpcOf,
}

var reservedIPs = resource[govultr.ReservedIP, ReservedIP]{
	path: reservedIPsPath, one: []string{"reserved_ip"}, many: "reserved_ips",
	ops: operationsOn("reserved_ip", "reserved_ips", "reserved IP", "reserved IPs"),
	id:  func(r ReservedIP) string { return r.ID }, domain: reservedIPOf,
}

// VPC is a private network of one region.
type VPC struct {
	ID          string // UUID
	Region      string // lower case
	Description string // not unique on the platform
	// Subnet is the IPv4 range; the zero value if the API's text is none.
	Subnet  netip.Prefix
	Created time.Time
}

// VPCRequest describes a VPC to create. Without a Subnet the platform chooses one.
type VPCRequest struct {
	Region      string
	Description string
	Subnet      netip.Prefix
}

// VPC reads one VPC. Only its IsNotFound proves that it does not exist.
func (c *Client) VPC(ctx context.Context, id string) (VPC, error) { return vpcs.read(ctx, c, id) }

// VPCs lists all VPCs of the account. The list is shared: its items must not be changed. With maxAge 0 it began after
// the call, else it can be up to maxAge old.
func (c *Client) VPCs(ctx context.Context, maxAge time.Duration) (List[VPC], error) {
	return sharedList(ctx, c.vpcs, vpcs.ops.list, maxAge)
}

// CreateVPC makes a VPC. The request is sent once, and again only after the API refused it for its rate. With
// IsOutcomeUnknown it may exist: look for its description, and mind SettleGuard.
func (c *Client) CreateVPC(ctx context.Context, r VPCRequest) (VPC, error) {
	body := &govultr.VPCReq{Region: r.Region, Description: r.Description}
	if r.Subnet.IsValid() {
		body.V4Subnet, body.V4SubnetMask = r.Subnet.Masked().Addr().String(), r.Subnet.Bits()
	}
	return vpcs.make(ctx, c, r.Description, body)
}

// DescribeVPC replaces the description of a VPC.
func (c *Client) DescribeVPC(ctx context.Context, id, description string) error {
	return vpcs.change(ctx, c, opDescribeVPC, id, "", map[string]string{"description": description})
}

// DeleteVPC deletes a VPC. IsNotFound means that it was gone before, IsInUse that something is attached to it, or was
// until a moment ago.
func (c *Client) DeleteVPC(ctx context.Context, id string) error { return vpcs.remove(ctx, c, id) }

// ReservedIP is a public address, or an IPv6 network, that the account keeps while no instance has it.
type ReservedIP struct {
	ID     string // UUID
	Region string // lower case
	// Prefix is the address, with the length of the network; the zero value if the API's text is none.
	Prefix netip.Prefix
	Label  string // not unique on the platform
	// InstanceID is the server that has it, "" without one.
	InstanceID string
}

// ReservedIP reads one reserved IP. Only its IsNotFound proves that it does not exist.
func (c *Client) ReservedIP(ctx context.Context, id string) (ReservedIP, error) {
	return reservedIPs.read(ctx, c, id)
}

// ReservedIPs lists all reserved IPs of the account. The list is shared: its items must not be changed. With maxAge 0 it
// began after the call, else it can be up to maxAge old.
func (c *Client) ReservedIPs(ctx context.Context, maxAge time.Duration) (List[ReservedIP], error) {
	return sharedList(ctx, c.reservedIPs, reservedIPs.ops.list, maxAge)
}

// CreateReservedIP reserves an address; ipType is "v4" or "v6". The request is sent once, and again only after the API
// refused it for its rate. With IsOutcomeUnknown it may exist: look for its label, and mind SettleGuard.
func (c *Client) CreateReservedIP(ctx context.Context, region, ipType, label string) (ReservedIP, error) {
	return reservedIPs.make(ctx, c, label, &govultr.ReservedIPReq{Region: region, IPType: ipType, Label: label})
}

// RelabelReservedIP gives a reserved IP another label, also an empty one.
func (c *Client) RelabelReservedIP(ctx context.Context, id, label string) error {
	return reservedIPs.change(ctx, c, reservedIPs.ops.update, id, "", map[string]string{"label": label})
}

// AttachReservedIP gives the address to a server of its region. The request is sent once: with IsOutcomeUnknown look.
func (c *Client) AttachReservedIP(ctx context.Context, id, instanceID string) error {
	return reservedIPs.change(ctx, c, opAttachReservedIP, id, "/attach", map[string]string{"instance_id": instanceID})
}

// DetachReservedIP takes the address from its server. The request is sent once: with IsOutcomeUnknown look.
func (c *Client) DetachReservedIP(ctx context.Context, id string) error {
	return reservedIPs.change(ctx, c, opDetachReservedIP, id, "/detach", nil)
}

// DeleteReservedIP gives the address back to the platform. IsNotFound means that it was gone before.
func (c *Client) DeleteReservedIP(ctx context.Context, id string) error {
	return reservedIPs.remove(ctx, c, id)
}

func vpcOf(v govultr.VPC) VPC {
	return VPC{
		ID: v.ID, Region: strings.ToLower(v.Region), Description: v.Description,
		Subnet: prefixOf(v.V4Subnet, v.V4SubnetMask), Created: parseTime(v.DateCreated),
	}
}

func reservedIPOf(r govultr.ReservedIP) ReservedIP {
	return ReservedIP{
		ID: r.ID, Region: strings.ToLower(r.Region), Label: r.Label, InstanceID: r.InstanceID,
		Prefix: prefixOf(r.Subnet, r.SubnetSize),
	}
}

// prefixOf puts together what the API tells apart; the zero value if it is no network.
func prefixOf(address string, size int) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	p, err := a.Prefix(size)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
