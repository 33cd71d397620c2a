package servicelb

import (
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/joined"
)

// ownError is what is wrong with what one Service asks for. It names objects of that Service's Namespace, such as Secrets, of which
// those of another Namespace that share the load balancer are not to read.
type ownError struct {
	of  key
	err error
}

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// ownFault returns an error as one that is about a Service alone.
func ownFault(service *v1.Service, err error) error {
	if err == nil {
		return nil
	}
	return &ownError{nameOf(service), err}
}

// toldTo returns an error as the owner of a Service may read it: what is wrong with Services of other Namespaces is their owners' matter.
func toldTo(service *v1.Service, err error) error {
	var told []error
	for _, part := range joined.Errors(err) {
		if own, is := errors.AsType[*ownError](part); is && own.of.Namespace != service.Namespace {
			part = fmt.Errorf("something is wrong with what Service %s asks for, which shares the load balancer; its owner is told what", own.of)
		}
		told = append(told, part)
	}
	if len(told) == 1 {
		return told[0]
	}
	return errors.Join(told...)
}
