package loadbalancers

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/quiet"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// create makes the load balancer of a Service that is proven to have none. Its label is the default name whatever
// the Service wants to call it: the UID in it makes it found again, and as ours, if this process dies before it has
// written down the ID. It gets the name that the Service gives it once it is active.
func (b *Balancers) create(ctx context.Context, service *v1.Service, nodes []*v1.Node, reading plan.Reading) (*v1.LoadBalancerStatus, error) {
	if reading.Err != nil {
		return nil, reading.Err
	}
	if err := reading.MayCreate(); err != nil {
		return nil, err
	}
	if err := b.labelTaken(service, reading.Desired.Label); err != nil {
		return nil, err
	}
	certificate, err := b.certificate(ctx, service, reading.Desired.TLSSecret)
	if err != nil {
		return nil, err
	}
	region, err := b.Region(ctx, nodes)
	if err != nil {
		return nil, err
	}
	name := cloudprovider.DefaultLoadBalancerName(service)
	want := reading.Desired
	want.Label = name
	want.Instances = b.backends(service, nodes, region)
	settings := plan.Creation(want)
	if certificate != nil {
		settings.Certificate = &certificate.PEM
	}
	lb, err := b.API.CreateLoadBalancer(ctx, region, settings)
	if err != nil {
		return nil, b.failedCreate(service, name, err)
	}
	b.Guard.Seen(name)
	m := b.memories.of(service)
	m.id, m.pendingSince = lb.ID, time.Now()
	b.announce(service, lb, m)
	notes := records(&found{lb: lb, owned: true}, certificate)
	noteFirewall(notes, want)
	if err := b.record(ctx, service, notes); err != nil {
		return nil, err
	}
	return b.ready(service, lb, want)
}

// failedCreate makes sure that a create whose outcome is unknown is not repeated before a list shows what became of it.
func (b *Balancers) failedCreate(service *v1.Service, name string, err error) error {
	err = fmt.Errorf("making the load balancer: %w", err)
	if !vultr.IsOutcomeUnknown(err) {
		return err
	}
	b.Guard.AttemptEnded(name)
	b.Recorder.Eventf(service, v1.EventTypeWarning, "CreateOutcomeUnknown",
		"Whether a load balancer was made is not known; it will be looked for before another one is made: %v", err)
	return quiet.Wait(shortestWait, err.Error())
}

func (b *Balancers) announce(service *v1.Service, lb vultr.LoadBalancer, m *memory) {
	if m.lost != "" {
		b.Recorder.Eventf(service, v1.EventTypeWarning, "LoadBalancerRecreated",
			"Load balancer %s does not exist any more; %s is being made in its place and will have another address", m.lost, lb.ID)
		m.lost = ""
		return
	}
	b.Recorder.Eventf(service, v1.EventTypeNormal, "CreatingLoadBalancer",
		"Load balancer %s is being made in region %s; this may take some minutes", lb.ID, lb.Region)
}

// ready returns the Service's status, or the error that makes the library ask again.
func (b *Balancers) ready(service *v1.Service, lb vultr.LoadBalancer, want plan.Desired) (*v1.LoadBalancerStatus, error) {
	m := b.memories.of(service)
	status, ready := plan.Status(lb, service, want, b.LabelInStatus)
	if ready {
		if !m.pendingSince.IsZero() {
			b.pace.took(time.Since(m.pendingSince))
			m.pendingSince = time.Time{}
		}
		return status, nil
	}
	if m.pendingSince.IsZero() {
		m.pendingSince = time.Now()
	}
	what := "is being made (status " + lb.Status + ")"
	if lb.Active() {
		what = "has no address yet"
	}
	return nil, quiet.Wait(b.pace.wait(time.Since(m.pendingSince)), "load balancer "+lb.ID+" "+what)
}

// records returns the annotations that are written down about a load balancer.
func records(f *found, certificate *plan.Certificate) map[settings.Key]string {
	out := map[settings.Key]string{settings.ID: f.lb.ID}
	if f.owned {
		out[settings.Owned] = f.lb.ID
	}
	if certificate != nil {
		out[settings.Fingerprint] = certificate.Fingerprint(f.lb.ID)
	}
	return out
}

// noteFirewall writes down whether the firewall rules come from the Service.
func noteFirewall(notes map[settings.Key]string, want plan.Desired) {
	switch {
	case want.FirewallStated:
		notes[settings.FirewallManaged] = "true"
	case !want.KeepFirewall:
		notes[settings.FirewallManaged] = ""
	}
}
