package events

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// pageOf is how many PersistentVolumes are read at a time, and maxPages bounds what a server that does not end can do.
const pageOf, maxPages = 500, 200

// persistentVolumes are the fields of core/v1's PersistentVolumeList that are used.
type persistentVolumes struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []struct {
		Spec struct {
			CSI *struct {
				Driver       string `json:"driver"`
				VolumeHandle string `json:"volumeHandle"`
			} `json:"csi"`
		} `json:"spec"`
	} `json:"items"`
}

// VolumeHandles returns the handles of all the driver's volumes that PersistentVolumes name. It needs the right to list
// PersistentVolumes. If any part of the list can't be had there is none.
func (a *API) VolumeHandles(ctx context.Context) ([]string, error) {
	var handles []string
	next := ""
	for range maxPages {
		query := url.Values{"limit": {strconv.Itoa(pageOf)}}
		if next != "" {
			query.Set("continue", next)
		}
		var page persistentVolumes
		if err := a.kube.Get(ctx, "/api/v1/persistentvolumes?"+query.Encode(), &page); err != nil {
			return nil, fmt.Errorf("listing PersistentVolumes: %w", err)
		}
		for _, v := range page.Items {
			if v.Spec.CSI != nil && v.Spec.CSI.Driver == a.component {
				handles = append(handles, v.Spec.CSI.VolumeHandle)
			}
		}
		if next = page.Metadata.Continue; next == "" {
			return handles, nil
		}
	}
	return nil, errors.New("listing PersistentVolumes: the list does not end")
}
