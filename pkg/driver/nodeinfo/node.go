package nodeinfo

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	providerPrefix  = "vultr://"
	wellKnownRegion = "topology.kubernetes.io/region"
)

// node has the fields of core/v1's Node that are used.
type node struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		ProviderID string `json:"providerID"`
	} `json:"spec"`
	Status struct {
		// Attached are volumes by the attach/detach controller, InUse by the kubelet, which knows them earlier.
		Attached []struct {
			Name string `json:"name"`
		} `json:"volumesAttached"`
		InUse []string `json:"volumesInUse"`
	} `json:"status"`
}

// errOtherProvider is returned for the provider ID of another provider, which some distributions set by themselves.
var errOtherProvider = errors.New("is not one of this provider")

// instanceID returns the instance that the provider ID names, "" without a provider ID. What has not exactly our form
// names none.
func (n *node) instanceID() (string, error) {
	id, ours := strings.CutPrefix(n.Spec.ProviderID, providerPrefix)
	switch {
	case n.Spec.ProviderID == "":
		return "", nil
	case !ours:
		return "", errOtherProvider
	case !vultr.IsID(id):
		return "", fmt.Errorf("is not %s and the UUID of an instance", providerPrefix)
	}
	return strings.ToLower(id), nil
}

// about says in an error why the Node names no instance.
func (n *node) about() string {
	if n == nil {
		return "the Node cannot be read"
	}
	if _, err := n.instanceID(); err != nil {
		return fmt.Sprintf("the provider ID of the Node, %q, %s", n.Spec.ProviderID, err)
	}
	return "the Node has no provider ID"
}

// volumes returns the IDs of the driver's volumes that the cluster counts as the node's.
func (n *node) volumes(driver string) []string {
	names := n.Status.InUse
	for _, v := range n.Status.Attached {
		names = append(names, v.Name)
	}
	var ids []string
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, "kubernetes.io/csi/"+driver+"^"); ok {
			ids = append(ids, id)
		}
	}
	return ids
}
