package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// handedOverIn is how long nobody may lead after the CCM that did was told to end: a stand-by looks every 2 to 4.4 s. Without
// the lease given back it would be 15 s more.
const handedOverIn = 10 * time.Second

// ccmHandsOver ends the CCM that works as a rolling update does: it gives its lease back, and the other one works soon.
func ccmHandsOver(ctx context.Context, w *World) (string, error) {
	if err := w.wait(ctx, "both CCMs are ready", w.productRuns); err != nil {
		return "", err
	}
	node, err := w.leaseHolder(ctx, ccmLease)
	if err != nil {
		return "", err
	}
	pod, err := w.podOn(ctx, "app=vultr-ccm", node)
	if err != nil {
		return "", err
	}
	before, err := w.leadingCCM(ctx)
	if err != nil {
		return "", err
	}
	told := time.Now()
	if err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	err = w.wait(ctx, "another CCM holds the lease", func(ctx context.Context) error {
		now, err := w.leadingCCM(ctx)
		if err == nil && (now == "" || now == before) {
			err = errors.New("it is held by " + now)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	took := time.Since(told)
	if took > handedOverIn {
		return "", fmt.Errorf("another CCM leads after %.1f s, the limit is %s", took.Seconds(), handedOverIn)
	}
	return fmt.Sprintf("another one leads after %.1f s", took.Seconds()), w.wait(ctx, "both CCMs are ready again", w.productRuns)
}

// leadingCCM is the name of the process that holds the CCM's lease, "" if nobody does.
func (w *World) leadingCCM(ctx context.Context) (string, error) {
	lease, err := w.Kubernetes.CoordinationV1().Leases(metav1.NamespaceSystem).Get(ctx, ccmLease, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return "", err
	}
	return *lease.Spec.HolderIdentity, nil
}
