package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// ccmKilled kills the CCM whose request the API holds after the work: the other
// replica finds the load balancer that was made instead of making another.
func ccmKilled(ctx context.Context, w *World) (string, error) {
	return w.within(ctx, "balancer-after", func(ctx context.Context, w *World) (string, error) {
		fault, err := w.AddFault(ctx, cluster.Fault{Operation: "create_load_balancer", Action: "hold-after", Times: 1})
		if err != nil {
			return "", err
		}
		if err := CreateWeb(ctx, w.Kubernetes, w.Namespace); err != nil {
			return "", err
		}
		if err := w.WaitHeld(ctx, fault); err != nil {
			return "", err
		}
		if err := w.killCCM(ctx); err != nil {
			return "", err
		}
		if err := w.EndFaults(ctx); err != nil {
			return "", err
		}
		address, err := w.balancerAddress(ctx)
		if err != nil {
			return "", err
		}
		if err := w.wait(ctx, "both pods answer", func(ctx context.Context) error { return w.bothAnswer(ctx, address) }); err != nil {
			return "", err
		}
		balancers, err := w.Cloud.Balancers(ctx)
		if err == nil && len(balancers) != 1 {
			err = fmt.Errorf("%d load balancers instead of 1", len(balancers))
		}
		return "one load balancer, it answers at " + address, err
	})
}

// killCCM kills the CCM that works.
func (w *World) killCCM(ctx context.Context) error {
	node, err := w.leaseHolder(ctx, ccmLease)
	if err != nil {
		return err
	}
	pod, err := w.podOn(ctx, "app=vultr-ccm", node)
	if err != nil {
		return err
	}
	return w.killPod(ctx, pod.Name, "--cloud-provider=vultr")
}

// outage is how long the API is away.
const outage = time.Minute

// minuteWithoutAPI resets every connection to the API for a minute. What runs
// goes on, no node is deleted, and what was asked for meanwhile is done afterwards.
func minuteWithoutAPI(ctx context.Context, w *World) (string, error) {
	return w.within(ctx, "outage", func(ctx context.Context, w *World) (string, error) {
		if err := w.createDatabasePod(ctx); err != nil {
			return "", err
		}
		if _, err := w.oneDiskWorks(ctx); err != nil {
			return "", err
		}
		disks, err := w.Disks(ctx)
		if err != nil {
			return "", err
		}
		if _, err := w.AddFault(ctx, cluster.Fault{Path: "^/v2/", Action: "reset-before"}); err != nil {
			return "", err
		}
		if err := w.askMeanwhile(ctx); err != nil {
			return "", err
		}
		records, err := w.worksThrough(ctx)
		if err != nil {
			return "", err
		}
		if err := w.EndFaults(ctx); err != nil {
			return "", err
		}
		after, err := w.Disks(ctx)
		if err != nil {
			return "", err
		}
		if !slices.Equal(after, disks) {
			return "", fmt.Errorf("disks were %v and are %v", disks, after)
		}
		end := time.Now()
		if _, err := w.readyPod(ctx, raw, ""); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d records written meanwhile; a disk asked for meanwhile was there %s after it",
			records, time.Since(end).Round(time.Second)), nil
	})
}

// askMeanwhile asks for a disk while there is no API.
func (w *World) askMeanwhile(ctx context.Context) error {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: raw}, Spec: claimSpec("vultr-nvme", corev1.PersistentVolumeBlock)}
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, claimPod(raw, true), metav1.CreateOptions{})
	return err
}

// worksThrough writes a record every two seconds until the outage is over, and
// checks that no node was replaced or lost.
func (w *World) worksThrough(ctx context.Context) (int, error) {
	before, err := w.nodeUIDs(ctx)
	if err != nil {
		return 0, err
	}
	pod, err := w.readyPod(ctx, database, "")
	if err != nil {
		return 0, err
	}
	over := time.After(outage)
	for records := 0; ; records++ {
		if err := w.addRecord(ctx, pod, fmt.Sprint(records)); err != nil {
			return records, err
		}
		now, err := w.nodeUIDs(ctx)
		if err != nil {
			return records, err
		}
		if !maps.Equal(now, before) {
			return records, fmt.Errorf("nodes were %v and are %v", before, now)
		}
		select {
		case <-over:
			return records + 1, nil
		case <-ctx.Done():
			return records, ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

// nodeUIDs maps the nodes' names to their objects' UIDs; every one has to be ready.
func (w *World) nodeUIDs(ctx context.Context) (map[string]string, error) {
	nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	uids := map[string]string{}
	for i := range nodes.Items {
		if err := cluster.NodeReady(&nodes.Items[i]); err != nil {
			return nil, err
		}
		uids[nodes.Items[i].Name] = string(nodes.Items[i].UID)
	}
	if len(uids) == 0 {
		return nil, errors.New("there are no nodes")
	}
	return uids, nil
}
