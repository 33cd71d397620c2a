package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// cloned makes two clones of a volume in use at once, of which one is larger.
func cloned(ctx context.Context, w *World) (string, error) {
	source, sum, err := w.startSource(ctx, xfsClass)
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, source, "before"); err != nil {
		return "", err
	}
	disk, err := w.diskOf(ctx, sourceClaim)
	if err != nil {
		return "", err
	}
	clones, err := w.startCopies(ctx, source, func(claim *corev1.PersistentVolumeClaim) error {
		err := w.documented(snapshotsPage, "PersistentVolumeClaim", cloneClaim, claim)
		claim.Spec.StorageClassName = new(xfsClass)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, source, "after"); err != nil {
		return "", err
	}
	for _, pod := range clones {
		if err := w.hasBulk(ctx, pod, "", sum); err != nil {
			return "", err
		}
		if err := w.hasRecords(ctx, pod, "before"); err != nil {
			return "", err
		}
		if err := w.addRecord(ctx, pod, "of "+pod.Name); err != nil {
			return "", err
		}
	}
	grown, err := w.grownTo(ctx, clones, source)
	if err != nil {
		return "", err
	}
	if err := w.sourceUnharmed(ctx, source, sum, []string{"before", "after"}); err != nil {
		return "", err
	}
	// At once: what is left is swept from time to time, but nothing is to be left.
	if err := w.noSnapshotOf(ctx, disk.ID); err != nil {
		return "", fmt.Errorf("a temporary snapshot is left: %w", err)
	}
	return fmt.Sprintf("two clones at once, on %s and %s, %s; no temporary snapshot is left",
		clones[0].Spec.NodeName, clones[1].Spec.NodeName, grown), nil
}

// noSnapshotOf says which snapshot there is of a disk.
func (w *World) noSnapshotOf(ctx context.Context, disk string) error {
	all, err := w.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.BlockID == disk {
			return fmt.Errorf("there is %+v", s)
		}
	}
	return nil
}

// snapshotKept deletes the VolumeSnapshot of a class that retains, brings the snapshot that stays in the cloud back into the
// cluster as the documentation shows it, and makes a volume of it.
func snapshotKept(ctx context.Context, w *World) (string, error) {
	if err := w.officialClasses(ctx); err != nil {
		return "", err
	}
	source, sum, err := w.startSource(ctx, ext4Class)
	if err != nil {
		return "", err
	}
	handle, err := w.takeSnapshot(ctx, "kept", retainClass)
	if err != nil {
		return "", err
	}
	if err := w.endSnapshot(ctx, "kept", ""); err != nil {
		return "", err
	}
	if err := w.completeInCloud(ctx, handle); err != nil {
		return "", fmt.Errorf("the snapshot was to be retained: %w", err)
	}
	end, err := w.importSnapshot(ctx, handle)
	if err != nil {
		return "", err
	}
	defer end()
	pods, err := w.startCopies(ctx, source, func(claim *corev1.PersistentVolumeClaim) error {
		err := w.documented(snapshotsPage, "PersistentVolumeClaim", restoredClaim, claim)
		if err == nil {
			claim.Spec.DataSource.Name = imported
		}
		return err
	})
	if err != nil {
		return "", err
	}
	for _, pod := range pods {
		if err := w.hasBulk(ctx, pod, "", sum); err != nil {
			return "", err
		}
	}
	if err := w.endSnapshot(ctx, imported, ""); err != nil {
		return "", err
	}
	if err := w.completeInCloud(ctx, handle); err != nil {
		return "", fmt.Errorf("the imported snapshot was to be retained: %w", err)
	}
	return "it outlived its object twice", w.Cloud.Do(ctx, http.MethodDelete, "/v2/blocks/snapshots/"+handle, nil, nil)
}

// imported is what the documentation calls a snapshot that is brought along.
const imported = "imported"

// importSnapshot brings a snapshot of the cloud into the cluster. The function that it returns removes what is not in the
// namespace.
func (w *World) importSnapshot(ctx context.Context, handle string) (func(), error) {
	client, err := w.Dynamic()
	if err != nil {
		return nil, err
	}
	var content, object unstructured.Unstructured
	if err := w.documented(snapshotsPage, "VolumeSnapshotContent", imported, &content.Object); err != nil {
		return nil, err
	}
	if err := w.documented(snapshotsPage, "VolumeSnapshot", imported, &object.Object); err != nil {
		return nil, err
	}
	content.SetName(w.Namespace + "-" + imported) // other namespaces have theirs
	err = errors.Join(unstructured.SetNestedField(content.Object, handle, "spec", "source", "snapshotHandle"),
		unstructured.SetNestedField(content.Object, w.Namespace, "spec", "volumeSnapshotRef", "namespace"),
		unstructured.SetNestedField(object.Object, content.GetName(), "spec", "source", "volumeSnapshotContentName"))
	if err != nil {
		return nil, err
	}
	object.SetNamespace(w.Namespace)
	contents := client.Resource(snapshotContentKind)
	if _, err := contents.Create(ctx, &content, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	end := func() { w.forgetContents(ctx) }
	got, err := w.createSnapshot(ctx, &object)
	if err == nil && got != handle {
		err = fmt.Errorf("the snapshot %s was brought along, the object shows %s", handle, got)
	}
	if err != nil {
		end()
	}
	return end, err
}

// forgetContents removes the VolumeSnapshotContents of the namespace that were retained; a scenario that failed may have left them
// with a finalizer, which the next run does not meet.
func (w *World) forgetContents(ctx context.Context) {
	client, err := w.Dynamic()
	if err != nil {
		return
	}
	contents := client.Resource(snapshotContentKind)
	list, err := contents.List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, c := range list.Items {
		if namespace, _, _ := unstructured.NestedString(c.Object, "spec", "volumeSnapshotRef", "namespace"); namespace == w.Namespace {
			_ = contents.Delete(ctx, c.GetName(), metav1.DeleteOptions{}) // nothing else needs it
		}
	}
}

// officialClasses checks that the classes have the names and the meaning that those of the official driver have.
func (w *World) officialClasses(ctx context.Context) error {
	client, err := w.Dynamic()
	if err != nil {
		return err
	}
	list, err := client.Resource(snapshotClassKind).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var got []string
	for _, class := range list.Items {
		driver, _, _ := unstructured.NestedString(class.Object, "driver")
		policy, _, _ := unstructured.NestedString(class.Object, "deletionPolicy")
		got = append(got, strings.Join([]string{class.GetName(), driver, policy}, " "))
	}
	slices.Sort(got)
	want := []string{deleteClass + " " + driverName + " Delete", retainClass + " " + driverName + " Retain"}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the classes of snapshots are %q, not %q", got, want)
	}
	return nil
}
