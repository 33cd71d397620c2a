package main

import (
	"context"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/pending"
)

// slowCopy is when a volume that is a copy is told about. How long one takes depends on how much the platform copies.
const slowCopy = 5 * time.Minute

// late warns of what the platform takes long for: an attach, a detach, and the content of a volume that is a copy. Of all other
// operations the sidecars and the kubelet write Events, with the driver's words; and so they do where somebody has to act.
// The words change seldom, so it is an Event an hour, and of a copy a few.
func late(warner events.Warner) func(context.Context, pending.Late) {
	return func(ctx context.Context, l pending.Late) {
		if l.Code != codes.Unavailable && l.Code != codes.DeadlineExceeded && l.Code != codes.Aborted {
			return
		}
		if create, ok := l.Request.(*csi.CreateVolumeRequest); ok {
			lateCopy(ctx, warner, create, l.For)
			return
		}
		var reason, words string
		switch l.Method {
		case "ControllerPublishVolume":
			reason, words = events.AttachPending, "not attached to instance %s, %s after it was asked for: its pod waits"
		case "ControllerUnpublishVolume":
			reason, words = events.DetachPending, "not detached from instance %s, %s after it was asked for: a pod elsewhere that needs it waits"
		default:
			return
		}
		warner.Warn(ctx, events.Claim{Volume: l.Subject}, reason, fmt.Sprintf("Volume %s is "+words+". `kubectl describe volumeattachment` says what is waited for. "+
			"It goes on by itself; should it stay so, see the instance in the Vultr console", l.Subject, l.Place, pending.LateAfter))
	}
}

// lateCopy warns of a volume that is made from a snapshot or from another volume.
func lateCopy(ctx context.Context, warner events.Warner, req *csi.CreateVolumeRequest, takes time.Duration) {
	var from string
	switch source := req.GetVolumeContentSource(); {
	case takes < slowCopy:
		return
	case source.GetSnapshot() != nil:
		from = "snapshot " + source.GetSnapshot().GetSnapshotId()
	case source.GetVolume() != nil:
		from = "volume " + source.GetVolume().GetVolumeId()
	default:
		return
	}
	warner.Warn(ctx, params.Claim(req.GetName(), req.GetParameters()), events.CopyPending, fmt.Sprintf("The volume is not made from %s yet, %s after it was asked for. "+
		"The platform copies the content and does not say how much of it is done; the provisioner's Events say what is waited for, and in which state that is. "+
		"It goes on by itself; should it stay so, see the snapshot in the Vultr console", from, pending.Step(takes)))
}
