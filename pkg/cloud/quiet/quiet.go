// Package quiet keeps normal waiting out of the Warning Events of Services.
//
// The service controller of k8s.io/cloud-provider makes a Warning Event of every error, also of the one that only
// means "ask again in ten seconds". A load balancer that is being made is no failure: its owner gets one Normal Event
// when it begins and one when it is ready.
package quiet

import (
	"context"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	cloudproviderapi "k8s.io/cloud-provider/api"
)

// mark begins the text of every error that is only a reason to wait, and is found again in the Event made of it.
const mark = "waiting: "

// Wait returns an error that makes the service controller ask again after a fixed time, without a Warning Event.
func Wait(after time.Duration, why string) error {
	return cloudproviderapi.NewRetryError(mark+why, after)
}

// Client returns a client that drops the Warning Events which the service controller makes of Wait's errors.
func Client(client kubernetes.Interface) kubernetes.Interface { return quietClient{client} }

type quietClient struct{ kubernetes.Interface }

// CoreV1 wraps the group that Events belong to.
func (c quietClient) CoreV1() corev1.CoreV1Interface { return quietCore{c.Interface.CoreV1()} }

type quietCore struct{ corev1.CoreV1Interface }

// Events wraps the client that the event broadcaster uses.
func (c quietCore) Events(namespace string) corev1.EventInterface {
	return quietEvents{c.CoreV1Interface.Events(namespace)}
}

type quietEvents struct{ corev1.EventInterface }

// CreateWithEventNamespace is what client-go's sink calls for a new Event.
//
//nolint:staticcheck // must exist as long as the interface has it
func (e quietEvents) CreateWithEventNamespace(event *v1.Event) (*v1.Event, error) {
	if isWaiting(event) {
		return event, nil
	}
	return e.EventInterface.CreateWithEventNamespace(event)
}

// CreateWithEventNamespaceWithContext is what client-go's sink calls for a new Event.
func (e quietEvents) CreateWithEventNamespaceWithContext(ctx context.Context, event *v1.Event) (*v1.Event, error) {
	if isWaiting(event) {
		return event, nil
	}
	return e.EventInterface.CreateWithEventNamespaceWithContext(ctx, event)
}

// PatchWithEventNamespace is what client-go's sink calls for an Event that happened before.
//
//nolint:staticcheck // must exist as long as the interface has it
func (e quietEvents) PatchWithEventNamespace(event *v1.Event, data []byte) (*v1.Event, error) {
	if isWaiting(event) {
		return event, nil
	}
	return e.EventInterface.PatchWithEventNamespace(event, data)
}

// PatchWithEventNamespaceWithContext is what client-go's sink calls for an Event that happened before.
func (e quietEvents) PatchWithEventNamespaceWithContext(ctx context.Context, event *v1.Event, data []byte) (*v1.Event, error) {
	if isWaiting(event) {
		return event, nil
	}
	return e.EventInterface.PatchWithEventNamespaceWithContext(ctx, event, data)
}

// isWaiting tells whether an Event was made of an error of Wait.
func isWaiting(event *v1.Event) bool {
	switch event.Reason {
	case "SyncLoadBalancerFailed", "UpdateLoadBalancerFailed":
		return strings.Contains(event.Message, ": "+mark)
	}
	return false
}
