package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The lease that all cloud controller managers use, and the times of Kubernetes' own components, which the official one keeps.
const (
	ccmLease      = "cloud-controller-manager"
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// ccmHolder begins the identity of a stand-in, by which it is told from this project's.
const ccmHolder = "official-"

// ccm stands in for the official cloud controller manager as far as others notice it without a Service: it stands for election, and
// when it is told to end it leaves the lease as it is, until that expires.
func ccm(ctx context.Context, args []string) error {
	if err := flag.NewFlagSet("ccm", flag.ContinueOnError).Parse(args); err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: ccmLease,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: ccmLease},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: ccmHolder + host + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { fmt.Fprintln(os.Stderr, "official: leads") },
			OnStoppedLeading: func() { fmt.Fprintln(os.Stderr, "official: leads no more") },
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	if ctx.Err() == nil {
		return fmt.Errorf("the lease %s was lost", ccmLease) // which ends the official one, too
	}
	return nil
}
