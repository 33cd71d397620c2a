// Package rpcerr gives the errors of the driver their gRPC codes. A code follows from an error's reason; which reason
// a failure of the platform's API has is decided in package refusal.
package rpcerr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

var codeOfReason = map[volume.Reason]codes.Code{
	volume.Invalid:    codes.InvalidArgument,
	volume.NotFound:   codes.NotFound,
	volume.Exists:     codes.AlreadyExists,
	volume.OutOfRange: codes.OutOfRange,
	volume.InUse:      codes.FailedPrecondition,
	volume.Exhausted:  codes.ResourceExhausted,
	volume.Busy:       codes.Unavailable,
	volume.Denied:     codes.Unauthenticated,
}

// Status turns an error into one with a code: that of its reason, else that of the end of its context, else Internal.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(code(err), err.Error())
}

func code(err error) codes.Code {
	if c, ok := codeOfReason[volume.ReasonOf(err)]; ok {
		return c
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.Internal
}

// CheckVolumeID judges a volume ID by its form alone: one that is missing is invalid, one that is no UUID names
// nothing that exists, which needs no look anywhere.
func CheckVolumeID(id string) error {
	if id == "" {
		return status.Error(codes.InvalidArgument, "volume_id is missing")
	}
	if !volume.ValidID(id) {
		return status.Errorf(codes.NotFound, "volume %q does not exist: IDs of volumes are UUIDs", id)
	}
	return nil
}

// About names what an error is about, unless its text does: who reads it in a log or an Event has no request beside it. nil, and an
// error that has its code already, stay as they are.
func About(err error, what, id string) error {
	if err == nil || id == "" || strings.Contains(strings.ToLower(err.Error()), strings.ToLower(id)) {
		return err
	}
	if _, coded := status.FromError(err); coded {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, id, err)
}
