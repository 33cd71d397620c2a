package blockstore

import (
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The statuses of a volume that are known: it is pending, then active. Of the others only these say by themselves that
// waiting is of no use.
var failedStatuses = map[string]bool{"error": true, "failed": true}

// isFailed reports whether the platform says that the volume can't be used and will not be.
func (d disk) isFailed() bool { return failedStatuses[strings.ToLower(d.status)] }

// asFailed is what a failed volume means to those who wait for it, nil while it has not failed.
func (d disk) asFailed() error {
	if !d.isFailed() {
		return nil
	}
	return volume.Errorf(volume.Busy, "the platform says that volume %s has the status %q: see it in the Vultr console, and ask Vultr's support "+
		"should it stay so", d.ID, d.status)
}

// usable reports whether a volume that was created can be used. The error is for every status but the two that a create goes
// through: whoever asked hears at once what the platform says, and asks again.
func usable(v vultr.Volume) (bool, error) {
	d := fromAPI(v)
	switch {
	case d.Ready:
		return true, nil
	case d.status == "" || strings.EqualFold(d.status, "pending"):
		return false, nil
	case d.isFailed():
		return false, d.asFailed()
	}
	return false, volume.Errorf(volume.Busy, "volume %s has the status %q, which is neither pending nor active; it is looked at again later", d.ID, d.status)
}
