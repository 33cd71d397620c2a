package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// ErrNoSnapshots is returned where the cluster does not know VolumeSnapshots, or the driver is installed without them and may
// not list them.
var ErrNoSnapshots = errors.New("no VolumeSnapshotContents can be listed")

// snapshotContent is the fields of snapshot.storage.k8s.io/v1's VolumeSnapshotContent that are used.
type snapshotContent struct {
	Spec struct {
		Driver string `json:"driver"`
		Source struct {
			SnapshotHandle string `json:"snapshotHandle"`
		} `json:"source"`
	} `json:"spec"`
	Status struct {
		SnapshotHandle string `json:"snapshotHandle"`
	} `json:"status"`
}

// SnapshotHandles returns the handles of all the driver's snapshots that VolumeSnapshotContents name. It needs the right to list
// those. If any part of the list can't be had there is none.
func (a *API) SnapshotHandles(ctx context.Context) ([]string, error) {
	var handles []string
	_, err := kubeapi.List(ctx, a.kube, "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents", pageOf, func(c snapshotContent) error {
		if c.Spec.Driver == a.component {
			for _, handle := range []string{c.Spec.Source.SnapshotHandle, c.Status.SnapshotHandle} {
				if handle != "" {
					handles = append(handles, handle)
				}
			}
		}
		return nil
	})
	switch {
	case kubeapi.IsNotFound(err), kubeapi.IsForbidden(err):
		return nil, fmt.Errorf("%w: %w", ErrNoSnapshots, err)
	case err != nil:
		return nil, fmt.Errorf("listing VolumeSnapshotContents: %w", err)
	}
	return handles, nil
}
