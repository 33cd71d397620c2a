package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Chart are the steps of a Helm release's life while pods use volumes of every kind. Each builds on the one before.
func Chart() []Step {
	c := &chart{}
	return []Step{
		{"the objects are applied without helm, and pods write to volumes of every kind", c.start},
		{"helm install takes them over while they write: no pod of the product is replaced", c.takeOver},
		{"helm test passes and leaves no volume", c.test},
		{"helm upgrade replaces the product while they write: nothing is unmounted, detached or restarted", c.upgrade},
		{"helm rollback brings the former back while they write", c.rollBack},
		{"everything is deleted: the cloud has no disk and no shared file system left", everythingDeleted},
		{"helm uninstall leaves no object of the chart", c.uninstall},
		{"helm install makes a cluster without the product one that has it, and helm test passes", c.install},
	}
}

// chart is what the steps know of one another.
type chart struct{ used inUse }

// The release, and the arguments that all commands about its content have.
const (
	releaseName  = "vultr"
	releaseChart = releaseName + " deploy/chart --values test/e2e/overlay/chart.yaml"
)

// helm runs a command of helm in the checkout, where make has built it.
func (w *World) helm(ctx context.Context, command string) error {
	const homes = "HELM_CACHE_HOME=/tmp/helm HELM_CONFIG_HOME=/tmp/helm HELM_DATA_HOME=/tmp/helm"
	_, err := w.Shell(ctx, homes+" bin/helm --namespace "+metav1.NamespaceSystem+" "+command)
	return err
}

// start applies what the chart renders, as one applies manifests, and has pods use volumes.
func (c *chart) start(ctx context.Context, w *World) (string, error) {
	if err := w.createNamespace(ctx); err != nil {
		return "", err
	}
	if err := w.Prepare(ctx); err != nil {
		return "", err
	}
	if err := w.helm(ctx, "template "+releaseChart+" --skip-tests | kubectl apply --server-side -f -"); err != nil {
		return "", err
	}
	if err := w.wait(ctx, "the product runs", w.productRuns); err != nil {
		return "", err
	}
	return c.used.start(ctx, w)
}

// takeOver makes a release of the objects that are there.
func (c *chart) takeOver(ctx context.Context, w *World) (string, error) {
	before, err := w.productPods(ctx)
	if err != nil {
		return "", err
	}
	written, err := c.used.unnoticed(ctx, w, func(ctx context.Context) error {
		return w.helm(ctx, "install "+releaseChart+" --take-ownership --force-conflicts --wait --timeout 8m")
	})
	if err != nil {
		return "", err
	}
	after, err := w.productPods(ctx)
	if err == nil && !maps.Equal(before, after) {
		err = fmt.Errorf("pods of the product were %v and are %v", before, after)
	}
	return written, err
}

// productPods are the UIDs of the product's pods.
func (w *World) productPods(ctx context.Context) (map[string]string, error) {
	pods, err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: ofTheChart})
	if err != nil {
		return nil, err
	}
	uids := map[string]string{}
	for i := range pods.Items {
		uids[pods.Items[i].Name] = string(pods.Items[i].UID)
	}
	if len(uids) == 0 {
		return nil, errors.New("the product has no pod")
	}
	return uids, nil
}

// ofTheChart selects the objects of the product.
const ofTheChart = "app in (vultr-ccm,csi-vultr,csi-vultr-controller,csi-vultr-node)"

// test runs the release's test. Its volume is the pod's, and goes with it.
func (*chart) test(ctx context.Context, w *World) (string, error) {
	before, err := w.Disks(ctx)
	if err != nil {
		return "", err
	}
	start := time.Now()
	if err := w.helm(ctx, "test "+releaseName+" --timeout 8m"); err != nil {
		return "", err
	}
	took := time.Since(start)
	return fmt.Sprintf("in %.0f s", took.Seconds()), w.wait(ctx, "the test's pod and its volume are gone", func(ctx context.Context) error {
		_, err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).Get(ctx, "vultr-test", metav1.GetOptions{})
		if err == nil {
			return errors.New("the pod vultr-test is still there")
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		now, err := w.Disks(ctx)
		if err == nil && len(now) != len(before) {
			err = fmt.Errorf("there were %d disks before the test, there are %d", len(before), len(now))
		}
		return err
	})
}

// verbosely makes every program log more, so that every pod is another one.
const verbosely = " --set ccm.logLevel=3 --set csi.controller.logLevel=3 --set csi.node.logLevel=3"

// upgrade changes what runs.
func (c *chart) upgrade(ctx context.Context, w *World) (string, error) {
	return c.replace(ctx, w, "upgrade "+releaseChart+verbosely+" --force-conflicts --wait --timeout 8m", "--v=3")
}

// rollBack changes it back.
func (c *chart) rollBack(ctx context.Context, w *World) (string, error) {
	return c.replace(ctx, w, "rollback "+releaseName+" 1 --wait --timeout 8m", "--v=2")
}

// replace runs a command that changes all pods while others write, and waits until every program has the argument.
func (c *chart) replace(ctx context.Context, w *World, command, argument string) (string, error) {
	start := time.Now()
	written, err := c.used.unnoticed(ctx, w, func(ctx context.Context) error {
		if err := w.helm(ctx, command); err != nil {
			return err
		}
		return w.rolledOut(ctx, "deployment/vultr-ccm", "deployment/csi-vultr-controller", "daemonset/"+nodePlugin)
	})
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	without, err := w.programsWithout(ctx, argument)
	if err == nil && len(without) > 0 {
		err = fmt.Errorf("after helm %s these do not have %s: %v", command, argument, without)
	}
	return fmt.Sprintf("%s; it took %.0f s", written, took.Seconds()), errors.Join(err, w.wait(ctx, "the product runs", w.productRuns))
}

// programsWithout lists the workloads whose first container lacks an argument.
func (w *World) programsWithout(ctx context.Context, argument string) ([]string, error) {
	apps := w.Kubernetes.AppsV1()
	deployments, err := apps.Deployments(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: ofTheChart})
	if err != nil {
		return nil, err
	}
	sets, err := apps.DaemonSets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: ofTheChart})
	if err != nil {
		return nil, err
	}
	if len(deployments.Items) != 2 || len(sets.Items) != 1 {
		return nil, fmt.Errorf("there are %d Deployments and %d DaemonSets", len(deployments.Items), len(sets.Items))
	}
	return lacking(argument, deployments.Items, sets.Items), nil
}

// lacking is programsWithout of what was read.
func lacking(argument string, deployments []appsv1.Deployment, sets []appsv1.DaemonSet) []string {
	var without []string
	check := func(name string, template *corev1.PodTemplateSpec) {
		if !slices.Contains(template.Spec.Containers[0].Args, argument) {
			without = append(without, name)
		}
	}
	for i := range deployments {
		check(deployments[i].Name, &deployments[i].Spec.Template)
	}
	for i := range sets {
		check(sets[i].Name, &sets[i].Spec.Template)
	}
	return without
}

// chartKinds are the kinds of the chart's objects. Records that the programs have made are not among them.
const chartKinds = "deployments,daemonsets,serviceaccounts,poddisruptionbudgets,roles,rolebindings,clusterroles,clusterrolebindings," +
	"storageclasses,csidrivers,volumesnapshotclasses"

// uninstall removes the release.
func (*chart) uninstall(ctx context.Context, w *World) (string, error) {
	if err := w.helm(ctx, "uninstall "+releaseName+" --wait --timeout 8m"); err != nil {
		return "", err
	}
	return "", w.wait(ctx, "no object of the chart is left", func(ctx context.Context) error {
		left, err := w.Kubectl(ctx, "", "get", chartKinds, "--all-namespaces", "--selector="+ofTheChart, "--output=name")
		if left = strings.TrimSpace(left); err == nil && left != "" {
			err = errors.New("these are left: " + strings.Join(strings.Fields(left), ", "))
		}
		return err
	})
}

// install installs the release where there is nothing of it.
func (c *chart) install(ctx context.Context, w *World) (string, error) {
	start := time.Now()
	if err := w.helm(ctx, "install "+releaseChart+" --wait --timeout 8m"); err != nil {
		return "", err
	}
	if err := w.wait(ctx, "the product runs", w.productRuns); err != nil {
		return "", err
	}
	took := time.Since(start)
	tested, err := c.test(ctx, w)
	return fmt.Sprintf("in %.0f s; the test %s", took.Seconds(), tested), err
}
