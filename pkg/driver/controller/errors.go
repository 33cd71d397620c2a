package controller

import (
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// asStatus gives an error its gRPC code. The callers take most codes as final: the provisioner then forgets a
// create and believes that nothing was made. So whatever may have had an effect, and whatever has nothing to do
// with the request (a refused key, a rate limit, an outage), gets a code that is retried.
func asStatus(err error) error { return rpcerr.Status(err, codeOfAPI) }

// codeOfAPI judges errors of the platform's API, OK for others.
func codeOfAPI(err error) codes.Code {
	_, fromAPI := errors.AsType[*vultr.Error](err)
	switch {
	case errors.Is(err, vultr.ErrSettling):
		return codes.Unavailable
	case !fromAPI:
		return codes.OK
	case vultr.IsOutcomeUnknown(err), vultr.IsConflict(err):
		return codes.Unavailable
	case vultr.IsNotFound(err):
		return codes.NotFound
	case vultr.IsInvalid(err):
		return codes.InvalidArgument
	}
	return codes.Unavailable
}
