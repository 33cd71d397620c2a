package vultr

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vultr/govultr/v3"
)

const (
	instancesPath  = "/v2/instances"
	bareMetalsPath = "/v2/bare-metals"
)

var virtualMachines = resource[virtualMachine, Instance]{
	path: instancesPath, one: []string{"instance"}, many: "instances",
	ops: operationsOn("instance", "instances", "instance", "instances"),
	id:  func(i Instance) string { return i.ID }, domain: virtualMachine.instance,
}

var bareMetals = resource[bareMetal, Instance]{
	path: bareMetalsPath, one: []string{"bare_metal"}, many: "bare_metals",
	ops: operationsOn("bare_metal", "bare_metals", "bare metal server", "bare metal servers"),
	id:  func(i Instance) string { return i.ID }, domain: bareMetal.instance,
}

var (
	instanceNetworks = networksOf(operationsOn("instance_vpc", "instance_vpcs", "network of instance", "the networks of instance"))
	metalNetworks    = networksOf(operationsOn("bare_metal_vpc", "bare_metal_vpcs",
		"network of bare metal server", "the networks of bare metal server"))
)

// Network is a server's place in a VPC.
type Network struct {
	VPC string // UUID
	IP  string // "" while the platform has given none
	MAC string
}

func networksOf(ops operations) resource[govultr.VPCInfo, Network] {
	return resource[govultr.VPCInfo, Network]{
		many: "vpcs", ops: ops, id: func(n Network) string { return n.VPC },
		domain: func(v govultr.VPCInfo) Network {
			return Network{VPC: v.ID, IP: addressOf(v.IPAddress), MAC: v.MacAddress}
		},
	}
}

// Instance reads one server. IsNotFound only if the API said 404 for it by the route of its kind, which no server changes; if that
// is not known, both as a virtual machine and as bare metal.
func (c *Client) Instance(ctx context.Context, id string) (Instance, error) {
	var in Instance
	var err error
	kind := c.kinds.of(id)
	if kind != KindBareMetal {
		in, err = c.virtualMachine(ctx, id)
	}
	if kind == KindBareMetal || kind == "" && IsNotFound(err) {
		in, err = c.bareMetal(ctx, id)
	}
	if err == nil {
		c.kinds.remember(in)
	}
	return in, err
}

// Instances lists all servers of the account, virtual and bare metal. The list is shared: its items must not be
// changed. With maxAge 0 it began after the call, else it can be up to maxAge old.
func (c *Client) Instances(ctx context.Context, maxAge time.Duration) (List[Instance], error) {
	return sharedList(ctx, c.instances, virtualMachines.ops.list, maxAge)
}

// Networks lists the VPCs that a server is in, with its address in each. A server that was just made may have none yet.
func (c *Client) Networks(ctx context.Context, in Instance) ([]Network, error) {
	kind, path := instanceNetworks, instancesPath
	if in.Kind == KindBareMetal {
		kind, path = metalNetworks, bareMetalsPath
	}
	if err := checkID(kind.ops.list, in.ID); err != nil {
		return nil, err
	}
	networks, err := kind.under(path+"/"+in.ID+"/vpcs").all(ctx, c, nil)
	return networks, ended(kind.ops.list, err)
}

// SetTags replaces the tags of a server, all of them.
func (c *Client) SetTags(ctx context.Context, in Instance, tags []string) error {
	if tags == nil {
		tags = []string{} // null would keep them
	}
	body := map[string][]string{"tags": tags}
	if in.Kind == KindBareMetal {
		return bareMetals.change(ctx, c, bareMetals.ops.update, in.ID, "", body)
	}
	return virtualMachines.change(ctx, c, virtualMachines.ops.update, in.ID, "", body)
}

func (c *Client) virtualMachine(ctx context.Context, id string) (Instance, error) {
	return virtualMachines.read(ctx, c, id)
}

func (c *Client) bareMetal(ctx context.Context, id string) (Instance, error) {
	in, err := bareMetals.read(ctx, c, id)
	if err != nil || len(in.VPCs) == 0 {
		return in, err
	}
	in.InternalIP, err = c.bareMetalVPCAddress(ctx, in)
	return in, err
}

// bareMetalVPCAddress asks for the address in the VPC, which the server's own answer lacks.
func (c *Client) bareMetalVPCAddress(ctx context.Context, in Instance) (string, error) {
	networks, err := c.Networks(ctx, in)
	if hasStatus(err, http.StatusNotFound) {
		// Parts of a server can be missing while the server is there. Passed on, this 404 would say that it is gone.
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, n := range networks {
		if n.IP != "" {
			return n.IP, nil
		}
	}
	return "", nil
}

func (c *Client) listInstances(ctx context.Context) ([]Instance, error) {
	servers, err := listBoth(ctx, c, virtualMachines.all, bareMetals.all)
	for _, in := range servers {
		c.kinds.remember(in)
	}
	return servers, err
}

// virtualMachine is what is read of the API's form of a virtual machine. govultr's lacks the VPCs, and has much that nobody here
// reads, of which one odd value would spoil the list of all servers.
type virtualMachine struct {
	ID           string   `json:"id"`
	Label        string   `json:"label"`
	Hostname     string   `json:"hostname"`
	Region       string   `json:"region"`
	Plan         string   `json:"plan"`
	Status       string   `json:"status"`
	PowerStatus  string   `json:"power_status"`
	ServerStatus string   `json:"server_status"`
	MainIP       string   `json:"main_ip"`
	InternalIP   string   `json:"internal_ip"`
	V6MainIP     string   `json:"v6_main_ip"`
	Tags         []string `json:"tags"`
	DateCreated  string   `json:"date_created"`
	VPCs         []vpcRef `json:"vpcs"`
}

// vpcRef is how a server names a VPC that it is in.
type vpcRef struct {
	ID string `json:"id"`
}

// bareMetal is the API's form of a bare metal server. govultr's lacks the power status, the host name and the VPCs.
type bareMetal struct {
	ID          string   `json:"id"`
	Label       string   `json:"label"`
	Hostname    string   `json:"hostname"`
	Region      string   `json:"region"`
	Plan        string   `json:"plan"`
	Status      string   `json:"status"`
	PowerStatus string   `json:"power_status"`
	MainIP      string   `json:"main_ip"`
	V6MainIP    string   `json:"v6_main_ip"`
	Tags        []string `json:"tags"`
	DateCreated string   `json:"date_created"`
	VPCs        []vpcRef `json:"vpcs"`
}

func (b bareMetal) instance() Instance {
	return Instance{
		ID: b.ID, Kind: KindBareMetal, Label: b.Label, Hostname: b.Hostname, Region: strings.ToLower(b.Region),
		Plan: b.Plan, Status: b.Status, PowerStatus: b.PowerStatus, MainIP: addressOf(b.MainIP),
		MainIPv6: addressOf(b.V6MainIP), VPCs: vpcIDs(b.VPCs), Tags: b.Tags, Created: parseTime(b.DateCreated),
	}
}

func (i virtualMachine) instance() Instance {
	return Instance{
		ID: i.ID, Kind: KindVM, Label: i.Label, Hostname: i.Hostname, Region: strings.ToLower(i.Region), Plan: i.Plan,
		Status: i.Status, PowerStatus: i.PowerStatus, ServerStatus: i.ServerStatus, MainIP: addressOf(i.MainIP),
		InternalIP: addressOf(i.InternalIP), MainIPv6: addressOf(i.V6MainIP), VPCs: vpcIDs(i.VPCs), Tags: i.Tags,
		Created: parseTime(i.DateCreated),
	}
}

func vpcIDs(refs []vpcRef) []string {
	var ids []string
	for _, r := range refs {
		ids = append(ids, r.ID)
	}
	return ids
}

// addressOf returns the usual form of an address, and "" for the platform's ways to say that there is none
// ("", "0.0.0.0", "dhcp").
func addressOf(text string) string {
	address, err := netip.ParseAddr(text)
	if err != nil || address.IsUnspecified() {
		return ""
	}
	return address.String()
}

// maxKinds bounds the memory for servers of long ago.
const maxKinds = 10000

// kinds remembers which servers are virtual and which are bare metal, to ask the right route alone.
type kinds struct {
	mu    sync.Mutex
	known map[string]InstanceKind
}

func (k *kinds) remember(in Instance) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxKinds && k.known[in.ID] == "" {
		k.known = map[string]InstanceKind{}
	}
	k.known[in.ID] = in.Kind
}

// of returns the kind of a server, "" if it is not known.
func (k *kinds) of(id string) InstanceKind {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[id]
}
