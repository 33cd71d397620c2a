package deploy

import (
	"os"
	"regexp"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// documentedNetworkPolicy is the one in docs/install.md.
func documentedNetworkPolicy(t *testing.T) (policy networkingv1.NetworkPolicy) {
	t.Helper()
	page, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?s)```yaml\n(apiVersion: networking[^`]*)```").FindSubmatch(page)
	if text == nil {
		t.Fatal("docs/install.md has no NetworkPolicy")
	}
	if err := yaml.UnmarshalStrict(text[1], &policy); err != nil {
		t.Fatal(err)
	}
	return policy
}

// TestDocumentedNetworkPolicy: the policy of the documentation is for the controller's pods, and lets in who asks any of their
// containers, the snapshot sidecar included.
func TestDocumentedNetworkPolicy(t *testing.T) {
	policy := documentedNetworkPolicy(t)
	controller := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller")
	if policy.Namespace != controller.Namespace {
		t.Errorf("it is in the namespace %s", policy.Namespace)
	}
	same(t, "whom it is for", controller.Spec.Selector.MatchLabels, policy.Spec.PodSelector.MatchLabels)
	if len(policy.Spec.Ingress) != 1 || len(policy.Spec.Ingress[0].Ports) != 1 || len(policy.Spec.PolicyTypes) != 2 {
		t.Fatalf("it is %+v", policy.Spec)
	}
	in := policy.Spec.Ingress[0].Ports[0]
	containers := controller.Spec.Template.Spec.Containers
	var snapshotter appsv1.Deployment
	if err := yaml.Unmarshal(fileOf(t, "snapshotter.yaml"), &snapshotter); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(containers, snapshotter.Spec.Template.Spec.Containers...) {
		for _, p := range c.Ports {
			if p.ContainerPort < in.Port.IntVal || p.ContainerPort > *in.EndPort {
				t.Errorf("%s is asked at port %d", c.Name, p.ContainerPort)
			}
		}
	}
}
