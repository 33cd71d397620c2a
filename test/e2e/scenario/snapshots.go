package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// The page with the manifests that these scenarios apply, and the names that they have there.
const (
	snapshotsPage = "snapshots.md"
	sourceClaim   = "data"
	todaySnapshot = "data-today"
	restoredClaim = "data-restored"
	largerClaim   = "data-larger"
	cloneClaim    = "data-clone"
)

const (
	deleteClass = "vultr-block-storage"
	retainClass = "vultr-block-storage-retain"
)

// The kinds of VolumeSnapshots.
var (
	snapshotKind        = snapshotResource("volumesnapshots")
	snapshotContentKind = snapshotResource("volumesnapshotcontents")
	snapshotClassKind   = snapshotResource("volumesnapshotclasses")
)

func snapshotResource(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: resource}
}

// snapshotRestored takes a snapshot of a volume in use, makes two volumes of it, of which one is larger, and deletes it. One
// of the two is on the source's node, the other one elsewhere.
func snapshotRestored(ctx context.Context, w *World, class string) (string, error) {
	source, sum, err := w.startSource(ctx, class)
	if err != nil {
		return "", err
	}
	handle, then, err := w.snapshotInUse(ctx, source)
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, source, "after the snapshot"); err != nil {
		return "", err
	}
	restored, err := w.startRestored(ctx, class, source)
	if err != nil {
		return "", err
	}
	for _, pod := range restored {
		if err := errors.Join(w.hasBulk(ctx, pod, "", sum), w.hasMoment(ctx, pod, then)); err != nil {
			return "", err
		}
	}
	grown, err := w.grownTo(ctx, restored, source)
	if err != nil {
		return "", err
	}
	if err := w.sourceUnharmed(ctx, source, sum, append(then.afterwards, "after the snapshot")); err != nil {
		return "", err
	}
	if err := w.endSnapshot(ctx, todaySnapshot, handle); err != nil {
		return "", err
	}
	for _, pod := range restored {
		if err := w.hasBulk(ctx, pod, "", sum); err != nil {
			return "", fmt.Errorf("after the snapshot was deleted: %w", err)
		}
	}
	return fmt.Sprintf("%d records and a bulk of data came back on %s and %s, %s; the source was written to all the time; the snapshot is deleted",
		len(then.before), restored[0].Spec.NodeName, restored[1].Spec.NodeName, grown), nil
}

// moment is when a snapshot was taken: which records were confirmed before it was asked for, and which after it was there.
type moment struct{ before, afterwards []string }

// snapshotInUse takes a snapshot of a volume that is written to.
func (w *World) snapshotInUse(ctx context.Context, source *corev1.Pod) (handle string, then moment, err error) {
	writes := w.startWriting(ctx, source)
	// The end is awaited in any case: nothing may go on writing when the namespace is deleted.
	defer func() {
		var writeErr error
		then.afterwards, writeErr = writes.end()
		err = errors.Join(err, writeErr)
	}()
	const enough = 20
	err = w.wait(ctx, "some records are written", func(context.Context) error {
		if then.before = writes.confirmed(); len(then.before) < enough {
			return fmt.Errorf("%d are", len(then.before))
		}
		return nil
	})
	if err != nil {
		return "", then, err
	}
	handle, err = w.takeSnapshot(ctx, todaySnapshot, deleteClass)
	return handle, then, err
}

// startSource starts a database on a new claim and has it write some megabytes.
func (w *World) startSource(ctx context.Context, class string) (*corev1.Pod, string, error) {
	if err := w.createClaim(ctx, sourceClaim, class, corev1.PersistentVolumeFilesystem); err != nil {
		return nil, "", err
	}
	pods, err := w.startPods(ctx, podOnClaim(sourceClaim, sourceClaim, ""))
	if err != nil {
		return nil, "", err
	}
	sum, err := w.writeBulk(ctx, pods[0])
	return pods[0], sum, err
}

// takeSnapshot takes the snapshot that the documentation shows, by a class and name, and returns its ID in the cloud when it
// is ready to use.
func (w *World) takeSnapshot(ctx context.Context, name, class string) (string, error) {
	var object unstructured.Unstructured
	if err := w.documented(snapshotsPage, "VolumeSnapshot", todaySnapshot, &object.Object); err != nil {
		return "", err
	}
	object.SetName(name)
	if err := unstructured.SetNestedField(object.Object, class, "spec", "volumeSnapshotClassName"); err != nil {
		return "", err
	}
	return w.createSnapshot(ctx, &object)
}

// createSnapshot creates a VolumeSnapshot and waits until it is ready.
func (w *World) createSnapshot(ctx context.Context, object *unstructured.Unstructured) (string, error) {
	client, err := w.Dynamic()
	if err != nil {
		return "", err
	}
	snapshots := client.Resource(snapshotKind).Namespace(w.Namespace)
	if _, err := snapshots.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	var content string
	err = w.wait(ctx, "the snapshot "+object.GetName()+" is ready to use", func(ctx context.Context) error {
		now, err := snapshots.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		status, _, err := unstructured.NestedMap(now.Object, "status")
		if err != nil {
			return err
		}
		if ready, _ := status["readyToUse"].(bool); !ready {
			return fmt.Errorf("its status is %v", status)
		}
		content, _ = status["boundVolumeSnapshotContentName"].(string)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("%w; %s", err, w.events(context.WithoutCancel(ctx), object.GetName()))
	}
	made, err := client.Resource(snapshotContentKind).Get(ctx, content, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	handle, _, err := unstructured.NestedString(made.Object, "status", "snapshotHandle")
	if err != nil {
		return "", err
	}
	return handle, w.completeInCloud(ctx, handle)
}

// completeInCloud checks that what is called ready is complete.
func (w *World) completeInCloud(ctx context.Context, id string) error {
	all, err := w.Snapshots(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s cluster.CloudSnapshot) bool { return s.ID == id })
	if i < 0 {
		return fmt.Errorf("the cloud has no snapshot %q, but %v", id, all)
	}
	if all[i].State != "COMPLETE" || all[i].Size != 10<<30 {
		return fmt.Errorf("a snapshot that is called ready is %+v", all[i])
	}
	return nil
}

// startRestored makes two volumes of the snapshot, as the documentation shows it: one on the source's node, and one of twice
// the size on another node.
func (w *World) startRestored(ctx context.Context, class string, source *corev1.Pod) ([]*corev1.Pod, error) {
	return w.startCopies(ctx, source, func(claim *corev1.PersistentVolumeClaim) error {
		err := w.documented(snapshotsPage, "PersistentVolumeClaim", restoredClaim, claim)
		claim.Spec.StorageClassName = &class
		return err
	})
}

// startCopies starts a pod on a claim beside the source, and one on a claim of twice the size on another node.
func (w *World) startCopies(ctx context.Context, source *corev1.Pod, manifest func(*corev1.PersistentVolumeClaim) error) ([]*corev1.Pod, error) {
	nodes, err := w.readyNodes(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(nodes, func(node string) bool { return node != source.Spec.NodeName })
	if i < 0 {
		return nil, fmt.Errorf("there is no other node than %s", source.Spec.NodeName)
	}
	var same, larger corev1.PersistentVolumeClaim
	if err := errors.Join(manifest(&same), manifest(&larger)); err != nil {
		return nil, err
	}
	larger.Name = largerClaim
	larger.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("20Gi")
	for _, claim := range []*corev1.PersistentVolumeClaim{&same, &larger} {
		if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	return w.startPods(ctx, podOnClaim(same.Name, same.Name, source.Spec.NodeName), podOnClaim(larger.Name, larger.Name, nodes[i]))
}

// hasMoment checks that a copy of a database is that of one moment: it has all that was confirmed before, and of what was
// written meanwhile the first part, without a gap.
func (w *World) hasMoment(ctx context.Context, pod *corev1.Pod, then moment) error {
	text, err := w.fetch(ctx, podURL(pod)+"/records")
	if err != nil {
		return err
	}
	first, whole := strings.Join(then.before, "\n")+"\n", strings.Join(then.afterwards, "\n")+"\n"
	if !strings.HasPrefix(text, first) || !strings.HasPrefix(whole, text) {
		return fmt.Errorf("pod %s has records that were never the database's: %q; it had %q before, and %q afterwards", pod.Name, text, first, whole)
	}
	return nil
}

// grownTo checks the file systems: one is as large as the source's, one twice that.
func (w *World) grownTo(ctx context.Context, copies []*corev1.Pod, source *corev1.Pod) (string, error) {
	var sizes []int64
	for _, pod := range append(copies, source) {
		size, err := w.databaseSize(ctx, pod)
		if err != nil {
			return "", err
		}
		sizes = append(sizes, size)
	}
	same, larger, original := sizes[0], sizes[1], sizes[2]
	if same != original || larger < 20<<30*9/10 {
		return "", fmt.Errorf("the source's file system has %d bytes, its copy %d, and the larger copy %d", original, same, larger)
	}
	return fmt.Sprintf("their file systems have %d and %d MiB", same>>20, larger>>20), nil
}

// sourceUnharmed checks that a source's pod went on, with all of its data.
func (w *World) sourceUnharmed(ctx context.Context, source *corev1.Pod, sum string, records []string) error {
	if err := w.unharmed(ctx, source); err != nil {
		return err
	}
	if err := w.hasBulk(ctx, source, "", sum); err != nil {
		return err
	}
	return w.hasRecords(ctx, source, records...)
}

// endSnapshot deletes a VolumeSnapshot and waits until it is gone from the cluster.
func (w *World) endSnapshot(ctx context.Context, name, handle string) error {
	client, err := w.Dynamic()
	if err != nil {
		return err
	}
	snapshots := client.Resource(snapshotKind).Namespace(w.Namespace)
	if err := snapshots.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, "the snapshot "+name+" is gone", func(ctx context.Context) error {
		if _, err := snapshots.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("its object is there"), err)
		}
		if handle == "" {
			return nil
		}
		return w.snapshotsGone(ctx, handle)
	})
}

// snapshotHandles lists the cloud's IDs of the namespace's snapshots that go with their objects.
func (w *World) snapshotHandles(ctx context.Context) ([]string, error) {
	client, err := w.Dynamic()
	if err != nil {
		return nil, err
	}
	list, err := client.Resource(snapshotContentKind).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var handles []string
	for _, content := range list.Items {
		namespace, _, _ := unstructured.NestedString(content.Object, "spec", "volumeSnapshotRef", "namespace")
		policy, _, _ := unstructured.NestedString(content.Object, "spec", "deletionPolicy")
		handle, found, _ := unstructured.NestedString(content.Object, "status", "snapshotHandle")
		if namespace == w.Namespace && policy == "Delete" && found {
			handles = append(handles, handle)
		}
	}
	return handles, nil
}
