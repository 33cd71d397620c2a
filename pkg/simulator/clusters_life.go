package simulator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

type clusterRequest struct {
	Label          string        `json:"label"`
	Region         string        `json:"region"`
	Version        string        `json:"version"`
	HA             bool          `json:"ha_controlplanes"`
	EnableFirewall bool          `json:"enable_firewall"`
	VPC            string        `json:"vpc_id"`
	OIDC           *clusterOIDC  `json:"oidc"`
	Pools          []poolRequest `json:"node_pools"`
}

type poolRequest struct {
	Label    string            `json:"label"`
	Plan     string            `json:"plan"`
	Tag      *string           `json:"tag"`
	Quantity *int              `json:"node_quantity"`
	Min      *int              `json:"min_nodes"`
	Max      *int              `json:"max_nodes"`
	Scales   *bool             `json:"auto_scaler"`
	VPCOnly  bool              `json:"vpc_only"`
	Labels   map[string]string `json:"labels"`
	Taints   []nodeTaint       `json:"taints"`
	UserData *string           `json:"user_data"`
}

func (s *Simulator) createCluster(c *call) (int, any, error) {
	var req clusterRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var l cluster
	err := s.update(func(tx *store.Tx) (err error) {
		if l, err = s.newCluster(tx, req); err != nil {
			return err
		}
		s.clusters.Put(tx, l.ID, l)
		s.schedule(tx, jobClusterReady, l.ID, "", s.cfg.Delays.Kubernetes)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"vke_cluster": s.showCluster(l)}, nil
}

func (s *Simulator) newCluster(tx *store.Tx, req clusterRequest) (cluster, error) {
	l := cluster{head: s.newHead(), Label: req.Label, Region: req.Region, Version: req.Version, HA: req.HA, VPC: req.VPC}
	set(&l.OIDC, req.OIDC)
	if _, ok := findRegion(req.Region); !ok {
		return l, ours("Invalid region.")
	}
	if !slices.Contains(clusterVersions, req.Version) {
		return l, ours("Invalid version.")
	}
	if len(req.Pools) == 0 {
		return l, ours("Invalid node_pools.")
	}
	if bad := s.checkVPCIn(tx, l.Region, l.VPC); bad != nil {
		return l, bad
	}
	if l.VPC == "" {
		var bad *wire.Error
		if l.VPC, bad = s.defaultVPC(tx, l.Region); bad != nil {
			return l, bad
		}
	}
	if req.EnableFirewall {
		g := s.clusterFirewall(l)
		s.firewalls.Put(tx, g.ID, g)
		l.FirewallGroup = g.ID
	}
	for _, r := range req.Pools {
		var err error
		if l, err = s.withNewPool(tx, l, r); err != nil {
			return l, err
		}
	}
	return l, nil
}

// clusterFirewall is the group of a cluster's nodes. It admits node ports; which rules the platform's has is unknown.
func (s *Simulator) clusterFirewall(l cluster) firewallGroup {
	g := firewallGroup{head: s.newHead(), Description: "Cluster " + l.ID}
	g.Modified = g.Created
	for _, protocol := range portProtocols {
		g.LastRule++
		g.Rules = append(g.Rules, firewallRule{
			ID: g.LastRule, Filter: firewallSpec{IPType: "v4", Protocol: protocol, Port: "30000:32767", Subnet: noAddress},
		})
	}
	return g
}

// withNewPool is the cluster with one more pool, whose nodes begin to be made.
func (s *Simulator) withNewPool(tx *store.Tx, l cluster, req poolRequest) (cluster, error) {
	if p, ok := findPlan(req.Plan); !ok || !p.soldIn(l.Region) {
		return l, ours("Invalid plan.")
	}
	if req.Label == "" {
		return l, ours("Invalid label.")
	}
	now := time.Now()
	p := nodePool{
		ID: newID(), Created: now, Label: req.Label, Plan: req.Plan, VPCOnly: req.VPCOnly, Labels: req.Labels, Taints: req.Taints,
	}
	p, err := s.resizedPool(tx, l, p, req)
	if err != nil {
		return l, err
	}
	if len(p.Nodes) == 0 {
		return l, ours("Invalid node_quantity.")
	}
	l.Pools = append(slices.Clone(l.Pools), p)
	return l, nil
}

const maxPoolNodes = 100

// resizedPool is the pool after a request: with what it sets, and with so many nodes.
func (s *Simulator) resizedPool(tx *store.Tx, l cluster, p nodePool, req poolRequest) (nodePool, error) {
	set(&p.Tag, req.Tag)
	set(&p.Min, req.Min)
	set(&p.Max, req.Max)
	set(&p.Scales, req.Scales)
	set(&p.UserData, req.UserData)
	p.Updated = time.Now()
	if req.Quantity == nil || *req.Quantity == 0 { // clients leave it out as 0
		return p, nil
	}
	if *req.Quantity < 1 || *req.Quantity > maxPoolNodes {
		return p, ours("Invalid node_quantity.")
	}
	p.Nodes = slices.Clone(p.Nodes)
	for len(p.Nodes) < *req.Quantity {
		node, err := s.newNode(tx, l, p)
		if err != nil {
			return p, err
		}
		p.Nodes = append(p.Nodes, node)
	}
	for _, id := range p.Nodes[*req.Quantity:] {
		s.beginDestroy(tx, id)
	}
	p.Nodes = p.Nodes[:*req.Quantity]
	return p, nil
}

// newNode begins the life of a node's instance. Its user data name the node, as the platform's do.
func (s *Simulator) newNode(tx *store.Tx, l cluster, p nodePool) (string, error) {
	var tags []string
	if p.Tag != "" {
		tags = []string{p.Tag}
	}
	i, err := s.beginInstance(tx, createInstanceRequest{
		sourceRequest: sourceRequest{OSID: defaultSystem}, Region: l.Region, Plan: p.Plan, Label: nodeLabel(p), Tags: tags,
		AttachVPC: []string{l.VPC}, VPCOnly: p.VPCOnly, Firewall: l.FirewallGroup,
	})
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]any{"data": map[string]any{"vke": map[string]any{"node_id": i.ID}}})
	if err != nil {
		return "", err
	}
	i.UserData = base64.StdEncoding.EncodeToString(data)
	s.instances.Put(tx, i.ID, i)
	return i.ID, nil
}

func (s *Simulator) readyCluster(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		if l, ok := s.clusters.GetIn(tx, job.Target); ok {
			l.Active = true
			if job.Arg != "" {
				l.Version = job.Arg
			}
			s.clusters.Put(tx, l.ID, l)
		}
		return nil
	}, nil
}

// changeCluster runs a change of a cluster that exists.
func (s *Simulator) changeCluster(id string, change func(tx *store.Tx, l *cluster) error) error {
	return s.update(func(tx *store.Tx) error {
		l, ok := s.clusters.GetIn(tx, id)
		if !ok {
			return errNoCluster
		}
		if err := change(tx, &l); err != nil {
			return err
		}
		s.clusters.Put(tx, id, l)
		return nil
	})
}

// changePool runs a change of the node pool that the path names.
func (s *Simulator) changePool(c *call, change func(tx *store.Tx, l cluster, p nodePool) (nodePool, error)) (nodePool, error) {
	var p nodePool
	err := s.changeCluster(c.id(), func(tx *store.Tx, l *cluster) error {
		n := l.pool(c.req.PathValue("pool"))
		if n < 0 {
			return errNoPool
		}
		var err error
		if p, err = change(tx, *l, l.Pools[n]); err != nil {
			return err
		}
		l.Pools = slices.Clone(l.Pools)
		l.Pools[n] = p
		return nil
	})
	return p, err
}

func (s *Simulator) updateCluster(c *call) (int, any, error) {
	var req struct {
		Label string       `json:"label"`
		OIDC  *clusterOIDC `json:"oidc"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeCluster(c.id(), func(_ *store.Tx, l *cluster) error {
		if req.Label != "" {
			l.Label = req.Label
		}
		set(&l.OIDC, req.OIDC)
		return nil
	})
	return s.noContent(), nil, err
}

// deleteCluster destroys the nodes; volumes and load balancers stay.
func (s *Simulator) deleteCluster(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		l, ok := s.clusters.GetIn(tx, c.id())
		if !ok {
			return errNoCluster
		}
		s.dropCluster(tx, l)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) dropCluster(tx *store.Tx, l cluster) {
	for _, id := range l.nodes() {
		s.beginDestroy(tx, id)
	}
	if l.FirewallGroup != "" {
		s.dropFirewallGroup(tx, l.FirewallGroup)
	}
	s.clusters.Delete(tx, l.ID)
}

func (s *Simulator) upgradeCluster(c *call) (int, any, error) {
	var req struct {
		Version string `json:"upgrade_version"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeCluster(c.id(), func(tx *store.Tx, l *cluster) error {
		if !slices.Contains(upgradesOf(l.Version), req.Version) {
			return ours("Invalid upgrade_version.")
		}
		s.schedule(tx, jobClusterReady, l.ID, req.Version, s.cfg.Delays.Kubernetes)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) createPool(c *call) (int, any, error) {
	var req poolRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var p nodePool
	err := s.changeCluster(c.id(), func(tx *store.Tx, l *cluster) (err error) {
		if *l, err = s.withNewPool(tx, *l, req); err != nil {
			return err
		}
		p = l.Pools[len(l.Pools)-1]
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"node_pool": s.showPool(p)}, nil
}

func (s *Simulator) updatePool(c *call) (int, any, error) {
	var req poolRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	p, err := s.changePool(c, func(tx *store.Tx, l cluster, p nodePool) (nodePool, error) {
		if req.Labels != nil {
			p.Labels = req.Labels
		}
		if req.Taints != nil {
			p.Taints = req.Taints
		}
		return s.resizedPool(tx, l, p, req)
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"node_pool": s.showPool(p)}, nil
}

func (s *Simulator) deletePool(c *call) (int, any, error) {
	err := s.changeCluster(c.id(), func(tx *store.Tx, l *cluster) error {
		n := l.pool(c.req.PathValue("pool"))
		switch {
		case n < 0:
			return errNoPool
		case len(l.Pools) == 1:
			return ours("The last node pool can not be deleted.")
		}
		for _, id := range l.Pools[n].Nodes {
			s.beginDestroy(tx, id)
		}
		l.Pools = slices.Delete(slices.Clone(l.Pools), n, n+1)
		return nil
	})
	return s.noContent(), nil, err
}

// forgetNode takes a destroyed instance out of the node pool that had it. Nobody makes a new one.
func (s *Simulator) forgetNode(tx *store.Tx, id string) {
	for _, l := range s.clusters.AllIn(tx) {
		for n, p := range l.Pools {
			if slices.Contains(p.Nodes, id) {
				p.Nodes = slices.DeleteFunc(slices.Clone(p.Nodes), func(o string) bool { return o == id })
				l.Pools = slices.Clone(l.Pools)
				l.Pools[n] = p
				s.clusters.Put(tx, l.ID, l)
			}
		}
	}
}

func (s *Simulator) deletePoolNode(c *call) (int, any, error) { return s.dropNode(c, false) }

func (s *Simulator) recyclePoolNode(c *call) (int, any, error) { return s.dropNode(c, true) }

// dropNode destroys a node, and puts a new one in its place if that is wanted.
func (s *Simulator) dropNode(c *call, replace bool) (int, any, error) {
	_, err := s.changePool(c, func(tx *store.Tx, l cluster, p nodePool) (nodePool, error) {
		n := slices.Index(p.Nodes, c.req.PathValue("node"))
		switch {
		case n < 0:
			return p, errNoNode
		case len(p.Nodes) == 1 && !replace:
			return p, ours("The last node of a node pool can not be deleted.")
		}
		s.beginDestroy(tx, p.Nodes[n])
		p.Nodes = slices.Delete(slices.Clone(p.Nodes), n, n+1)
		if !replace {
			return p, nil
		}
		node, err := s.newNode(tx, l, p)
		p.Nodes = append(p.Nodes, node)
		return p, err
	})
	return s.noContent(), nil, err
}
