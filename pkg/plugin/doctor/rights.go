package doctor

import (
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/official"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// Need is a right without which a controller cannot work.
type Need struct {
	// Account is the ServiceAccount, in the controllers' namespace.
	Account string
	// Verb, Group, Resource, Subresource and Name say what has to be allowed, Namespace where; "" is all of them.
	Verb, Group, Resource, Subresource, Name, Namespace string
}

// String says it as kubectl auth can-i takes it.
func (n Need) String() string {
	text := n.Verb + " " + n.Resource
	if n.Group != "" {
		text += "." + n.Group
	}
	if n.Subresource != "" {
		text += " (" + n.Subresource + ")"
	}
	if n.Name != "" {
		text += " " + n.Name
	}
	if n.Namespace != "" {
		text += " in " + n.Namespace
	}
	return text
}

// User is the account as the API server knows it.
func (n Need) User() string { return "system:serviceaccount:" + kube.System + ":" + n.Account }

// The ServiceAccounts of the manifests.
const (
	ccmAccount        = "vultr-ccm"
	controllerAccount = "csi-vultr-controller-sa"
	nodeAccount       = "csi-vultr-node-sa"
)

const (
	storageGroup = "storage.k8s.io"
	leaseGroup   = "coordination.k8s.io"
	appsGroup    = "apps"
)

// Needs are the rights by which the controllers do their main work, and see that the official ones don't do it too. Those of features that not every cluster uses, and those
// for Events, are not among them.
func Needs() []Need {
	var all []Need
	add := func(account, group, resource, subresource string, verbs ...string) {
		for _, verb := range verbs {
			all = append(all, Need{Account: account, Verb: verb, Group: group, Resource: resource, Subresource: subresource})
		}
	}
	add(ccmAccount, "", "nodes", "", "list", "watch", "patch", "delete")
	add(ccmAccount, "", "nodes", "status", "patch")
	add(ccmAccount, "", "services", "", "list", "watch", "patch")
	add(ccmAccount, "", "services", "status", "patch")
	add(ccmAccount, "", "namespaces", "", "get")
	add(ccmAccount, "discovery.k8s.io", "endpointslices", "", "list", "watch")
	add(controllerAccount, "", "persistentvolumes", "", "list", "watch", "create", "patch", "delete")
	add(controllerAccount, "", "persistentvolumeclaims", "", "list", "watch")
	add(controllerAccount, storageGroup, "storageclasses", "", "list", "watch")
	add(controllerAccount, storageGroup, "csinodes", "", "list", "watch")
	add(controllerAccount, storageGroup, "volumeattachments", "", "list", "watch", "patch")
	add(controllerAccount, storageGroup, "volumeattachments", "status", "patch")
	add(controllerAccount, "", "nodes", "", "get", "list", "patch")
	all = append(all,
		Need{Account: ccmAccount, Verb: "create", Resource: "configmaps", Namespace: kube.System},
		Need{Account: ccmAccount, Verb: "patch", Resource: "configmaps", Name: "vultr-load-balancers-00", Namespace: kube.System},
		Need{Account: ccmAccount, Verb: "get", Group: appsGroup, Resource: "daemonsets", Name: official.CCM.Name, Namespace: kube.System},
		Need{Account: controllerAccount, Verb: "get", Group: appsGroup, Resource: "statefulsets", Name: official.CSIController.Name, Namespace: kube.System},
		Need{Account: ccmAccount, Verb: "update", Group: leaseGroup, Resource: "leases", Name: "cloud-controller-manager", Namespace: kube.System},
		Need{Account: nodeAccount, Verb: "get", Resource: "nodes"},
	)
	return all
}

// rights reports what the controllers are not allowed to do.
func rights(in Input) []report.Finding {
	const check = "rbac"
	var found []report.Finding
	var unknown error
	asked := 0
	for _, r := range in.Rights {
		if r.Err == nil && r.Account != "" && leftOut(in, r.product()) {
			continue
		}
		asked++
		switch {
		case r.Err != nil:
			unknown = r.Err
		case !r.Allowed:
			found = append(found, finding(report.Error, check, "ServiceAccount "+kube.System+"/"+r.Account, "it may not "+r.String(), "apply deploy/manifests again: the roles are part of them"))
		}
	}
	if unknown != nil {
		found = append(found, unread(check, "", unknown))
	}
	if len(found) == 0 && asked > 0 {
		found = append(found, finding(report.OK, check, "", fmt.Sprintf("the controllers have the %d rights that were asked for", asked), ""))
	}
	return found
}
