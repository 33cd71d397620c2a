package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/pending"
)

// late warns of an attach or a detach for which the platform takes long. Of all other operations the sidecars and the kubelet
// write Events, with the driver's words; and so they do where somebody has to act. The words do not change from call to call,
// so it is one Event an hour.
func late(warner events.Warner) func(context.Context, pending.Operation, codes.Code) {
	return func(ctx context.Context, op pending.Operation, code codes.Code) {
		if code != codes.Unavailable && code != codes.DeadlineExceeded && code != codes.Aborted {
			return
		}
		var reason, words string
		switch op.Method {
		case "ControllerPublishVolume":
			reason, words = events.AttachPending, "not attached to instance %s, %s after it was asked for: its pod waits"
		case "ControllerUnpublishVolume":
			reason, words = events.DetachPending, "not detached from instance %s, %s after it was asked for: a pod elsewhere that needs it waits"
		default:
			return
		}
		warner.Warn(ctx, events.Claim{Volume: op.Subject}, reason, fmt.Sprintf("Volume %s is "+words+". `kubectl describe volumeattachment` says what is waited for. "+
			"It goes on by itself; should it stay so, see the instance in the Vultr console", op.Subject, op.Place, pending.LateAfter))
	}
}
