package deploy

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestChartNodes: a further DaemonSet has the settings of the first one but for what it says itself.
func TestChartNodes(t *testing.T) {
	objects := rendered(t, fullValues(t))
	first, large := named[*appsv1.DaemonSet](t, objects, "csi-vultr-node").Spec, named[*appsv1.DaemonSet](t, objects, "csi-vultr-node-large").Spec
	a, b := &first.Template.Spec.Containers[0], &large.Template.Spec.Containers[0]
	if flagValue(t, a, "max-volumes-per-node") != "8" || flagValue(t, b, "max-volumes-per-node") != "16" {
		t.Errorf("the arguments are %q and %q", a.Args, b.Args)
	}
	same(t, "resources", corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("1Gi")}, b.Resources.Requests)
	two := intstr.FromInt32(2)
	same(t, "the strategy", &two, large.UpdateStrategy.RollingUpdate.MaxUnavailable)
	// All else is equal.
	b.Args, b.Resources = a.Args, a.Resources
	large.Template.Spec.Affinity = first.Template.Spec.Affinity
	same(t, "the pods", first.Template.Spec, large.Template.Spec)
	for _, v := range first.Template.Spec.Volumes {
		if v.HostPath != nil && v.Name != "devices" && !strings.HasPrefix(v.HostPath.Path, "/var/lib/k0s/kubelet") {
			t.Errorf("volume %s is %s", v.Name, v.HostPath.Path)
		}
	}
}

// TestChartNodePortsAndEnd: the ports and the times of the node plugin are those of the values, wherever they stand.
func TestChartNodePortsAndEnd(t *testing.T) {
	objects := rendered(t, strings.Replace(fullValues(t), "maxVolumes: 16\n", "maxVolumes: 16\n      preStopTimeoutSeconds: 660\n", 1))
	for name, preStop := range map[string]string{"csi-vultr-node": "600s", "csi-vultr-node-large": "660s"} {
		spec := named[*appsv1.DaemonSet](t, objects, name).Spec.Template.Spec
		c := container(t, &spec, "csi-node")
		same(t, name+"'s ports", []corev1.ContainerPort{
			{Name: "driver", ContainerPort: 29808, HostIP: "127.0.0.1", HostPort: 29808}, {Name: "metrics", ContainerPort: 29813},
		}, c.Ports)
		if health, metrics := flagValue(t, c, "http-endpoint"), flagValue(t, c, "metrics-endpoint"); health != "127.0.0.1:29808" || metrics != ":29813" {
			t.Errorf("%s listens at %s and %s", name, health, metrics)
		}
		same(t, name+"'s liveness", get("127.0.0.1", "driver", "/healthz"), c.LivenessProbe.ProbeHandler)
		same(t, name+"'s readiness", get("127.0.0.1", "driver", "/readyz"), c.ReadinessProbe.ProbeHandler)
		same(t, name+"'s hook", []string{"/vultr-csi", "--mode=pre-stop", "--pre-stop-timeout=" + preStop}, c.Lifecycle.PreStop.Exec.Command)
		if *spec.TerminationGracePeriodSeconds != 900 {
			t.Errorf("%s is killed after %d s", name, *spec.TerminationGracePeriodSeconds)
		}
	}
}

// TestChartNodesApart: what keeps the first DaemonSet off the nodes of another one does not keep that off them, too.
func TestChartNodesApart(t *testing.T) {
	objects := rendered(t, `csi: {node: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
		{matchExpressions: [{key: pool, operator: NotIn, values: [gpu]}]}]}}}}, additionalNodes: {gpu: {nodeSelector: {pool: gpu}}}}`)
	first, other := named[*appsv1.DaemonSet](t, objects, "csi-vultr-node").Spec.Template.Spec, named[*appsv1.DaemonSet](t, objects, "csi-vultr-node-gpu").Spec.Template.Spec
	if first.Affinity == nil || other.Affinity != nil {
		t.Errorf("the affinities are %v and %v", first.Affinity, other.Affinity)
	}
	same(t, "the nodes", map[string]string{"kubernetes.io/os": "linux", "pool": "gpu"}, other.NodeSelector)
}

// TestChartNodesBySelector: two values of one label keep two DaemonSets apart as well.
func TestChartNodesBySelector(t *testing.T) {
	objects := rendered(t, "csi: {node: {nodeSelector: {pool: plain}}, additionalNodes: {gpu: {nodeSelector: {pool: gpu}}}}")
	for name, pool := range map[string]string{"csi-vultr-node": "plain", "csi-vultr-node-gpu": "gpu"} {
		same(t, name, map[string]string{"kubernetes.io/os": "linux", "pool": pool}, named[*appsv1.DaemonSet](t, objects, name).Spec.Template.Spec.NodeSelector)
	}
}
