package servicelb_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// tapped is a cloud whose answers a test can hold, change or lose, at the very place where the controller waits for them.
type tapped struct {
	servicelb.API
	create func(ctx context.Context, do func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error)
	update func(ctx context.Context, settings vultr.LoadBalancerSettings, do func() error) error
	remove func(id string, do func() error) error
	hidden atomic.Bool // reads show no load balancer
	shown  func(*vultr.LoadBalancer)
}

func (a *tapped) LoadBalancer(ctx context.Context, id string) (vultr.LoadBalancer, error) {
	if a.hidden.Load() {
		return vultr.LoadBalancer{}, &vultr.Error{Op: "get load balancer", Status: http.StatusNotFound, Message: "not found"}
	}
	return a.API.LoadBalancer(ctx, id)
}

func (a *tapped) LoadBalancers(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.LoadBalancer], error) {
	if a.hidden.Load() {
		return vultr.List[vultr.LoadBalancer]{Began: time.Now()}, nil
	}
	list, err := a.API.LoadBalancers(ctx, maxAge)
	if a.shown != nil {
		list.Items = slices.Clone(list.Items)
		for i := range list.Items {
			a.shown(&list.Items[i])
		}
	}
	return list, err
}

func (a *tapped) CreateLoadBalancer(ctx context.Context, region string, settings vultr.LoadBalancerSettings) (vultr.LoadBalancer, error) {
	do := func() (vultr.LoadBalancer, error) {
		return a.API.CreateLoadBalancer(context.WithoutCancel(ctx), region, settings)
	}
	if a.create == nil {
		return do()
	}
	return a.create(ctx, do)
}

func (a *tapped) UpdateLoadBalancer(ctx context.Context, id string, settings vultr.LoadBalancerSettings) error {
	do := func() error { return a.API.UpdateLoadBalancer(ctx, id, settings) }
	if a.update == nil {
		return do()
	}
	return a.update(ctx, settings, do)
}

func (a *tapped) DeleteLoadBalancer(ctx context.Context, id string) error {
	do := func() error { return a.API.DeleteLoadBalancer(context.WithoutCancel(ctx), id) }
	if a.remove == nil {
		return do()
	}
	return a.remove(id, do)
}

// tap runs a new process behind a cloud that can be tapped.
func (w *world) tap() *tapped {
	w.Helper()
	a := &tapped{API: w.newClient(w.cloud.Key)}
	w.startWith(a)
	return a
}

// lost is what the client returns when it does not know what became of a request.
func lost() error {
	return &vultr.Error{Op: "test", Unknown: true, Err: errors.New("connection reset")}
}

// refuse lets the API server refuse requests of a kind as long as the returned switch is on.
func (w *world) refuse(verb, resource string, err error) *atomic.Bool {
	var on atomic.Bool
	w.react(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) { return on.Load(), nil, err })
	return &on
}

// patches returns the patches of Services since the test began.
func (w *world) patches(subresource string) [][]byte {
	var all [][]byte
	for _, action := range w.client.Actions() {
		if patch, ok := action.(clienttesting.PatchAction); ok && patch.GetResource().Resource == "services" && patch.GetSubresource() == subresource {
			all = append(all, patch.GetPatch())
		}
	}
	return all
}

func count(events []string, part string) int {
	n := 0
	for _, event := range events {
		if has([]string{event}, part) {
			n++
		}
	}
	return n
}
