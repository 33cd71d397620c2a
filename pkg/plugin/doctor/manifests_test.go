package doctor_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/doctor"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/manifest"
)

// objects are those of the manifests.
func objects(t *testing.T) []manifest.Object {
	t.Helper()
	files, err := filepath.Glob("../../../deploy/manifests/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var all []manifest.Object
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found, err := manifest.Parse(file, content)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func decode[T any](t *testing.T, o manifest.Object) T {
	t.Helper()
	var into T
	if err := yaml.Unmarshal(o.JSON, &into); err != nil {
		t.Fatalf("%s: %v", o, err)
	}
	return into
}

// TestSidecarsAreThoseOfTheManifests fails when a sidecar is updated in one place only.
func TestSidecarsAreThoseOfTheManifests(t *testing.T) {
	found := map[string]string{}
	for _, o := range objects(t) {
		if o.Kind != "Deployment" || o.Name != kube.CSIController {
			continue
		}
		for _, c := range decode[appsv1.Deployment](t, o).Spec.Template.Spec.Containers {
			_, version, _ := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":")
			if strings.Contains(c.Image, "/sig-storage/") {
				found[c.Name] = version
			}
		}
	}
	for name, version := range doctor.Sidecars {
		if found[name] != version {
			t.Errorf("%s: the manifests have %q, the doctor expects %q", name, found[name], version)
		}
	}
	for name := range found {
		if doctor.Sidecars[name] == "" {
			t.Errorf("the doctor does not know the sidecar %s", name)
		}
	}
}

// TestNeedsAreGranted fails when the doctor asks for a right that the manifests do not give.
func TestNeedsAreGranted(t *testing.T) {
	roles := map[string][]rbacv1.PolicyRule{} // by kind, namespace and name
	bound := map[string][]string{}            // the roles of each account
	for _, o := range objects(t) {
		switch o.Kind {
		case "ClusterRole", "Role":
			roles[o.Kind+" "+o.Name] = decode[rbacv1.ClusterRole](t, o).Rules
		case "ClusterRoleBinding", "RoleBinding":
			binding := decode[rbacv1.ClusterRoleBinding](t, o)
			for _, subject := range binding.Subjects {
				bound[subject.Name] = append(bound[subject.Name], binding.RoleRef.Kind+" "+binding.RoleRef.Name)
			}
		}
	}
	if len(doctor.Needs()) < 20 {
		t.Errorf("only %d rights", len(doctor.Needs()))
	}
	for _, need := range doctor.Needs() {
		granted := false
		for _, role := range bound[need.Account] {
			if need.Namespace == "" && strings.HasPrefix(role, "Role ") {
				continue // of one namespace only
			}
			granted = granted || slices.ContainsFunc(roles[role], func(rule rbacv1.PolicyRule) bool { return grants(rule, need) })
		}
		if !granted {
			t.Errorf("%s: the manifests do not grant %s", need.Account, need)
		}
	}
}

func grants(rule rbacv1.PolicyRule, need doctor.Need) bool {
	resource := need.Resource
	if need.Subresource != "" {
		resource += "/" + need.Subresource
	}
	named := len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, need.Name)
	return slices.Contains(rule.APIGroups, need.Group) && slices.Contains(rule.Resources, resource) && slices.Contains(rule.Verbs, need.Verb) && named
}
