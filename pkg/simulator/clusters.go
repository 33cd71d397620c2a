package simulator

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// cluster is one cluster of the Kubernetes Engine. Its nodes are instances of the account; its control plane is in the
// API only.
type cluster struct {
	head
	Label         string      `json:"label"`
	Region        string      `json:"region"`
	Version       string      `json:"version"`
	HA            bool        `json:"ha"`
	VPC           string      `json:"vpc"`
	FirewallGroup string      `json:"firewall_group"`
	Active        bool        `json:"active"`
	OIDC          clusterOIDC `json:"oidc"`
	Pools         []nodePool  `json:"pools"`
}

// clusterOIDC is in the API's own form.
type clusterOIDC struct {
	IssuerURL     string `json:"issuer_url"`
	ClientID      string `json:"client_id"`
	UsernameClaim string `json:"username_claim"`
	GroupsClaim   string `json:"groups_claim"`
}

// nodePool is a set of nodes of one plan.
type nodePool struct {
	ID       string            `json:"id"`
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
	Label    string            `json:"label"`
	Plan     string            `json:"plan"`
	Tag      string            `json:"tag"`
	UserData string            `json:"user_data"`
	Min      int               `json:"min"`
	Max      int               `json:"max"`
	Scales   bool              `json:"scales"`
	VPCOnly  bool              `json:"vpc_only"`
	Labels   map[string]string `json:"labels"`
	Taints   []nodeTaint       `json:"taints"`
	Nodes    []string          `json:"nodes"` // the instances' IDs
}

// nodeTaint is in the API's own form.
type nodeTaint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

// What the platform's clusters use inside.
const (
	clusterSubnet = "10.244.0.0/16"
	serviceSubnet = "10.96.0.0/12"
)

// clusterVersions are the newest first.
var clusterVersions = []string{"v1.36.1+1", "v1.35.2+1", "v1.34.5+1"}

var clusterRoutes = []route{
	{method: "GET", path: "/v2/kubernetes/versions", operation: "list_kubernetes_versions", handle: (*Simulator).listClusterVersions},
	{method: "GET", path: "/v2/kubernetes/clusters", operation: "list_clusters", handle: (*Simulator).listClusters},
	{method: "POST", path: "/v2/kubernetes/clusters", operation: "create_cluster", handle: (*Simulator).createCluster},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}", operation: "get_cluster", handle: (*Simulator).getCluster},
	{method: "PUT", path: "/v2/kubernetes/clusters/{id}", operation: "update_cluster", handle: (*Simulator).updateCluster},
	{method: "DELETE", path: "/v2/kubernetes/clusters/{id}", operation: "delete_cluster", handle: (*Simulator).deleteCluster},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/config", operation: "get_cluster_config", handle: (*Simulator).clusterConfig},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/resources", operation: "get_cluster_resources", handle: (*Simulator).clusterResources},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/available-upgrades", operation: "list_cluster_upgrades", handle: (*Simulator).clusterUpgrades},
	{method: "POST", path: "/v2/kubernetes/clusters/{id}/upgrades", operation: "upgrade_cluster", handle: (*Simulator).upgradeCluster},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/node-pools", operation: "list_node_pools", handle: (*Simulator).listPools},
	{method: "POST", path: "/v2/kubernetes/clusters/{id}/node-pools", operation: "create_node_pool", handle: (*Simulator).createPool},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}", operation: "get_node_pool", handle: (*Simulator).getPool},
	{method: "PATCH", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}", operation: "update_node_pool", handle: (*Simulator).updatePool},
	{method: "DELETE", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}", operation: "delete_node_pool", handle: (*Simulator).deletePool},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/nodes", operation: "list_node_pool_nodes", handle: (*Simulator).listPoolNodes},
	{method: "DELETE", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/nodes/{node}", operation: "delete_node_pool_node", handle: (*Simulator).deletePoolNode},
	{method: "POST", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/nodes/{node}/recycle", operation: "recycle_node_pool_node", handle: (*Simulator).recyclePoolNode},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/labels", operation: "list_node_pool_labels", handle: (*Simulator).listPoolLabels},
	{method: "POST", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/labels", operation: "create_node_pool_label", handle: (*Simulator).createPoolLabel},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/labels/{mark}", operation: "get_node_pool_label", handle: (*Simulator).getPoolLabel},
	{method: "DELETE", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/labels/{mark}", operation: "delete_node_pool_label", handle: (*Simulator).deletePoolLabel},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/taints", operation: "list_node_pool_taints", handle: (*Simulator).listPoolTaints},
	{method: "POST", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/taints", operation: "create_node_pool_taint", handle: (*Simulator).createPoolTaint},
	{method: "GET", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/taints/{mark}", operation: "get_node_pool_taint", handle: (*Simulator).getPoolTaint},
	{method: "DELETE", path: "/v2/kubernetes/clusters/{id}/node-pools/{pool}/taints/{mark}", operation: "delete_node_pool_taint", handle: (*Simulator).deletePoolTaint},
	{method: "DELETE", path: "/v2/kubernetes/clusters/{id}/delete-with-linked-resources", operation: "delete_cluster_with_resources", handle: (*Simulator).deleteClusterWithResources},
}

var (
	errNoCluster = wire.NotFound("Invalid resource ID")
	errNoPool    = wire.NotFound("Invalid NodePool ID")
	errNoNode    = wire.NotFound("Invalid node ID") // the platform's text is unknown
)

func (l cluster) endpoint() string { return l.ID + ".vultr-k8s.com" }

// nodes names all nodes of a cluster.
func (l cluster) nodes() []string {
	var out []string
	for _, p := range l.Pools {
		out = append(out, p.Nodes...)
	}
	return out
}

func (l cluster) pool(id string) int {
	return slices.IndexFunc(l.Pools, func(p nodePool) bool { return p.ID == id })
}

func (s *Simulator) showCluster(l cluster) any {
	status, vpcs, pools := statusPending, []vpcBody{}, []any{}
	if l.Active {
		status = statusActive
	}
	if v, ok := s.vpcs.Get(l.VPC); ok {
		vpcs = append(vpcs, vpcBody{ID: v.ID, Subnet: v.prefix().String()})
	}
	for _, p := range l.Pools {
		pools = append(pools, s.showPool(p))
	}
	return map[string]any{
		"id": l.ID, "label": l.Label, "date_created": wire.Time(l.Created), "cluster_subnet": clusterSubnet,
		"service_subnet": serviceSubnet, "ip": noAddress, "endpoint": l.endpoint(), "version": l.Version, "region": l.Region,
		"status": status, "ha_controlplanes": l.HA, "firewall_group_id": l.FirewallGroup, "oidc": l.OIDC, "vpcs": vpcs,
		"node_pools": pools,
	}
}

func (s *Simulator) showPool(p nodePool) any {
	nodes, status := []any{}, statusActive
	for _, id := range p.Nodes {
		i, _ := s.instances.Get(id)
		if !i.ready() {
			status = statusPending
		}
		nodes = append(nodes, s.showNode(id))
	}
	labels := p.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return map[string]any{
		"id": p.ID, "date_created": wire.Time(p.Created), "date_updated": wire.Time(p.Updated), "label": p.Label, "plan": p.Plan,
		"status": status, "node_quantity": len(p.Nodes), "min_nodes": p.Min, "max_nodes": p.Max, "auto_scaler": p.Scales,
		"tag": p.Tag, "user_data": p.UserData, "vpc_only": p.VPCOnly, "labels": labels, "taints": orEmpty(p.Taints), "nodes": nodes,
	}
}

// showNode shows a node by its instance, whose ID it has; whether the platform's nodes have IDs of their own is unknown.
func (s *Simulator) showNode(id string) any {
	i, _ := s.instances.Get(id)
	status := statusPending
	if i.ready() {
		status = statusActive
	}
	return map[string]any{
		"id": id, "label": i.Label, "date_created": wire.Time(i.Created), "ip": cmp.Or(i.MainIP, noAddress),
		"private_ip": i.internalIP(), "status": status,
	}
}

func (s *Simulator) listClusterVersions(*call) (int, any, error) {
	return http.StatusOK, map[string]any{"versions": clusterVersions}, nil
}

func (s *Simulator) listClusters(c *call) (int, any, error) {
	return list(s, c, "vke_clusters", s.clusters.All(), everything, s.showCluster)
}

// withCluster answers a read of what a cluster has.
func (s *Simulator) withCluster(c *call, read func(l cluster) (int, any, error)) (int, any, error) {
	l, ok := s.clusters.Get(c.id())
	if !ok {
		return 0, nil, errNoCluster
	}
	return read(l)
}

// withPool answers a read of what a node pool has.
func (s *Simulator) withPool(c *call, read func(p nodePool) (int, any, error)) (int, any, error) {
	return s.withCluster(c, func(l cluster) (int, any, error) {
		n := l.pool(c.req.PathValue("pool"))
		if n < 0 {
			return 0, nil, errNoPool
		}
		return read(l.Pools[n])
	})
}

func (s *Simulator) getCluster(c *call) (int, any, error) {
	return s.withCluster(c, func(l cluster) (int, any, error) {
		return http.StatusOK, map[string]any{"vke_cluster": s.showCluster(l)}, nil
	})
}

// clusterConfig returns a kubeconfig that names the cluster. It holds no credentials, for there is no API server.
func (s *Simulator) clusterConfig(c *call) (int, any, error) {
	return s.withCluster(c, func(l cluster) (int, any, error) {
		text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    server: https://%s:6443\n  name: vke\n"+
			"contexts:\n- context:\n    cluster: vke\n    user: admin\n  name: vke\ncurrent-context: vke\nusers:\n- name: admin\n  user: {}\n", l.endpoint())
		return http.StatusOK, map[string]string{"kube_config": base64.StdEncoding.EncodeToString([]byte(text))}, nil
	})
}

// clusterResources lists the volumes that are attached to the cluster's nodes and the load balancers before them.
func (s *Simulator) clusterResources(c *call) (int, any, error) {
	return s.withCluster(c, func(l cluster) (int, any, error) {
		nodes, blocks, balancers := l.nodes(), []any{}, []any{}
		for _, b := range sorted(s.blocks.All(), func(b block) int64 { return b.Seq }) {
			if slices.Contains(nodes, b.AttachedTo) {
				blocks = append(blocks, map[string]any{
					"id": b.ID, "label": b.Label, "date_created": wire.Time(b.Created), "status": statusActive, "size_gb": b.SizeGB,
				})
			}
		}
		for _, b := range sorted(s.balancers.All(), func(b loadBalancer) int64 { return b.Seq }) {
			if slices.ContainsFunc(b.Instances, func(id string) bool { return slices.Contains(nodes, id) }) {
				balancers = append(balancers, map[string]any{
					"id": b.ID, "label": b.Label, "date_created": wire.Time(b.Created), "status": statusActive, "ipv4": b.Address, "nodes": b.Nodes,
				})
			}
		}
		return http.StatusOK, map[string]any{"resources": map[string]any{"block_storage": blocks, "load_balancer": balancers}}, nil
	})
}

// upgradesOf are the versions above one, the newest first.
func upgradesOf(version string) []string {
	n := slices.Index(clusterVersions, version)
	if n < 0 {
		return []string{}
	}
	return slices.Clone(clusterVersions[:n])
}

func (s *Simulator) clusterUpgrades(c *call) (int, any, error) {
	return s.withCluster(c, func(l cluster) (int, any, error) {
		return http.StatusOK, map[string]any{"available_upgrades": upgradesOf(l.Version)}, nil
	})
}

func (s *Simulator) listPools(c *call) (int, any, error) {
	return s.withCluster(c, func(l cluster) (int, any, error) {
		rows := []any{}
		for _, p := range l.Pools {
			rows = append(rows, s.showPool(p))
		}
		return fixedList(c, "node_pools", rows)
	})
}

func (s *Simulator) getPool(c *call) (int, any, error) {
	return s.withPool(c, func(p nodePool) (int, any, error) {
		return http.StatusOK, map[string]any{"node_pool": s.showPool(p)}, nil
	})
}

func (s *Simulator) listPoolNodes(c *call) (int, any, error) {
	return s.withPool(c, func(p nodePool) (int, any, error) {
		rows := []any{}
		for _, id := range p.Nodes {
			rows = append(rows, s.showNode(id))
		}
		return orderedList(c, "worker_nodes", rows, func(n int) int64 {
			i, _ := s.instances.Get(p.Nodes[n])
			return i.Seq
		})
	})
}

// nodeLabel is the name of a new node, and of its instance.
func nodeLabel(p nodePool) string {
	return strings.ToLower(p.Label) + "-" + newRuleID()[:12]
}
