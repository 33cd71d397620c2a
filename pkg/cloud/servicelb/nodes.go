package servicelb

import (
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
)

// toBeDeleted is the taint by which the cluster autoscaler announces that it will delete a Node.
const toBeDeleted = "ToBeDeletedByClusterAutoscaler"

// candidates returns the Nodes that are to get traffic, as users know it from Kubernetes: not being deleted, not excluded by
// label, not about to be removed by the autoscaler, and ready. If none is ready, they all count: then more likely the
// news of them is what is broken, and the load balancer's own health checks know better.
func candidates(nodes []*v1.Node) []*v1.Node {
	all := eligible(nodes)
	ready := slices.DeleteFunc(slices.Clone(all), func(node *v1.Node) bool { return !readiness.IsReady(node) })
	if len(ready) == 0 {
		return all
	}
	return ready
}

// eligible returns the Nodes that are to get traffic as soon as they are ready.
func eligible(nodes []*v1.Node) []*v1.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(node *v1.Node) bool { return !eligibleNode(node) })
}

func eligibleNode(node *v1.Node) bool {
	return node.DeletionTimestamp.IsZero() && !isExcluded(node) &&
		!slices.ContainsFunc(node.Spec.Taints, func(t v1.Taint) bool { return t.Key == toBeDeleted })
}

// isExcluded reads the label as the library does: a value that is no boolean excludes.
func isExcluded(node *v1.Node) bool {
	value, there := node.Labels[v1.LabelNodeExcludeBalancers]
	if !there {
		return false
	}
	excluded, err := strconv.ParseBool(value)
	return err != nil || excluded
}

// standing is everything about a Node that backends depend on. Two Nodes of equal standing need no write.
type standing struct {
	eligible, ready, gone bool
	providerID, region    string
}

func standingOf(node *v1.Node) standing {
	return standing{
		eligible: eligibleNode(node), ready: readiness.IsReady(node), gone: outofservice.Marked(node),
		providerID: node.Spec.ProviderID, region: node.Labels[v1.LabelTopologyRegion],
	}
}

// serves reports whether a Node of this standing gets traffic: one that stops to is urgent, one that begins to is not.
func (s standing) serves() bool { return s.eligible && s.ready && !s.gone && s.providerID != "" }

// failed reports whether traffic for a Node is lost: it does not work, is gone or is going. One that merely is to get none any
// more, as before a drain, serves until its time comes.
func failed(node *v1.Node) bool {
	return !node.DeletionTimestamp.IsZero() || !readiness.IsReady(node) || outofservice.Marked(node)
}

// losesTraffic reports whether a load balancer sends to a machine that is no working Node's, and that a change takes out.
func losesTraffic(nodes []*v1.Node, present []string, wanted *[]string) bool {
	if wanted == nil {
		return false
	}
	out := make(map[string]bool)
	for _, id := range present {
		out[id] = true
	}
	for _, id := range *wanted {
		delete(out, id)
	}
	for _, node := range nodes {
		if len(out) == 0 {
			return false
		}
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil && !failed(node) {
			delete(out, id)
		}
	}
	return len(out) > 0
}
