package loadbalancers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/quiet"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// busyWait is when a change is tried again that the platform refused for now.
const busyWait = 5 * time.Second

// emptyGrace is how long a load balancer keeps its backends when no node can be one any more: more often than a
// cluster loses all its nodes, something is wrong with the list of them.
const emptyGrace = 5 * time.Minute

// update brings a load balancer that exists to what the Service asks for, with one change at most.
func (b *Balancers) update(ctx context.Context, service *v1.Service, nodes []*v1.Node, reading plan.Reading, f *found) (*v1.LoadBalancerStatus, error) {
	b.memories.of(service).id = f.lb.ID
	if !f.lb.Active() {
		if err := b.record(ctx, service, records(f, nil)); err != nil {
			return nil, both(err, reading.Err)
		}
		_, wait := b.ready(service, f.lb, reading.Desired)
		return nil, both(wait, reading.Err)
	}
	want := b.adjusted(service, reading.Desired, f)
	want.Instances = b.backends(service, nodes, f.lb.Region)
	waitEmpty := b.holdLastBackends(service, &want, f.lb)
	if reading.Err != nil {
		// The backends have nothing to do with the faults: what serves goes on serving.
		return nil, both(b.apply(ctx, f.lb, plan.DiffBackends(f.lb, want)), reading.Err)
	}
	certificate, certErr := b.certificate(ctx, service, want.TLSSecret)
	change, remove := plan.DiffTLS(f.lb, want, plan.TLS{Certificate: certificate, Err: certErr, Sent: value(service, settings.Fingerprint)})
	if certErr != nil && !f.lb.HasSSL {
		return nil, both(b.apply(ctx, f.lb, change), certErr)
	}
	if err := b.change(ctx, service, f, want, certificate, change, remove); err != nil {
		return nil, both(err, certErr)
	}
	if certErr != nil {
		return nil, certErr // the old certificate stays
	}
	if waitEmpty != nil {
		return nil, waitEmpty
	}
	return b.ready(service, f.lb, want)
}

// change sends what differs and writes down what was sent.
func (b *Balancers) change(ctx context.Context, service *v1.Service, f *found, want plan.Desired, certificate *plan.Certificate, change plan.Change, remove bool) error {
	if change.Settings.Certificate == nil {
		certificate = nil
	}
	if err := b.recordOwner(ctx, service, f, want); err != nil {
		return err
	}
	if err := b.apply(ctx, f.lb, change); err != nil {
		return err
	}
	if want.Label != "" {
		f.lb.Label = want.Label
	}
	notes := records(f, certificate)
	noteFirewall(notes, want)
	if remove {
		if err := b.API.DeleteCertificate(ctx, f.lb.ID); err != nil && !vultr.IsNotFound(err) {
			return fmt.Errorf("removing the certificate of load balancer %s: %w", f.lb.ID, err)
		}
		notes[settings.Fingerprint] = ""
	}
	return b.record(ctx, service, notes)
}

// recordOwner writes down whose a load balancer is before it gets another label: the one that it has is the only other
// proof, and without one it would outlive its Service.
func (b *Balancers) recordOwner(ctx context.Context, service *v1.Service, f *found, want plan.Desired) error {
	if want.Label == "" || want.Label == f.lb.Label {
		return nil
	}
	return b.record(ctx, service, records(f, nil))
}

// adjusted fills in what depends on whose load balancer it is and who made its settings.
func (b *Balancers) adjusted(service *v1.Service, want plan.Desired, f *found) plan.Desired {
	if f.owned && want.Label == "" {
		want.Label = cloudprovider.DefaultLoadBalancerName(service)
	}
	foreign := !want.FirewallStated && value(service, settings.FirewallManaged) == "" && len(f.lb.Firewall) > 0
	if foreign {
		want.KeepFirewall = true // nobody asked for this load balancer to be opened
	}
	b.tellFirewall(service, foreign, f.lb)
	return want
}

// backends returns the instances behind the nodes and tells about nodes that have to be left out.
func (b *Balancers) backends(service *v1.Service, nodes []*v1.Node, region string) []string {
	instances, skipped := plan.Backends(nodes, region)
	var lasting []string
	for _, skip := range skipped {
		if !skip.Passing {
			lasting = append(lasting, skip.String())
		}
	}
	b.tellSkipped(service, lasting)
	return instances
}

// holdLastBackends leaves the backends as they are for a while when no node can be one, and returns the error that
// makes the library come back when the while is over.
func (b *Balancers) holdLastBackends(service *v1.Service, want *plan.Desired, lb vultr.LoadBalancer) error {
	m := b.memories.of(service)
	if len(want.Instances) > 0 || len(lb.Instances) == 0 {
		m.emptySince = time.Time{}
		return nil
	}
	if m.emptySince.IsZero() {
		m.emptySince = time.Now()
		b.Recorder.Eventf(service, v1.EventTypeWarning, "NoBackends",
			"No node can be a backend; the load balancer keeps its last %d for %s", len(lb.Instances), emptyGrace)
	}
	left := emptyGrace - time.Since(m.emptySince)
	if left <= 0 {
		return nil
	}
	want.KeepInstances = true
	return quiet.Wait(left, "no node can be a backend, the last ones are kept for now")
}

// apply sends a change, if there is any.
func (b *Balancers) apply(ctx context.Context, lb vultr.LoadBalancer, change plan.Change) error {
	if change.Empty() {
		return nil
	}
	logger := klog.FromContext(ctx)
	err := b.API.UpdateLoadBalancer(ctx, lb.ID, change.Settings)
	if vultr.IsInvalid(err) && change.Settings.Instances != nil && !vultr.IsNothingToChange(err) && !vultr.IsConflict(err) {
		err = b.applyWithoutUnknown(ctx, lb, change.Settings, err)
	}
	switch {
	case err == nil:
		logger.Info("Changed load balancer", "loadBalancer", lb.ID, "fields", change.Fields)
		return nil
	case vultr.IsNothingToChange(err):
		return nil
	case vultr.IsConflict(err):
		return quiet.Wait(busyWait, fmt.Sprintf("load balancer %s is busy: %v", lb.ID, err))
	}
	return fmt.Errorf("changing %s of load balancer %s: %w", strings.Join(change.Fields, ", "), lb.ID, err)
}

// applyWithoutUnknown tries once more without new backends that the platform does not know (any more): one instance
// that was just destroyed must not keep the others from being served.
func (b *Balancers) applyWithoutUnknown(ctx context.Context, lb vultr.LoadBalancer, settings vultr.LoadBalancerSettings, refused error) error {
	list, err := b.API.Instances(ctx, 0)
	if err != nil {
		return errors.Join(refused, err)
	}
	known := make([]string, 0, len(list.Items))
	for _, instance := range list.Items {
		known = append(known, instance.ID)
	}
	kept := slices.DeleteFunc(slices.Clone(*settings.Instances), func(id string) bool { return !slices.Contains(known, id) })
	if len(kept) == len(*settings.Instances) || len(kept) == 0 {
		return refused // taking all backends away is not the way out of a refusal
	}
	klog.FromContext(ctx).Info("Leaving out backends that do not exist", "loadBalancer", lb.ID, "error", refused.Error())
	settings.Instances = &kept
	return b.API.UpdateLoadBalancer(ctx, lb.ID, settings)
}
