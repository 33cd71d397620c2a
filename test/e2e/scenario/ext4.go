package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ext4Class is a class of the manifests; its file system is the default one, ext4.
const ext4Class = "vultr-nvme"

// What the kernel asks of a process that grows a mounted ext4 (ext4_resize_begin in its source): this
// capability, in the machine's first user namespace.
const (
	capSysResource     = 24
	firstUserNamespace = "user:[4026531837]"
)

// Ext4Refused says why the kernel will not let anybody here grow a mounted ext4, "" if it will.
func Ext4Refused() (string, error) {
	namespace, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return "", err
	}
	if namespace != firstUserNamespace {
		return "the kernel grows a mounted ext4 only for processes of the machine's first user namespace, and these are in " + namespace, nil
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(status) {
		text, found := strings.CutPrefix(string(line), "CapBnd:")
		if !found {
			continue
		}
		text = strings.TrimSpace(text)
		bounding, err := strconv.ParseUint(text, 16, 64)
		if err == nil && bounding&(1<<capSysResource) == 0 {
			return "the kernel grows a mounted ext4 only for processes with CAP_SYS_RESOURCE, which no process here can have (bounding set " + text + ")", nil
		}
		return "", err
	}
	return "", fmt.Errorf("/proc/self/status does not tell the capabilities: %s", status)
}

// SuiteConditions are those of the machine on which Kubernetes' own tests can depend, by the names that their list of skips has.
func SuiteConditions() (map[string]bool, error) {
	refused, err := Ext4Refused()
	return map[string]bool{"ext4 does not grow while mounted": refused != ""}, err
}

// ext4GrowsIfItCan grows an ext4 in use where the kernel allows that.
func ext4GrowsIfItCan(ctx context.Context, w *World) (string, error) {
	why, err := Ext4Refused()
	if err != nil {
		return "", err
	}
	if why != "" {
		return "", &SkippedError{Why: why + "; it grows when its pod is restarted"}
	}
	return w.within(ctx, "ext4", ext4Grows)
}

// Ext4 grows an ext4: in use where the kernel allows that, else when its pod is restarted.
func Ext4() Step {
	return Step{"an ext4 disk grows: in use, or when its pod is restarted", func(ctx context.Context, w *World) (string, error) {
		return w.within(ctx, "ext4", ext4Grows)
	}}
}

func ext4Grows(ctx context.Context, w *World) (string, error) {
	if err := w.createDatabasePodOf(ctx, ext4Class); err != nil {
		return "", err
	}
	pod, err := w.readyPod(ctx, database, "")
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, pod, "before"); err != nil {
		return "", err
	}
	if err := w.grow(ctx, database); err != nil {
		return "", err
	}
	why, err := Ext4Refused()
	if err != nil {
		return "", err
	}
	detail := "in use, 10 to 20 GB"
	if why != "" {
		detail = "not in use, because " + why + "; but when the pod was restarted"
		if pod, err = w.refusedUntilRestart(ctx, pod); err != nil {
			return "", err
		}
	}
	if _, err := w.seesGrown(ctx, pod); err != nil {
		return "", err
	}
	return detail, w.hasRecords(ctx, pod, "before")
}

// growthRefused is a line of the node service's metrics: calls that it answered with what the kernel said.
var growthRefused = regexp.MustCompile(`(?m)^csi_rpc_duration_seconds_count\{code="FailedPrecondition",method="[^"]*NodeExpandVolume"`)

// refusedUntilRestart waits until the node service was refused and the claim says that it waits for a new start of the
// pod, and restarts that.
func (w *World) refusedUntilRestart(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	err := w.wait(ctx, "the claim waits for its pod to be restarted", func(ctx context.Context) error {
		driver, err := w.podOn(ctx, "app=csi-vultr-node", pod.Spec.NodeName)
		if err != nil {
			return err
		}
		metrics, err := w.driverMetrics(ctx, driver)
		if err != nil {
			return err
		}
		if !growthRefused.MatchString(metrics) {
			return errors.New("the node service was not refused yet")
		}
		claim, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Get(ctx, database, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(claim.Status.Conditions, func(c corev1.PersistentVolumeClaimCondition) bool {
			return c.Type == corev1.PersistentVolumeClaimFileSystemResizePending && c.Status == corev1.ConditionTrue
		}) {
			return fmt.Errorf("its conditions are %+v", claim.Status.Conditions)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := w.endPod(ctx, pod.Name); err != nil {
		return nil, err
	}
	return w.startPodAgain(ctx, "")
}
