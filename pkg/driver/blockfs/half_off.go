//go:build !faultpoints

package blockfs

import (
	"context"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
)

// makeHalf is never called in this build.
func makeHalf(context.Context, device.Device, filesystem.Type, filesystem.Wish) error { return nil }
