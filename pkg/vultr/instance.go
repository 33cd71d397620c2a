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

// Instance reads one server. IsNotFound only if the API said 404 for it both as a virtual machine and as bare metal.
func (c *Client) Instance(ctx context.Context, id string) (Instance, error) {
	if err := checkID(opGetInstance, id); err != nil {
		return Instance{}, err
	}
	first, second := c.virtualMachine, c.bareMetal
	if c.kinds.isMetal(id) {
		first, second = second, first
	}
	in, err := first(ctx, id)
	if IsNotFound(err) {
		in, err = second(ctx, id)
	}
	if err == nil {
		c.kinds.remember(in)
	}
	return in, err
}

// Instances lists all servers of the account, virtual and bare metal. The list is shared: its items must not be
// changed. With maxAge 0 it began after the call, else it can be up to maxAge old.
func (c *Client) Instances(ctx context.Context, maxAge time.Duration) (List[Instance], error) {
	list, err := c.instances.within(ctx, maxAge)
	return list, ended(opListInstances, err)
}

func (c *Client) virtualMachine(ctx context.Context, id string) (Instance, error) {
	var answer struct {
		Instance *govultr.Instance `json:"instance"`
	}
	if err := c.do(ctx, opGetInstance, id, instancesPath+"/"+id, nil, &answer); err != nil {
		return Instance{}, err
	}
	if answer.Instance == nil || answer.Instance.ID == "" {
		return Instance{}, missing(opGetInstance, id)
	}
	return virtualMachineOf(*answer.Instance), nil
}

func (c *Client) bareMetal(ctx context.Context, id string) (Instance, error) {
	var answer struct {
		BareMetal *bareMetal `json:"bare_metal"`
	}
	if err := c.do(ctx, opGetBareMetal, id, bareMetalsPath+"/"+id, nil, &answer); err != nil {
		return Instance{}, err
	}
	if answer.BareMetal == nil || answer.BareMetal.ID == "" {
		return Instance{}, missing(opGetBareMetal, id)
	}
	in := answer.BareMetal.instance()
	if len(answer.BareMetal.VPCs) == 0 {
		return in, nil
	}
	address, err := c.bareMetalVPCAddress(ctx, id)
	in.InternalIP = address
	return in, err
}

// bareMetalVPCAddress asks for the address in the VPC, which the server's own answer lacks.
func (c *Client) bareMetalVPCAddress(ctx context.Context, id string) (string, error) {
	var answer struct {
		VPCs []struct {
			IPAddress string `json:"ip_address"`
		} `json:"vpcs"`
	}
	err := c.do(ctx, opListBareMetalVPCs, id, bareMetalsPath+"/"+id+"/vpcs", nil, &answer)
	if hasStatus(err, http.StatusNotFound) {
		// Parts of a server can be missing while the server is there. Passed on, this 404 would say that it is gone.
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, vpc := range answer.VPCs {
		if address := addressOf(vpc.IPAddress); address != "" {
			return address, nil
		}
	}
	return "", nil
}

type instancesAnswer struct {
	Instances []govultr.Instance `json:"instances"`
	Meta      *govultr.Meta      `json:"meta"`
}

func (a *instancesAnswer) page() page[govultr.Instance] {
	return page[govultr.Instance]{a.Instances, a.Meta}
}

type bareMetalsAnswer struct {
	BareMetals []bareMetal   `json:"bare_metals"`
	Meta       *govultr.Meta `json:"meta"`
}

func (a *bareMetalsAnswer) page() page[bareMetal] { return page[bareMetal]{a.BareMetals, a.Meta} }

func (c *Client) listInstances(ctx context.Context) ([]Instance, error) {
	machines, err := listAll[instancesAnswer](ctx, c, opListInstances, instancesPath,
		func(i govultr.Instance) string { return i.ID })
	if err != nil {
		return nil, err
	}
	metals, err := listAll[bareMetalsAnswer](ctx, c, opListBareMetals, bareMetalsPath,
		func(b bareMetal) string { return b.ID })
	if err != nil {
		return nil, err
	}
	instances := make([]Instance, 0, len(machines)+len(metals))
	for _, m := range machines {
		instances = append(instances, virtualMachineOf(m))
	}
	for _, m := range metals {
		instances = append(instances, m.instance())
	}
	for _, in := range instances {
		c.kinds.remember(in)
	}
	return instances, nil
}

// bareMetal is the API's form of a bare metal server. govultr's lacks the power status, the host name and the VPCs.
type bareMetal struct {
	ID          string     `json:"id"`
	Label       string     `json:"label"`
	Hostname    string     `json:"hostname"`
	Region      string     `json:"region"`
	Plan        string     `json:"plan"`
	Status      string     `json:"status"`
	PowerStatus string     `json:"power_status"`
	MainIP      string     `json:"main_ip"`
	V6MainIP    string     `json:"v6_main_ip"`
	Tags        []string   `json:"tags"`
	DateCreated string     `json:"date_created"`
	VPCs        []struct{} `json:"vpcs"`
}

func (b bareMetal) instance() Instance {
	return Instance{
		ID: b.ID, Kind: KindBareMetal, Label: b.Label, Hostname: b.Hostname, Region: strings.ToLower(b.Region),
		Plan: b.Plan, Status: b.Status, PowerStatus: b.PowerStatus, MainIP: addressOf(b.MainIP),
		MainIPv6: addressOf(b.V6MainIP), Tags: b.Tags, Created: parseTime(b.DateCreated),
	}
}

func virtualMachineOf(i govultr.Instance) Instance {
	return Instance{
		ID: i.ID, Kind: KindVM, Label: i.Label, Hostname: i.Hostname, Region: strings.ToLower(i.Region), Plan: i.Plan,
		Status: i.Status, PowerStatus: i.PowerStatus, ServerStatus: i.ServerStatus, MainIP: addressOf(i.MainIP),
		InternalIP: addressOf(i.InternalIP), MainIPv6: addressOf(i.V6MainIP), Tags: i.Tags, Created: parseTime(i.DateCreated),
	}
}

// addressOf gives the usual form of an address, and "" for the platform's ways to say that there is none
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

// kinds remembers which servers are bare metal, to ask the right route first.
type kinds struct {
	mu     sync.Mutex
	metals map[string]struct{}
}

func (k *kinds) remember(in Instance) {
	if in.Kind != KindBareMetal {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.metals == nil || len(k.metals) >= maxKinds {
		k.metals = map[string]struct{}{}
	}
	k.metals[in.ID] = struct{}{}
}

func (k *kinds) isMetal(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.metals[id]
	return ok
}
