package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// apart runs a scenario in a namespace of its own, beside others, and removes that afterwards, until the cloud has nothing
// of it left. It touches nothing that is not its own.
func (w *World) apart(ctx context.Context, name string, do func(context.Context, *World) (string, error)) (string, error) {
	inner, err := w.inNamespace(ctx, name)
	if err != nil {
		return "", err
	}
	detail, err := do(ctx, inner)
	if ctx.Err() != nil {
		return "", errors.Join(err, ctx.Err())
	}
	if endErr := inner.endApart(ctx); endErr != nil {
		err = errors.Join(err, fmt.Errorf("clean up: %w", endErr))
	}
	return detail, err
}

// endApart deletes the namespace and waits until what its objects stood for is gone from the cloud.
func (w *World) endApart(ctx context.Context) error {
	volumes, err := w.volumesOf(ctx)
	if err != nil {
		return err
	}
	snapshots, err := w.snapshotHandles(ctx)
	if err != nil {
		return err
	}
	if err := w.deleteNamespace(ctx); err != nil {
		return err
	}
	return w.wait(ctx, "the cloud has nothing left of "+w.Namespace, func(ctx context.Context) error {
		return errors.Join(w.volumesGone(ctx, volumes...), w.snapshotsGone(ctx, snapshots...))
	})
}

// deleteNamespace deletes the namespace with all that is in it and waits until it is gone.
func (w *World) deleteNamespace(ctx context.Context) error {
	background := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
	if err := w.Kubernetes.CoreV1().Namespaces().Delete(ctx, w.Namespace, background); err != nil {
		return err
	}
	return w.wait(ctx, "the namespace "+w.Namespace+" is gone", func(ctx context.Context) error {
		ns, err := w.Kubernetes.CoreV1().Namespaces().Get(ctx, w.Namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it is %s: %s", ns.Status.Phase, remaining(ns))
		}
		return err
	})
}

// volumesOf lists the PersistentVolumes of the namespace's claims; their names are those of the volumes in the cloud.
func (w *World) volumesOf(ctx context.Context) ([]string, error) {
	list, err := w.Kubernetes.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, v := range list.Items {
		if v.Spec.ClaimRef != nil && v.Spec.ClaimRef.Namespace == w.Namespace {
			names = append(names, v.Name)
		}
	}
	return names, nil
}

// labelled reports whether a label in the cloud is a volume's: its name, perhaps with a note in brackets.
func labelled(label, volume string) bool {
	return label == volume || strings.HasPrefix(label, volume+" (")
}

// volumesGone says where the cloud has a volume of one of the names.
func (w *World) volumesGone(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	disks, err := w.Disks(ctx)
	if err != nil {
		return err
	}
	systems, err := w.FileSystems(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		for _, d := range disks {
			if labelled(d.Label, name) {
				return fmt.Errorf("the volume %s is there: %+v", name, d)
			}
		}
		for _, f := range systems {
			if labelled(f.Label, name) {
				return fmt.Errorf("the shared file system %s is there: %+v", name, f)
			}
		}
	}
	return nil
}

// snapshotsGone says that the cloud still has one of the snapshots.
func (w *World) snapshotsGone(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	all, err := w.Snapshots(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(s cluster.CloudSnapshot) bool { return slices.Contains(ids, s.ID) }); i >= 0 {
		return fmt.Errorf("the snapshot is there: %+v", all[i])
	}
	return nil
}
