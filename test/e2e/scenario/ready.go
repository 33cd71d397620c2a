package scenario

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Ready makes the world fit for a scenario whatever the one before did to it: the
// product is installed, and there are as many workers as wanted, all of them in use.
func (w *World) Ready(ctx context.Context, workers int) error {
	if err := w.Install(ctx); err != nil {
		return err
	}
	instances, err := w.Instances(ctx)
	if err != nil {
		return err
	}
	for n := len(instances); n < workers; n++ {
		if _, err := w.CreateInstance(ctx, fmt.Sprintf("worker-%d", time.Now().Unix()%100000+int64(n))); err != nil {
			return err
		}
	}
	return w.wait(ctx, fmt.Sprintf("%d workers are in use", workers), func(ctx context.Context) error {
		nodes, err := w.readyNodes(ctx)
		if err != nil {
			return err
		}
		if len(nodes) != workers {
			return fmt.Errorf("ready nodes: %v", nodes)
		}
		return w.productRuns(ctx)
	})
}

// within runs a scenario in a namespace of its own and removes that afterwards,
// until the cloud is as empty as before.
func (w *World) within(ctx context.Context, name string, do func(context.Context, *World) (string, error)) (string, error) {
	inner := *w
	inner.Namespace = name
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := w.Kubernetes.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	if err := w.createXFSClass(ctx); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	detail, err := do(ctx, &inner)
	if err != nil {
		return "", err
	}
	_, err = everythingDeleted(ctx, &inner)
	return detail, err
}
