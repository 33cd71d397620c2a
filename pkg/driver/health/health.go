// Package health says in CSI's terms what is wrong with volumes. The controller and the node answer alike.
package health

import (
	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

var severities = map[volume.Severity]csi.VolumeHealthErrorType{
	volume.Degraded:     csi.VolumeHealthErrorType_DEGRADED,
	volume.Inaccessible: csi.VolumeHealthErrorType_INACCESSIBLE,
}

// ToCSI shows conditions of a volume. Of several with one severity and one reason the first is kept, as CSI demands.
func ToCSI(id string, conditions []volume.Condition) *csi.VolumeHealth {
	h := &csi.VolumeHealth{VolumeId: id}
	type key struct {
		severity volume.Severity
		reason   string
	}
	had := map[key]bool{}
	for _, c := range conditions {
		k := key{c.Severity, c.Reason}
		if had[k] {
			continue
		}
		had[k] = true
		h.HealthStatuses = append(h.HealthStatuses, &csi.VolumeHealth_VolumeHealthEntry{
			Status: severities[c.Severity], Reason: c.Reason, Message: c.Message,
		})
	}
	return h
}
