package deploy

import (
	"net/netip"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestTheCCMListensForItsNodeAlone: it is on the node's network, whose addresses can be public.
func TestTheCCMListensForItsNodeAlone(t *testing.T) {
	spec := named[*appsv1.Deployment](t, load(t, ccmDir), "vultr-ccm").Spec.Template.Spec
	c := container(t, &spec, "vultr-ccm")
	if got := flagValue(t, c, "bind-address"); !netip.MustParseAddr(got).IsLoopback() {
		t.Errorf("metrics are served at %s", got)
	}
	if got := flagValue(t, c, "profiling"); got != "false" {
		t.Errorf("profiling is %s", got)
	}
	health := netip.MustParseAddrPort(flagValue(t, c, "vultr-health-address"))
	if !health.Addr().IsLoopback() {
		t.Errorf("health is served at %s", health)
	}
	for name, probe := range map[string]*corev1.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			t.Fatalf("nothing asks for %s", name)
		}
		get := probe.HTTPGet
		if get.Path != name || get.Host != health.Addr().String() || get.Scheme != "" && get.Scheme != corev1.URISchemeHTTP {
			t.Errorf("the probe asks %s %s%s, not %s%s", get.Scheme, get.Host, get.Path, health, name)
		}
		i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == get.Port.String() })
		if i < 0 || int(c.Ports[i].ContainerPort) != int(health.Port()) {
			t.Errorf("the probe asks at port %s", get.Port.String())
		}
	}
}

// TestTheCCMNeedsNoAddressOfItsNode: before it runs the node has none, and the kubelet starts no container that asks for it.
func TestTheCCMNeedsNoAddressOfItsNode(t *testing.T) {
	spec := named[*appsv1.Deployment](t, load(t, ccmDir), "vultr-ccm").Spec.Template.Spec
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, env := range c.Env {
			if env.ValueFrom == nil || env.ValueFrom.FieldRef == nil {
				continue
			}
			if field := env.ValueFrom.FieldRef.FieldPath; slices.Contains([]string{"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}, field) {
				t.Errorf("container %s waits for %s", c.Name, field)
			}
		}
	}
}

// TestTheCCMsEndHasTime: what is under way is waited for (workTimeout in cmd/ccm), then the lease is given back, which takes
// as long as a renewal may (--leader-elect-renew-deadline, 10 s).
func TestTheCCMsEndHasTime(t *testing.T) {
	const needed = 20 + 10 + 5
	spec := named[*appsv1.Deployment](t, load(t, ccmDir), "vultr-ccm").Spec.Template.Spec
	if grace := spec.TerminationGracePeriodSeconds; grace == nil || *grace < needed {
		t.Errorf("it is killed after %v s, and may need %d", grace, needed)
	}
}

// TestUnreadyCCMsHoldUpNoDrain: a key that is refused makes all replicas unready.
func TestUnreadyCCMsHoldUpNoDrain(t *testing.T) {
	budget := named[*policyv1.PodDisruptionBudget](t, load(t, ccmDir), "vultr-ccm")
	if policy := budget.Spec.UnhealthyPodEvictionPolicy; policy == nil || *policy != policyv1.AlwaysAllow {
		t.Error("pods that are not ready can't be evicted while none is ready")
	}
}

// TestTheCCMHasNoNeedlessRights: what it may change in the whole cluster, and nothing else.
func TestTheCCMHasNoNeedlessRights(t *testing.T) {
	changes := map[string][]string{
		"nodes":           {"patch", "update", "delete"},
		"nodes/status":    {"patch"},
		"services":        {"patch"},
		"services/status": {"patch"},
		"events":          {"create", "patch"},
	}
	reads := []string{"get", "list", "watch"}
	for _, rule := range named[*rbacv1.ClusterRole](t, load(t, ccmDir), "system:vultr-ccm").Rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				if !slices.Contains(reads, verb) && !slices.Contains(changes[resource], verb) {
					t.Errorf("it may %s %s, which nothing does", verb, resource)
				}
			}
		}
	}
}
