// Package refusal gives failures of the Vultr API a reason. It is the one place where a status of the API is judged:
// backends use it for every error of the API that they pass on, and package rpcerr makes a gRPC code of the reason.
//
// A status alone says too little, because it depends on what was asked. A 400 to a create is about what the request
// asks for, a size or a region, and the same request can never succeed. A 400 to a change names nothing but an ID and
// what was judged before, so it is the present state that refuses it, and it may be accepted after somebody acted.
package refusal

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// OfCreate is the failure of a create.
func OfCreate(err error, format string, args ...any) error {
	return with(reason(err, volume.Invalid), err, format, args)
}

// OfChange is the failure of any other write, to something that exists.
func OfChange(err error, format string, args ...any) error {
	return with(reason(err, volume.InUse), err, format, args)
}

// OfRead is the failure of a read or of a wait.
func OfRead(err error, format string, args ...any) error {
	return with(reason(err, volume.Busy), err, format, args)
}

// with keeps a reason that the error has already.
func with(r volume.Reason, err error, format string, args []any) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	if r == 0 || volume.ReasonOf(err) != 0 {
		return err
	}
	return volume.Errorf(r, "%w", err)
}

// reason judges a failure of the API; refused is what a refusal of the content means. It is 0 for an ended context and
// for what did not come from the API.
//
// The callers of the driver take most codes as final: the provisioner then forgets a create and believes that nothing
// was made. So whatever may have had an effect, and whatever has nothing to do with the request (a refused key, a rate
// limit, an outage), is Busy, which is retried.
func reason(err error, refused volume.Reason) volume.Reason {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return 0
	}
	_, fromAPI := errors.AsType[*vultr.Error](err)
	_, short := errors.AsType[*vultr.ShortListError](err)
	switch {
	case errors.Is(err, vultr.ErrSettling), short:
		return volume.Busy
	case !fromAPI:
		return 0
	case vultr.IsOutcomeUnknown(err), vultr.IsConflict(err):
		return volume.Busy
	case vultr.IsLimit(err) && refused == volume.Invalid:
		return volume.Exhausted // the account can have no more, or no more here
	case vultr.IsNotFound(err) && refused == volume.Invalid:
		return volume.Invalid // a create names a region or a source that does not exist
	case vultr.IsNotFound(err):
		return volume.NotFound
	case vultr.IsInvalid(err):
		return refused
	}
	return volume.Busy
}
