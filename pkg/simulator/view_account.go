package simulator

import (
	"cmp"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// AccountView is what the account has beside servers, volumes and load balancers.
type AccountView struct {
	VPCs           []VPCView           `json:"vpcs"`
	FirewallGroups []FirewallGroupView `json:"firewall_groups"`
	ReservedIPs    []ReservedIPView    `json:"reserved_ips"`
	Clusters       []ClusterView       `json:"clusters"`
	Domains        []DomainView        `json:"domains"`
	SSHKeys        int                 `json:"ssh_keys"`        // how many
	StartupScripts int                 `json:"startup_scripts"` // how many
}

// VPCView is one VPC.
type VPCView struct {
	ID          string `json:"id"`
	Region      string `json:"region"`
	Description string `json:"description"`
	Subnet      string `json:"subnet"` // with the mask's length
	// Servers are the public addresses of what keeps it from being deleted.
	Servers []string `json:"servers"`
}

// FirewallGroupView is one firewall group.
type FirewallGroupView struct {
	ID          string   `json:"id"`
	Description string   `json:"description"`
	Rules       []string `json:"rules"`     // "tcp 22 from 203.0.113.7/32"
	Instances   []string `json:"instances"` // IDs
}

// ReservedIPView is one reserved address.
type ReservedIPView struct {
	ID     string `json:"id"`
	Label  string `json:"label"`
	Region string `json:"region"`
	Subnet string `json:"subnet"`
	Server string `json:"server"` // ID, "" if none has it
}

// ClusterView is one cluster of the Kubernetes Engine.
type ClusterView struct {
	ID      string   `json:"id"`
	Label   string   `json:"label"`
	Region  string   `json:"region"`
	Version string   `json:"version"`
	Active  bool     `json:"active"`
	Nodes   []string `json:"nodes"` // IDs of instances
}

// DomainView is one DNS zone.
type DomainView struct {
	Name    string `json:"name"`
	Records int    `json:"records"`
}

func (s *Simulator) viewAccount() AccountView {
	v := AccountView{
		VPCs: []VPCView{}, FirewallGroups: []FirewallGroupView{}, ReservedIPs: []ReservedIPView{}, Clusters: []ClusterView{},
		Domains: []DomainView{}, SSHKeys: s.sshKeys.Len(), StartupScripts: s.scripts.Len(),
	}
	for _, n := range sorted(s.vpcs.All(), func(n vpc) int64 { return n.Seq }) {
		v.VPCs = append(v.VPCs, VPCView{
			ID: n.ID, Region: n.Region, Description: n.Description, Subnet: n.prefix().String(), Servers: s.vpcUsers(&store.Tx{}, n.ID),
		})
	}
	members := map[string][]string{}
	for _, i := range sorted(s.instances.All(), func(i instance) int64 { return i.Seq }) {
		members[i.FirewallGroup] = append(members[i.FirewallGroup], i.ID)
	}
	for _, g := range sorted(s.firewalls.All(), func(g firewallGroup) int64 { return g.Seq }) {
		v.FirewallGroups = append(v.FirewallGroups, FirewallGroupView{
			ID: g.ID, Description: g.Description, Rules: g.texts(), Instances: orEmpty(members[g.ID]),
		})
	}
	for _, r := range sorted(s.reservedIPs.All(), func(r reservedIP) int64 { return r.Seq }) {
		v.ReservedIPs = append(v.ReservedIPs, ReservedIPView{ID: r.ID, Label: r.Label, Region: r.Region, Subnet: r.Subnet, Server: r.Server})
	}
	for _, l := range sorted(s.clusters.All(), func(l cluster) int64 { return l.Seq }) {
		v.Clusters = append(v.Clusters, ClusterView{
			ID: l.ID, Label: l.Label, Region: l.Region, Version: l.Version, Active: l.Active, Nodes: orEmpty(l.nodes()),
		})
	}
	for _, d := range sorted(s.domains.All(), func(d domain) int64 { return d.Seq }) {
		v.Domains = append(v.Domains, DomainView{Name: d.ID, Records: len(d.Records)})
	}
	return v
}

// texts returns the rules for people.
func (g firewallGroup) texts() []string {
	out := []string{}
	for _, r := range g.Rules {
		f := r.Filter
		from := cmp.Or(f.Source, fmt.Sprintf("%s/%d", f.Subnet, f.SubnetSize))
		text := f.Protocol + " from " + from
		if f.Port != "" {
			text = f.Protocol + " " + f.Port + " from " + from
		}
		out = append(out, text)
	}
	return out
}
