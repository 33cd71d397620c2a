package deploy

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/startuptaint"
)

// TestNoSecretInArgumentsOrEnvironment: both can be read by whoever lists processes.
func TestNoSecretInArgumentsOrEnvironment(t *testing.T) {
	for _, w := range workloads(both(t)) {
		for _, c := range w.template.Spec.Containers {
			for _, arg := range slices.Concat(c.Command, c.Args) {
				if strings.Contains(arg, "api-key") && !strings.Contains(arg, "api-key-file=/etc/vultr/api-key") {
					t.Errorf("%s: argument %q", w.name, arg)
				}
			}
			for _, env := range c.Env {
				if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
					t.Errorf("%s: the variable %s holds a Secret", w.name, env.Name)
				}
			}
			if len(c.EnvFrom) > 0 {
				t.Errorf("%s: envFrom", w.name)
			}
		}
	}
}

// TestOnlyTheDriverHoldsTheKey: the key is mounted where it is used, as a
// directory, so that a changed Secret arrives.
func TestOnlyTheDriverHoldsTheKey(t *testing.T) {
	users := map[string]string{"vultr-ccm": "vultr-ccm", "csi-controller": "vultr-csi"}
	for _, w := range workloads(both(t)) {
		for _, c := range w.template.Spec.Containers {
			for _, m := range c.VolumeMounts {
				source := volume(t, &w.template.Spec, m.Name).Secret
				if source == nil {
					continue
				}
				if users[c.Name] != source.SecretName || source.Items[0].Key != "api-key" {
					t.Errorf("%s: container %s mounts the Secret %s", w.name, c.Name, source.SecretName)
				}
				if m.SubPath != "" || !m.ReadOnly || *source.DefaultMode&0o7 != 0 {
					t.Errorf("%s: container %s mounts the key with %+v", w.name, c.Name, m)
				}
				delete(users, c.Name)
			}
		}
	}
	if len(users) > 0 {
		t.Errorf("no key for %v", users)
	}
}

// TestContainersAreRestricted: all but the node's container run under the
// restricted Pod Security Standard, host network aside.
func TestContainersAreRestricted(t *testing.T) {
	for _, w := range workloads(both(t)) {
		spec := &w.template.Spec
		for i := range spec.Containers {
			c := &spec.Containers[i]
			s := c.SecurityContext
			if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s: container %s can write to its image", w.name, c.Name)
			}
			if c.Name == "csi-node" {
				continue
			}
			pod := spec.SecurityContext
			if pod == nil || !*pod.RunAsNonRoot || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: the pod may run as root or without seccomp", w.name)
			}
			if *s.AllowPrivilegeEscalation || s.Privileged != nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: container %s has more privileges than it needs", w.name, c.Name)
			}
		}
	}
}

// TestTheNodePluginRunsEverywhereAndChangesNothing: it follows pods with volumes
// onto every node, and has no key there, nor an account that can change anything.
func TestTheNodePluginRunsEverywhereAndChangesNothing(t *testing.T) {
	node := named[*appsv1.DaemonSet](t, load(t, csiDir), "csi-vultr-node").Spec.Template.Spec
	if !slices.Contains(node.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists}) {
		t.Error("a taint keeps the node plugin away")
	}
	if node.PriorityClassName != "system-node-critical" {
		t.Errorf("priority class %q", node.PriorityClassName)
	}
	for _, v := range node.Volumes {
		if v.HostPath == nil && v.Name != "account" {
			t.Errorf("volume %s is not of the node", v.Name)
		}
	}
	for _, rule := range named[*rbacv1.ClusterRole](t, load(t, csiDir), "csi-vultr-node").Rules {
		for _, verb := range rule.Verbs {
			if !slices.Contains([]string{"get", "list", "watch"}, verb) {
				t.Errorf("every node can %s %v", verb, rule.Resources)
			}
		}
		if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "*") {
			t.Errorf("every node can read %v", rule.Resources)
		}
	}
	for _, m := range container(t, &node, "csi-node").VolumeMounts {
		// Requests name paths of the node.
		if m.MountPropagation != nil && m.MountPath != volume(t, &node, m.Name).HostPath.Path {
			t.Errorf("%s is mounted at %s", volume(t, &node, m.Name).HostPath.Path, m.MountPath)
		}
	}
}

// TestTheCCMSchedulesOnAnUninitialisedCluster: no node is usable before it runs.
func TestTheCCMSchedulesOnAnUninitialisedCluster(t *testing.T) {
	ccm := named[*appsv1.Deployment](t, load(t, ccmDir), "vultr-ccm").Spec.Template.Spec
	for _, taint := range []corev1.Taint{
		{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule},
		{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule},
		{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule},
		{Key: startuptaint.Key, Effect: corev1.TaintEffectNoExecute},
	} {
		if !slices.ContainsFunc(ccm.Tolerations, func(tol corev1.Toleration) bool {
			return tol.Key == taint.Key && (tol.Effect == "" || tol.Effect == taint.Effect) && tol.Operator == corev1.TolerationOpExists
		}) {
			t.Errorf("the taint %s keeps it away", taint.Key)
		}
	}
	if !ccm.HostNetwork || ccm.DNSPolicy != corev1.DNSDefault {
		t.Error("it needs a pod network or the cluster's DNS")
	}
	if ccm.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		t.Error("it needs a node that managed clusters don't have")
	}
}

// TestTheDriverReadsNoSecret: passphrases of encrypted volumes come from the kubelet, which reads them by its own rights.
func TestTheDriverReadsNoSecret(t *testing.T) {
	seen := 0
	check := func(name string, rules []rbacv1.PolicyRule) {
		seen++
		for _, rule := range rules {
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s may read Secrets: %+v", name, rule)
			}
		}
	}
	for _, o := range load(t, csiDir) {
		switch role := o.Object.(type) {
		case *rbacv1.ClusterRole:
			check(role.Name, role.Rules)
		case *rbacv1.Role:
			check(role.Name, role.Rules)
		}
	}
	if seen == 0 {
		t.Error("no role was found")
	}
}
