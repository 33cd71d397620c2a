package loadbalancers

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// How long one call waits for a deletion to be seen before the library's backoff takes over.
const (
	deleteWait = 15 * time.Second
	deletePoll = time.Second
)

// EnsureLoadBalancerDeleted deletes the Service's load balancer and returns nil only when the platform says that it
// does not exist. What was not made for this Service is left as it is.
func (b *Balancers) EnsureLoadBalancerDeleted(ctx context.Context, _ string, service *v1.Service) error {
	service = b.newest(service)
	if !plan.Managed(service) {
		if id := value(service, settings.ID); id != "" {
			b.kept(service, fmt.Sprintf("load balancer %s, because %s is false", id, settings.Create))
		}
		return nil
	}
	unlock, err := b.locks.lock(ctx, service.UID)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := b.find(ctx, service)
	if _, taken := errors.AsType[*TakenError](err); taken {
		b.kept(service, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if f != nil && !f.owned {
		b.kept(service, fmt.Sprintf("load balancer %s (%s), because it was not made for this Service", f.lb.ID, f.lb.Label))
		if f, err = b.left(ctx, service, f.lb.ID); err != nil {
			return err
		}
	}
	if f != nil {
		if err := b.delete(ctx, f.lb); err != nil {
			return err
		}
	}
	b.memories.drop(service.UID)
	return b.forgetRecords(ctx, service)
}

// left finds the load balancer that was made for the Service before its owner named another one; nil if there is none.
func (b *Balancers) left(ctx context.Context, service *v1.Service, named string) (*found, error) {
	lb, err := b.made(ctx, service, named)
	if lb == nil || err != nil {
		return nil, err
	}
	err = b.taken(service, *lb)
	if _, taken := errors.AsType[*TakenError](err); taken {
		b.kept(service, err.Error())
		return nil, nil
	}
	return &found{lb: *lb, owned: true}, err
}

// made finds it by the note of its ID, or by the label that it was made with.
func (b *Balancers) made(ctx context.Context, service *v1.Service, named string) (*vultr.LoadBalancer, error) {
	id := value(service, settings.Owned)
	if !vultr.IsID(id) || id == named {
		list, err := b.API.LoadBalancers(ctx, 0)
		if err != nil {
			return nil, fmt.Errorf("looking for the load balancer: %w", err)
		}
		return labelled(list.Items, cloudprovider.DefaultLoadBalancerName(service))
	}
	lb, err := b.API.LoadBalancer(ctx, id)
	if vultr.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load balancer %s: %w", id, err)
	}
	return &lb, nil
}

// forgetRecords takes our notes off a Service that stays, because it is no longer of type LoadBalancer: they would
// send a later load balancer after the one that is gone. An ID that its owner wrote there stays.
func (b *Balancers) forgetRecords(ctx context.Context, service *v1.Service) error {
	if service.DeletionTimestamp != nil {
		return nil
	}
	notes := map[settings.Key]string{settings.Owned: "", settings.Fingerprint: "", settings.FirewallManaged: ""}
	if value(service, settings.ID) == value(service, settings.Owned) {
		notes[settings.ID] = ""
	}
	err := b.record(ctx, service, notes)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the Service is gone; one of the same name with another UID has no such notes
	}
	return err
}

func (b *Balancers) kept(service *v1.Service, what string) {
	b.Recorder.Event(service, v1.EventTypeNormal, "LoadBalancerKept", "Left as it is: "+what)
}

// delete asks for the deletion until it is accepted, and then whether the load balancer exists until it does not.
func (b *Balancers) delete(ctx context.Context, lb vultr.LoadBalancer) error {
	limit := time.Now().Add(deleteWait)
	accepted := false
	for {
		var err error
		if !accepted {
			err = b.API.DeleteLoadBalancer(ctx, lb.ID)
			accepted = err == nil
		}
		if err == nil {
			_, err = b.API.LoadBalancer(ctx, lb.ID)
		}
		switch {
		case vultr.IsNotFound(err):
			klog.FromContext(ctx).Info("Deleted load balancer", "loadBalancer", lb.ID)
			return nil
		case err != nil && !vultr.IsConflict(err):
			return fmt.Errorf("deleting load balancer %s: %w", lb.ID, err)
		case time.Now().After(limit) && err != nil:
			return fmt.Errorf("deleting load balancer %s: %w", lb.ID, err)
		case time.Now().After(limit):
			return fmt.Errorf("load balancer %s still exists after its deletion was accepted", lb.ID)
		}
		if err := sleep(ctx, deletePoll); err != nil {
			return fmt.Errorf("deleting load balancer %s: %w", lb.ID, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
