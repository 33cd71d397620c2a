//go:build !faultpoints

package blockfs

import (
	"context"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// makeHalf is never called in this build.
func makeHalf(context.Context, device.Device, string) error { return nil }
