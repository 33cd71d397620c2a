package blockstage

import (
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
)

// readAhead has the kernel read ahead of a device, or of the file system on it, as the volume says. A disk that was plugged in
// again has the kernel's own figure, so it comes before each pod gets the volume.
func readAhead(d device.Device, fsType string, v staging.Volume) error {
	kib, wished, err := params.ReadAheadOf(fsType, v.Context)
	if err != nil || !wished {
		return err
	}
	return device.SetReadAhead(d, kib)
}
