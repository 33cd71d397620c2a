package events

import (
	"context"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// pageOf is how many PersistentVolumes are read at a time.
const pageOf = 500

// persistentVolume is the fields of core/v1's PersistentVolume that are used.
type persistentVolume struct {
	Spec struct {
		CSI *struct {
			Driver       string `json:"driver"`
			VolumeHandle string `json:"volumeHandle"`
		} `json:"csi"`
		ClaimRef struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
			UID       string `json:"uid"`
		} `json:"claimRef"`
	} `json:"spec"`
}

// eachVolume calls a function for each PersistentVolume of the driver, with the handle of its volume and its claim, which is
// not Known if it has none. If any part of the list can't be had there is an error, and what was called for is a part.
func eachVolume(ctx context.Context, kube *kubeapi.Client, driver string, do func(handle string, claim Claim)) error {
	_, err := kubeapi.List(ctx, kube, "/api/v1/persistentvolumes", pageOf, func(v persistentVolume) error {
		if v.Spec.CSI != nil && v.Spec.CSI.Driver == driver {
			do(v.Spec.CSI.VolumeHandle, Claim{Namespace: v.Spec.ClaimRef.Namespace, Name: v.Spec.ClaimRef.Name, UID: v.Spec.ClaimRef.UID})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing PersistentVolumes: %w", err)
	}
	return nil
}

// PersistentVolume is one of the driver's PersistentVolumes.
type PersistentVolume struct {
	// Handle is the ID of its volume.
	Handle string
	// Claim is whose it is, or was until it was released; it is not Known if it never was anybody's.
	Claim Claim
}

// PersistentVolumes returns all of the driver's PersistentVolumes. It needs the right to list them. If any part of the list can't
// be had there is none.
func (a *API) PersistentVolumes(ctx context.Context) ([]PersistentVolume, error) {
	var all []PersistentVolume
	if err := eachVolume(ctx, a.kube, a.component, func(handle string, claim Claim) { all = append(all, PersistentVolume{handle, claim}) }); err != nil {
		return nil, err
	}
	return all, nil
}
