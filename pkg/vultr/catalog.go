package vultr

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

// catalogMaxAge is how old an answer about what the platform sells may be.
const catalogMaxAge = 10 * time.Minute

var regions = resource[govultr.Region, Region]{
	path: "/v2/regions", many: "regions", ops: operationsOn("region", "regions", "region", "regions").keyless(),
	id:     func(r Region) string { return r.ID },
	domain: func(r govultr.Region) Region { return Region{ID: strings.ToLower(r.ID), Options: r.Options} },
}

var plans = resource[plan, Plan]{
	path: "/v2/plans", many: "plans", ops: operationsOn("plan", "plans", "plan", "plans").keyless(),
	id: func(p Plan) string { return p.ID }, domain: func(p plan) Plan { return p.domain(KindVM) },
}

var metalPlans = resource[plan, Plan]{
	path: "/v2/plans-metal", many: "plans_metal",
	ops: operationsOn("metal_plan", "metal_plans", "bare metal plan", "bare metal plans").keyless(),
	id:  func(p Plan) string { return p.ID }, domain: func(p plan) Plan { return p.domain(KindBareMetal) },
}

// Region is one location. The platform has no zones below it.
type Region struct {
	ID      string   // lower case
	Options []string // "block_storage_high_perf", "block_storage_storage_opt", "load_balancers", ...
}

// Sells reports whether the region offers the option.
func (r Region) Sells(option string) bool {
	return slices.Contains(r.Options, option)
}

// Plan is a size of server.
type Plan struct {
	ID       string // "vc2-2c-4gb"
	Kind     InstanceKind
	Type     string // "vc2", "vhf", "SSD", ...
	CPUs     int    // virtual ones of a virtual machine, threads of bare metal
	MemoryMB int
	DiskGB   int      // of one disk
	Disks    int      // how many
	GPU      string   // its type, "" without one
	Regions  []string // where it is sold in principle, lower case; stock changes by the minute
}

// Account is what the key belongs to; reading it is the cheapest proof that the key works.
type Account struct {
	Name string
	ACLs []string
}

// Account proves that the key works and says whose it is.
func (c *Client) Account(ctx context.Context) (Account, error) {
	var answer struct {
		Account *govultr.Account `json:"account"`
	}
	if err := c.do(ctx, opGetAccount, "", "/v2/account", nil, &answer); err != nil {
		return Account{}, err
	}
	if answer.Account == nil {
		return Account{}, missing(opGetAccount, "")
	}
	return Account{Name: answer.Account.Name, ACLs: answer.Account.ACL}, nil
}

// KeyAccepted tells when the API last accepted the key, the zero time when it never did.
func (c *Client) KeyAccepted() time.Time {
	if at := c.accepted.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Regions lists the platform's locations. What it answers can be 10 minutes old.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	list, err := sharedList(ctx, c.regions, regions.ops.list, catalogMaxAge)
	return list.Items, err
}

// Plans lists the platform's sizes of servers, virtual and bare metal. What it answers can be 10 minutes old.
func (c *Client) Plans(ctx context.Context) ([]Plan, error) {
	list, err := sharedList(ctx, c.plans, plans.ops.list, catalogMaxAge)
	return list.Items, err
}

func (c *Client) listPlans(ctx context.Context) ([]Plan, error) {
	return listBoth(ctx, c, plans.all, metalPlans.all)
}

// plan is the API's form of a plan, virtual or bare metal.
type plan struct {
	ID         string   `json:"id"`
	Type       string   `json:"type"`
	VCPUs      int      `json:"vcpu_count"`
	CPUThreads int      `json:"cpu_threads"`
	RAM        int      `json:"ram"`
	Disk       int      `json:"disk"`
	DiskCount  int      `json:"disk_count"`
	GPUType    string   `json:"gpu_type"`
	Locations  []string `json:"locations"`
}

func (p plan) domain(kind InstanceKind) Plan {
	return Plan{
		ID: p.ID, Kind: kind, Type: p.Type, CPUs: orDefault(p.VCPUs, p.CPUThreads), MemoryMB: p.RAM, DiskGB: p.Disk,
		Disks: p.DiskCount, GPU: p.GPUType, Regions: convert(p.Locations, strings.ToLower),
	}
}
