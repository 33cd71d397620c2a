package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/identity"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/startuptaint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// settled is how long a new Node may take until the controllers have done their part.
const settled = 3 * time.Minute

const nodeCheck = "node"

func nodes(in Input) []report.Finding {
	if in.Nodes.Err != nil {
		return []report.Finding{unread(nodeCheck, "", in.Nodes.Err)}
	}
	n := nodeChecks{Input: in, instances: map[string]vultr.Instance{}, csi: map[string]*storagev1.CSINode{}, machines: map[string][]string{}}
	if err := in.Instances.Err; err != nil {
		n.found = append(n.found, unread("provider-id", "", err))
	}
	if err := in.CSINodes.Err; err != nil {
		n.found = append(n.found, unread("csi-node", "", err))
	}
	for _, instance := range in.Instances.Value {
		n.instances[strings.ToLower(instance.ID)] = instance
	}
	for _, c := range in.CSINodes.Value {
		n.csi[c.Name] = c
	}
	for _, node := range in.Nodes.Value {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			n.machines[id] = append(n.machines[id], node.Name)
		}
	}
	for _, node := range in.Nodes.Value {
		n.node(node)
	}
	if len(n.found) == 0 {
		n.found = append(n.found, finding(report.OK, nodeCheck, "", fmt.Sprintf("%d nodes have their instances and the driver", len(in.Nodes.Value)), ""))
	}
	return n.found
}

type nodeChecks struct {
	Input

	instances map[string]vultr.Instance
	csi       map[string]*storagev1.CSINode
	machines  map[string][]string // the Nodes of each instance
	found     []report.Finding
}

func (n *nodeChecks) add(severity report.Severity, check string, node *v1.Node, problem, remedy string) {
	n.found = append(n.found, finding(severity, check, "Node "+node.Name, problem, remedy))
}

func (n *nodeChecks) node(node *v1.Node) {
	if n.Now.Sub(node.CreationTimestamp.Time) < settled {
		return // it may still come about
	}
	if outofservice.Marked(node) {
		n.add(report.Warning, nodeCheck, node, "its instance was deleted; its pods are being released", "it goes by itself when they have; if it stays, see docs/node-lifecycle.md")
		return
	}
	id, err := providerid.Parse(node.Spec.ProviderID)
	switch {
	case errors.Is(err, providerid.ErrUnset) && leftOut(n.Input, manager):
		n.driver(node, "") // which finds out by itself what instance it is on
		return
	case errors.Is(err, providerid.ErrUnset):
		n.unset(node)
		return
	case err != nil:
		n.add(report.Error, "provider-id", node, err.Error(), "a node's provider ID cannot be changed: delete the Node, and have its kubelet register again without --provider-id or with the right one")
		return
	}
	n.machine(node, id)
	n.driver(node, id)
}

// unset says why a Node has no provider ID: with its taint it waits for the cloud controller manager, and without it the
// kubelet has never asked for one.
func (n *nodeChecks) unset(node *v1.Node) {
	if slices.ContainsFunc(node.Spec.Taints, func(t v1.Taint) bool { return t.Key == cloudproviderapi.TaintExternalCloudProvider }) {
		n.add(report.Error, "provider-id", node, "the cloud controller manager has not initialised it",
			"see whether the manager runs, and the Node's Events: an instance must have the node's name as label or host name")
		return
	}
	n.add(report.Error, "kubelet", node, "it has no provider ID, and its kubelet did not ask for one",
		"start the kubelet with --cloud-provider=external, delete the Node object, and have it register again")
}

// machine checks the instance behind a Node.
func (n *nodeChecks) machine(node *v1.Node, id string) {
	if n.Instances.Err != nil {
		return
	}
	if others := n.machines[id]; len(others) > 1 && others[0] == node.Name {
		n.add(report.Error, "provider-id", node, fmt.Sprintf("the nodes %s have the same instance %s", strings.Join(others, ", "), id), "delete the Nodes that are no more")
	}
	instance, there := n.instances[id]
	if !there {
		n.add(report.Error, "provider-id", node, fmt.Sprintf("the account has no instance %s", id),
			"check that the API key is of the cluster's account; if so, the instance was deleted, and the Node goes by itself once that is proven")
		return
	}
	if region := node.Labels[v1.LabelTopologyRegion]; region != "" && !strings.EqualFold(region, instance.Region) {
		n.add(report.Warning, nodeCheck, node, fmt.Sprintf("its label %s is %q, its instance is in %q", v1.LabelTopologyRegion, region, instance.Region),
			"volumes and load balancers go by the label: correct it")
	}
}

// driver checks what the node plugin has registered, where there is one. The ID is "" for a Node that has none.
func (n *nodeChecks) driver(node *v1.Node, id string) {
	if n.CSINodes.Err != nil || n.Workloads.Err != nil || kube.Find(n.Workloads.Value, "DaemonSet", kube.CSINode) == nil {
		return
	}
	var registered *storagev1.CSINodeDriver
	if c := n.csi[node.Name]; c != nil {
		for i := range c.Spec.Drivers {
			if c.Spec.Drivers[i].Name == identity.DriverName {
				registered = &c.Spec.Drivers[i]
			}
		}
	}
	switch {
	case registered == nil && n.instances[id].Kind == vultr.KindBareMetal:
		// Nothing can be attached to bare metal.
	case registered == nil:
		n.add(report.Error, "csi-node", node, "the CSI driver is not registered, so no pod with a volume can run there",
			"see the pod of csi-vultr-node on it, and whether the kubelet's directory is the one of the manifest (docs/install.md)")
	case id != "" && !strings.EqualFold(registered.NodeID, id):
		n.add(report.Error, "metadata", node, fmt.Sprintf("the node plugin takes it for instance %s, its provider ID says %s", registered.NodeID, id),
			"the metadata service, a flag --node-id or a copied image says something else than the cloud controller manager: see docs/node-plugin.md")
	case slices.ContainsFunc(node.Spec.Taints, func(t v1.Taint) bool { return t.Key == startuptaint.Key }):
		n.add(report.Warning, "csi-node", node, "it still has the start-up taint "+startuptaint.Key+" although the driver is registered",
			"the CSI controller removes it: see whether it runs and may patch Nodes")
	}
}
