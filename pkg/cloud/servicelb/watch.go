package servicelb

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// watch shows what a sync came to for each Service that it was about. The end of the process is no outcome.
func (c *Controller) watch(ctx context.Context, name key, about []verdict, err error) {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	if about == nil {
		service, lookErr := c.services.Services(name.Namespace).Get(name.Name)
		if lookErr != nil {
			watchState(name, stateNone, time.Now())
			return
		}
		about = []verdict{{service, err}}
	}
	for _, of := range about {
		watchState(nameOf(of.service), c.stateAfter(of.service, of.err), time.Now())
	}
}

// errPortsTaken says that a Service does not have all of its ports on the load balancer that it shares.
var errPortsTaken = errors.New("ports of the Service are not served")

// verdicts returns what a sync that came to this error came to for each of those that share the load balancer, nil if nobody
// does.
func (s *scene) verdicts(whole error) []verdict {
	var all []verdict
	i := 0 // among those that were merged
	for _, m := range s.members {
		err := both(whole, m.fault())
		switch {
		case m.waits != nil:
		case i < len(s.whole.Refused):
			if len(s.whole.Refused[i]) > 0 {
				err = both(err, errPortsTaken)
			}
			i++
		}
		all = append(all, verdict{m.service, err})
	}
	return all
}

// watchRulesOf shows how many rules a load balancer has, at each Service that it serves: the platform allows that many in all.
func watchRulesOf(s *scene, rules int) {
	for _, m := range s.served() {
		watchRules(nameOf(m.service), rules)
	}
}

// watchChanged shows what a change of a load balancer has made of its rules and its nodes.
func watchChanged(s *scene, want plan.Desired, sent vultr.LoadBalancerSettings) {
	if !want.KeepRules {
		watchRulesOf(s, len(want.Rules))
	}
	if sent.Nodes != nil {
		watchNodesOf(s, *sent.Nodes)
	}
}

// watchNodesOf shows how many nodes of its own a load balancer has: the platform charges for each, and does not tell what. It is shown
// at one Service alone, so that a sum has each load balancer once: the oldest that is served, whose node-count decides. Faults of
// that one change nothing, so the cost does not move to another Namespace with them.
func watchNodesOf(s *scene, nodes int) {
	oldest := s.served()[0].service
	for _, m := range s.members {
		if m.service.UID != oldest.UID {
			forgetNodes(nameOf(m.service))
		}
	}
	watchNodes(nameOf(oldest), max(nodes, 1)) // without any it would not serve
}

// forgetNodesOf is for a load balancer that is proven to be gone.
func forgetNodesOf(s *scene) {
	forgetNodes(nameOf(s.service))
	for _, m := range s.members {
		forgetNodes(nameOf(m.service))
	}
}

// watchCertificate shows when the certificate expires, at the Service whose it is alone.
func watchCertificate(s *scene, at time.Time) {
	for _, m := range s.served() {
		if m.service.UID == s.certifier().UID {
			watchExpiry(nameOf(m.service), at)
		} else {
			forgetExpiry(nameOf(m.service))
		}
	}
}

func forgetCertificate(s *scene) {
	for _, m := range s.served() {
		forgetExpiry(nameOf(m.service))
	}
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
