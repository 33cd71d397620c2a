package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
)

const (
	database    = "database"
	databasePod = database + "-0"
	// databaseClaim is the name that the StatefulSet gives its claim.
	databaseClaim = "data-" + databasePod
	// xfsClass: xfs, because this machine's kernel lets ext4 grow only offline.
	xfsClass = "demo-xfs"
)

// databaseStarts runs a database on a disk of its own and writes a record.
func databaseStarts(ctx context.Context, w *World) (string, error) {
	if err := w.createXFSClass(ctx); err != nil {
		return "", err
	}
	var pod *corev1.Pod
	err := w.timed(ctx, "claim made to pod running", databasePod, func(ctx context.Context) error {
		_, err := w.Kubernetes.AppsV1().StatefulSets(w.Namespace).Create(ctx, databaseSet(), metav1.CreateOptions{})
		if err == nil {
			pod, err = w.readyPod(ctx, databasePod, "")
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, pod, "first"); err != nil {
		return "", err
	}
	disks, err := w.Disks(ctx)
	if err != nil {
		return "", err
	}
	if len(disks) != 1 {
		return "", fmt.Errorf("%d disks in the cloud instead of 1: %v", len(disks), disks)
	}
	return fmt.Sprintf("disk %s of %d GB, xfs, on %s", disks[0].Serial, disks[0].SizeGB, pod.Spec.NodeName), nil
}

func (w *World) createXFSClass(ctx context.Context) error {
	return w.createClass(ctx, xfsClass, map[string]string{"storage_type": "block", "disk_type": "nvme", "csi.storage.k8s.io/fstype": "xfs"})
}

// createClass makes a StorageClass of the driver's, unless it is there.
func (w *World) createClass(ctx context.Context, name string, parameters map[string]string) error {
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driverName, Parameters: parameters,
		AllowVolumeExpansion: new(true), VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
	}
	_, err := w.Kubernetes.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func databaseSet() *appsv1.StatefulSet {
	labels := map[string]string{"app": database}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: database},
		Spec: appsv1.StatefulSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels}, ServiceName: database,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: databaseSpec("data", false)},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{
				{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: claimSpec(xfsClass, corev1.PersistentVolumeFilesystem)},
			},
		},
	}
}

// databaseSpec is a pod that keeps its records on the volume.
func databaseSpec(volume string, raw bool) corev1.PodSpec {
	container := corev1.Container{Name: database, Image: cache.DatabaseImage, ReadinessProbe: httpProbe("/records")}
	if raw {
		container.Args = []string{"-device=/dev/database"}
		container.VolumeDevices = []corev1.VolumeDevice{{Name: volume, DevicePath: "/dev/database"}}
	} else {
		container.Args = []string{"-dir=/data"}
		container.VolumeMounts = []corev1.VolumeMount{{Name: volume, MountPath: "/data"}}
	}
	return corev1.PodSpec{TerminationGracePeriodSeconds: new(int64(1)), Containers: []corev1.Container{container}}
}

func claimSpec(class string, mode corev1.PersistentVolumeMode) corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class, VolumeMode: &mode,
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
	}
}

// databaseMoves takes the database off its node and reads its records on the other.
func databaseMoves(ctx context.Context, w *World) (string, error) {
	pod, err := w.readyPod(ctx, databasePod, "")
	if err != nil {
		return "", err
	}
	from := pod.Spec.NodeName
	if err := w.setUnschedulable(ctx, from, true); err != nil {
		return "", err
	}
	err = w.timed(ctx, "pod deleted to pod running on the other node", databasePod, func(ctx context.Context) error {
		err := w.Kubernetes.CoreV1().Pods(w.Namespace).Delete(ctx, databasePod, metav1.DeleteOptions{})
		if err == nil {
			pod, err = w.readyPod(ctx, databasePod, from)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if err := w.setUnschedulable(ctx, from, false); err != nil {
		return "", err
	}
	if err := w.hasRecords(ctx, pod, "first"); err != nil {
		return "", err
	}
	driver, _ := w.Report.driver.life()
	w.Report.Add("the driver's calls for both, made, attached and moved, took %s", overIdeal(driver, movedSeconds, movedShownSeconds))
	return fmt.Sprintf("from %s to %s", from, pod.Spec.NodeName), w.addRecord(ctx, pod, "second")
}

func (w *World) setUnschedulable(ctx context.Context, node string, value bool) error {
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, value)
	_, err := w.Kubernetes.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// diskGrows asks for more and waits until the running pod sees it.
func diskGrows(ctx context.Context, w *World) (string, error) {
	before, err := w.readyPod(ctx, databasePod, "")
	if err != nil {
		return "", err
	}
	const gigabytes = 20
	patch := fmt.Appendf(nil, `{"spec":{"resources":{"requests":{"storage":"%dGi"}}}}`, gigabytes)
	claims := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace)
	if _, err := claims.Patch(ctx, databaseClaim, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return "", err
	}
	err = w.wait(ctx, "the pod sees the larger disk", func(ctx context.Context) error {
		size, err := w.databaseSize(ctx, before)
		if err != nil {
			return err
		}
		// A file system takes some of the device for itself.
		if size < gigabytes<<30*9/10 {
			return fmt.Errorf("the pod sees %d bytes", size)
		}
		claim, err := claims.Get(ctx, databaseClaim, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if capacity := claim.Status.Capacity.Storage(); capacity.CmpInt64(gigabytes<<30) != 0 {
			return fmt.Errorf("the claim's capacity is %s", capacity)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	after, err := w.readyPod(ctx, databasePod, "")
	if err != nil {
		return "", err
	}
	if after.UID != before.UID || after.Status.ContainerStatuses[0].RestartCount != before.Status.ContainerStatuses[0].RestartCount {
		return "", errors.New("the pod did not live through it")
	}
	return "10 to 20 GB, the pod went on running", w.hasRecords(ctx, after, "first", "second")
}

func (w *World) databaseSize(ctx context.Context, pod *corev1.Pod) (int64, error) {
	text, err := w.fetch(ctx, podURL(pod)+"/size")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// addRecord writes a record that is on the disk when this returns.
func (w *World) addRecord(ctx context.Context, pod *corev1.Pod, record string) error {
	_, err := w.send(ctx, http.MethodPost, podURL(pod)+"/records", record)
	return err
}

// hasRecords checks that the database has these records and no others.
func (w *World) hasRecords(ctx context.Context, pod *corev1.Pod, records ...string) error {
	text, err := w.fetch(ctx, podURL(pod)+"/records")
	if err != nil {
		return err
	}
	if want := strings.Join(records, "\n") + "\n"; text != want {
		return fmt.Errorf("%s has the records %q, not %q", pod.Name, text, want)
	}
	return nil
}
