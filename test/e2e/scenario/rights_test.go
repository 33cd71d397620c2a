package scenario

import (
	"os"
	"regexp"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/rights"
)

// TestKnownRights: what the list of rights that nobody uses names is granted by the manifests, and of every role of the CSI
// controller's account it is known whose it is. TestRights finds the same, in a cluster, at the end of everything.
func TestKnownRights(t *testing.T) {
	var granted []string
	for _, file := range []string{"ccm/rbac.yaml", "csi/controller-rbac.yaml", "csi/node.yaml", "csi-snapshots/rbac.yaml"} {
		for _, role := range shippedRoles(t, file) {
			for _, right := range rights.Of(role.Rules) {
				granted = append(granted, rights.Grant{Right: right, Role: role.Kind + " " + role.Name}.String())
			}
			if _, known := programOf[role.Name]; !known && role.Labels["app"] == "csi-vultr-controller" {
				t.Errorf("which program is the role %s for?", role.Name)
			}
		}
	}
	if len(granted) < 50 {
		t.Fatalf("only %d rights were found", len(granted))
	}
	known, err := rights.ReadKnown("../rights/known.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range known {
		for _, name := range k.Rights {
			if !slices.Contains(granted, name) {
				t.Errorf("no role grants %q", name)
			}
		}
	}
}

// shippedRoles reads the roles of a file of the manifests.
func shippedRoles(t *testing.T, file string) []rbacv1.ClusterRole {
	t.Helper()
	content, err := os.ReadFile("../../../deploy/manifests/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var roles []rbacv1.ClusterRole
	for _, document := range regexp.MustCompile(`(?m)^---$`).Split(string(content), -1) {
		var role rbacv1.ClusterRole // a Role has the same fields
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if role.Kind == "ClusterRole" || role.Kind == "Role" {
			roles = append(roles, role)
		}
	}
	return roles
}
