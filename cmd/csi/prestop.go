package main

import (
	"context"
	"os"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/drainwait"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/identity"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// preStop is what the kubelet runs before it ends the node plugin. What it prints shows only when it fails, in the Event
// FailedPreStopHook of the pod.
func preStop(ctx context.Context, cfg Config) error {
	if _, err := setUpLogging(cfg); err != nil {
		return err
	}
	kube, err := kubeapi.InCluster(os.Getenv, cfg.AccountDir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.PreStopTimeout)
	defer cancel()
	return (&drainwait.Waiter{Kube: kube, NodeName: cfg.NodeName, Driver: identity.DriverName}).Wait(ctx)
}
