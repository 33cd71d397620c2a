package events

import (
	"context"
	"fmt"
	"strings"
)

// maxNodes is how many CSINodes are read at most: one that is right is enough.
const maxNodes = 500

// csiNode has the fields of storage/v1's CSINode that are used.
type csiNode struct {
	Spec struct {
		Drivers []struct {
			Name   string `json:"name"`
			NodeID string `json:"nodeID"`
		} `json:"drivers"`
	} `json:"spec"`
}

// NodeIDs returns the IDs of the cluster's nodes by the CSINodes that the kubelets wrote for the driver, of a large cluster
// a part of them. It needs the right to list CSINodes.
func (a *API) NodeIDs(ctx context.Context) ([]string, error) {
	var list struct {
		Items []csiNode `json:"items"`
	}
	if err := a.kube.Get(ctx, fmt.Sprintf("/apis/storage.k8s.io/v1/csinodes?limit=%d", maxNodes), &list); err != nil {
		return nil, fmt.Errorf("listing CSINodes: %w", err)
	}
	var ids []string
	for _, node := range list.Items {
		for _, driver := range node.Spec.Drivers {
			if driver.Name == a.component {
				ids = append(ids, strings.ToLower(driver.NodeID))
			}
		}
	}
	return ids, nil
}
