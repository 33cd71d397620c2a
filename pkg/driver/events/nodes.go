package events

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// readFor is how long the apiserver may take.
	readFor = 10 * time.Second
	// maxNodes is how many CSINodes are read at most, and maxList how many bytes: one that is right is enough.
	maxNodes, maxList = 500, 32 << 20
)

// csiNodes are the fields of storage/v1's CSINodeList that are used.
type csiNodes struct {
	Items []struct {
		Spec struct {
			Drivers []struct {
				Name   string `json:"name"`
				NodeID string `json:"nodeID"`
			} `json:"drivers"`
		} `json:"spec"`
	} `json:"items"`
}

// NodeIDs returns the IDs of the cluster's nodes by the CSINodes that the kubelets wrote for the driver, of a large cluster
// a part of them. It needs the right to list CSINodes.
func (a *API) NodeIDs(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	target := fmt.Sprintf("https://%s/apis/storage.k8s.io/v1/csinodes?limit=%d", a.host, maxNodes)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("listing CSINodes: %w", err)
	}
	client, token, err := a.account()
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("listing CSINodes: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("listing CSINodes: the apiserver answered %s", resp.Status)
	}
	var list csiNodes
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxList)).Decode(&list); err != nil {
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
