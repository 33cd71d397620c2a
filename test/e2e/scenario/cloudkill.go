package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// cloudKilled kills the simulated cloud with SIGKILL when it has begun an attach that nobody has the answer to, with
// a load balancer in use. Started again on its state it goes on: one of everything, at the same address.
func cloudKilled(ctx context.Context, w *World) (string, error) {
	return w.within(ctx, "cloud-killed", func(ctx context.Context, w *World) (string, error) {
		if err := CreateWeb(ctx, w.Kubernetes, w.Namespace); err != nil {
			return "", err
		}
		address, err := w.balancerAddress(ctx)
		if err != nil {
			return "", err
		}
		answers := func(ctx context.Context) error { return w.bothAnswer(ctx, address) }
		if err := w.wait(ctx, "both pods answer", answers); err != nil {
			return "", err
		}
		before, err := w.balancerAt(ctx, address)
		if err != nil {
			return "", err
		}
		if err := w.killInAttach(ctx); err != nil {
			return "", err
		}
		if err := answers(ctx); err == nil {
			return "", errors.New("the load balancer answers although the cloud is dead")
		}
		if err := w.EnsureCloud(ctx); err != nil {
			return "", err
		}
		start := time.Now()
		if err := w.wait(ctx, "both pods answer again", answers); err != nil {
			return "", err
		}
		back := time.Since(start)
		detail, err := w.oneDiskWorks(ctx)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s; the load balancer answered %.1f s after the restart", detail, back.Seconds()), w.sameBalancer(ctx, before)
	})
}

// killInAttach asks for a disk and kills the cloud when it has done the attach's first half.
func (w *World) killInAttach(ctx context.Context) error {
	fault, err := w.AddFault(ctx, cluster.Fault{Operation: "attach_block", Action: "hold-after", Times: 1})
	if err != nil {
		return err
	}
	if err := w.createDatabasePod(ctx); err != nil {
		return err
	}
	if err := w.WaitHeld(ctx, fault); err != nil {
		return err
	}
	return w.KillCloud(ctx)
}

// sameBalancer checks that the load balancer of before is still the only one, and as it was.
func (w *World) sameBalancer(ctx context.Context, before cluster.CloudBalancer) error {
	balancers, err := w.Cloud.Balancers(ctx)
	if err != nil {
		return err
	}
	if len(balancers) != 1 {
		return fmt.Errorf("%d load balancers instead of 1", len(balancers))
	}
	after := balancers[0]
	if after.ID != before.ID || after.IPv4 != before.IPv4 || !slices.Equal(after.Instances, before.Instances) || !slices.Equal(after.Rules, before.Rules) {
		return fmt.Errorf("the load balancer was %+v and is %+v", before, after)
	}
	return nil
}
