package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
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

// inNamespace makes a namespace, with the class that scenarios use, and returns the world in it.
func (w *World) inNamespace(ctx context.Context, name string) (*World, error) {
	inner := *w
	inner.Namespace = name
	if err := inner.createNamespace(ctx); err != nil {
		return nil, err
	}
	return &inner, w.createXFSClass(ctx)
}

// createNamespace makes the world's namespace.
func (w *World) createNamespace(ctx context.Context) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace}}
	_, err := w.Kubernetes.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	return err
}

// within runs a scenario in a namespace of its own and removes that afterwards,
// until the cloud is as empty as before. One that fails takes back its faults and
// what it made too, so that the next one does not fail for its sake.
func (w *World) within(ctx context.Context, name string, do func(context.Context, *World) (string, error)) (string, error) {
	inner, err := w.inNamespace(ctx, name)
	if err != nil {
		return "", err
	}
	detail, err := do(ctx, inner)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, inner.giveUp(ctx))
	}
	if err != nil {
		return "", err
	}
	_, err = everythingDeleted(ctx, inner)
	return detail, err
}

// giveUp undoes what a scenario that failed has left: a killed cloud, faults, stopped steps, cordons, objects.
func (w *World) giveUp(ctx context.Context) error {
	for _, undo := range []func(context.Context) error{w.EnsureCloud, w.EndFaults, w.GoOn, w.uncordon} {
		if err := undo(ctx); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	if _, err := everythingDeleted(ctx, w); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// uncordon lets pods go to every node again.
func (w *World) uncordon(ctx context.Context) error {
	nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		if nodes.Items[i].Spec.Unschedulable {
			if err := w.setUnschedulable(ctx, nodes.Items[i].Name, false); err != nil {
				return err
			}
		}
	}
	return nil
}
