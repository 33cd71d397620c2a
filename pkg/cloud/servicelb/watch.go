package servicelb

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
)

// watch shows what a sync of the load balancer came to. The end of the process is no outcome.
func (c *Controller) watch(ctx context.Context, name key, err error) {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	is := stateNone
	if service, lookErr := c.services.Services(name.Namespace).Get(name.Name); lookErr == nil {
		is = c.stateAfter(service, err)
	}
	watchState(name, is, time.Now())
}

// stateAfter returns the state of a Service's load balancer after a sync that ended so.
func (c *Controller) stateAfter(service *v1.Service, err error) objectState {
	wanted := c.wanted(service)
	switch {
	case wanted && !plan.Managed(service), !wanted && !servicehelper.HasLBFinalizer(service):
		return stateNone
	case wanted && err == nil:
		return stateReady
	case err == nil: // it was released, or is another class's
		return stateNone
	case !isWait(err):
		return stateFailing
	case wanted:
		return statePending
	}
	return stateDeleting
}

// Why load balancers are not worked on yet.
var (
	errCachesNotSynced = errors.New("the caches of Services and Nodes are not filled yet")
	errLedgerNotLoaded = errors.New("the record of load balancers (ConfigMaps vultr-load-balancers-00 to -3f in kube-system) could not be read yet, so none is made or changed")
)

// Ready returns why load balancers are not worked on yet, nil if they are.
func (c *Controller) Ready() error {
	for _, synced := range c.synced {
		if !synced() {
			return errCachesNotSynced
		}
	}
	if !c.loaded.Load() {
		return errLedgerNotLoaded
	}
	return nil
}
