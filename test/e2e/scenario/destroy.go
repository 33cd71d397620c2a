package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// recoveryLimit is how long a database may be away after its instance was
// destroyed. The aim is 2.5 minutes; Kubernetes alone needs 8.
const recoveryLimit = 4 * time.Minute

// instanceDestroyed destroys the instance under the database and waits until
// everything is as well as it can be without it.
func instanceDestroyed(ctx context.Context, w *World) (string, error) {
	pod, err := w.readyPod(ctx, databasePod, "")
	if err != nil {
		return "", err
	}
	instance, err := w.instanceOf(ctx, pod.Spec.NodeName)
	if err != nil {
		return "", err
	}
	processes, err := w.Processes(instance.ID)
	if err != nil {
		return "", err
	}
	address, err := w.balancerAddress(ctx)
	if err != nil {
		return "", err
	}
	start := time.Now()
	if err := w.destroy(ctx, instance, processes); err != nil {
		return "", err
	}
	died := time.Since(start)
	patient := *w
	patient.Limit = recoveryLimit
	if err := patient.allInstancesBehind(ctx, address); err != nil {
		return "", err
	}
	moved, err := patient.readyPod(ctx, databasePod, pod.Spec.NodeName)
	if err != nil {
		return "", err
	}
	if err := w.hasRecords(ctx, moved, "first", "second"); err != nil {
		return "", err
	}
	back := time.Since(start)
	if err := patient.nodeGone(ctx, pod.Spec.NodeName); err != nil {
		return "", err
	}
	if err := w.webStillAnswers(ctx, address); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d processes dead after %s, database back on %s after %s",
		len(processes), died.Round(time.Second), moved.Spec.NodeName, back.Round(time.Second)), nil
}

// instanceOf finds the instance behind a node.
func (w *World) instanceOf(ctx context.Context, node string) (cluster.CloudInstance, error) {
	instances, err := w.Instances(ctx)
	if err != nil {
		return cluster.CloudInstance{}, err
	}
	for _, i := range instances {
		if i.Label == node {
			return i, nil
		}
	}
	return cluster.CloudInstance{}, fmt.Errorf("no instance is called %s", node)
}

// destroy deletes an instance and checks that nothing of its machine lives when the cloud says that it is gone.
func (w *World) destroy(ctx context.Context, instance cluster.CloudInstance, processes []cluster.Process) error {
	if len(processes) == 0 {
		return errors.New("the instance has no process to begin with")
	}
	if err := w.Cloud.Do(ctx, http.MethodDelete, "/v2/instances/"+instance.ID, nil, nil); err != nil {
		return err
	}
	err := w.wait(ctx, "the cloud says that the instance is gone", func(ctx context.Context) error {
		err := w.Cloud.Get(ctx, "/v2/instances/"+instance.ID, nil)
		status, answered := errors.AsType[*cluster.StatusError](err)
		switch {
		case answered && status.Status == http.StatusNotFound:
			return nil
		case err != nil:
			return err
		default:
			return errors.New("it still knows it")
		}
	})
	if err != nil {
		return err
	}
	for _, p := range processes {
		if p.Lives() {
			return fmt.Errorf("process %d (%s) of the destroyed instance lives", p.PID, p.Name)
		}
	}
	left, err := w.Processes(instance.ID)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("the destroyed instance has processes: %v", left)
	}
	return err
}

// nodeGone waits until the Node object is deleted.
func (w *World) nodeGone(ctx context.Context, name string) error {
	return w.wait(ctx, "node "+name+" is gone", func(ctx context.Context) error {
		_, err := w.Kubernetes.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = errors.New("it is still there")
		}
		return err
	})
}

// webStillAnswers checks that no request is lost any more.
func (w *World) webStillAnswers(ctx context.Context, address string) error {
	return w.wait(ctx, "every request to "+address+" is answered", func(ctx context.Context) error {
		for range 20 {
			if _, err := w.fetch(ctx, "http://"+address+"/hostname"); err != nil {
				return err
			}
		}
		return nil
	})
}

// everythingDeleted deletes what the steps made and checks that the cloud has nothing left of it.
func everythingDeleted(ctx context.Context, w *World) (string, error) {
	if err := w.deleteNamespace(ctx); err != nil {
		return "", err
	}
	for _, class := range []string{xfsClass, btrfsClass, formerClass} {
		if err := w.Kubernetes.StorageV1().StorageClasses().Delete(ctx, class, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return "", err
		}
	}
	return "no disk, no load balancer", w.wait(ctx, "the cloud has nothing left but instances", w.cloudEmpty)
}

// remaining is what the namespace controller says it still waits for.
func remaining(ns *corev1.Namespace) string {
	var text strings.Builder
	for _, c := range ns.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			text.WriteString(c.Message + " ")
		}
	}
	return text.String()
}

// cloudEmpty tells what is left in the account besides instances.
func (w *World) cloudEmpty(ctx context.Context) error {
	disks, err := w.Disks(ctx)
	if err != nil {
		return err
	}
	balancers, err := w.Cloud.Balancers(ctx)
	if err != nil {
		return err
	}
	if w.amongBalancers {
		balancers = nil
	}
	snapshots, err := w.Snapshots(ctx)
	if err != nil {
		return err
	}
	systems, err := w.FileSystems(ctx)
	if err != nil {
		return err
	}
	if len(disks)+len(snapshots)+len(systems)+len(balancers) > 0 {
		return fmt.Errorf("left: disks %v, snapshots %v, shared file systems %v, load balancers %v", disks, snapshots, systems, balancers)
	}
	return nil
}

// AccountEmpty deletes the instances too: nothing is left that would cost anything.
func AccountEmpty() Step {
	return Step{"the instances are deleted and the account is empty", func(ctx context.Context, w *World) (string, error) {
		instances, err := w.Instances(ctx)
		if err != nil {
			return "", err
		}
		for _, i := range instances {
			if err := w.Cloud.Do(ctx, http.MethodDelete, "/v2/instances/"+i.ID, nil, nil); err != nil {
				return "", err
			}
		}
		return "no instance, no disk, no load balancer", w.wait(ctx, "the account is empty", func(ctx context.Context) error {
			left, err := w.Instances(ctx)
			if err != nil {
				return err
			}
			if len(left) > 0 {
				return fmt.Errorf("%d instances are left", len(left))
			}
			return w.cloudEmpty(ctx)
		})
	}}
}
