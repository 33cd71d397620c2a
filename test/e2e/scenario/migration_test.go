package scenario

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// TestMigrationCommands: the documentation has the commands that Migration runs, and they name every role and binding that the
// official driver's objects have here, so that none is left.
func TestMigrationCommands(t *testing.T) {
	w := &World{Cluster: &cluster.Cluster{Source: filepath.Join("..", "..", "..")}}
	change, roles, err := w.migrationCommands()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"delete statefulset csi-vultr-controller", "kubectl apply -k test/e2e/overlay/csi\n", "rollout status"} {
		if !strings.Contains(change, want) {
			t.Errorf("the commands do not have %q:\n%s", want, change)
		}
	}
	if strings.Contains(change, "deploy/manifests") {
		t.Errorf("the commands apply what a local cluster cannot have:\n%s", change)
	}
	manifests, err := w.officialManifests()
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^kind: ((?:Cluster)?Role(?:Binding)?)\nmetadata: \{name: ([\w-]+)`).FindAllStringSubmatch(manifests, -1)
	if len(named) == 0 {
		t.Error("the official driver's objects have no role")
	}
	for _, n := range named {
		if !regexp.MustCompile(`[\s]` + n[2] + `[\s]`).MatchString(roles) {
			t.Errorf("the commands do not delete the %s %s:\n%s", n[1], n[2], roles)
		}
	}
	if bare := regexp.MustCompile(`(?m)^\s*image: [^/\n]+$`).FindString(manifests); bare != "" {
		t.Errorf("an image was not filled in: %s", bare)
	}
}

func TestDocumentedCommands(t *testing.T) {
	w := &World{Cluster: &cluster.Cluster{Source: filepath.Join("..", "..", "..")}}
	if _, err := w.documentedCommands(migratePage, "No such section"); err == nil {
		t.Error("a section that is not there has commands")
	}
	if _, err := w.documentedCommands("no-such-page.md", migrateSection); err == nil {
		t.Error("a page that is not there has commands")
	}
}
