package docs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	cloudprovider "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
)

// TestUninstallNamesWhatIsLeft: the leases of the roles, and what the products write on Nodes.
func TestUninstallNamesWhatIsLeft(t *testing.T) {
	page := read(t, "uninstall.md")
	roles, err := filepath.Glob("../deploy/manifests/*/*rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	leases := 0
	for _, file := range roles {
		text := read(t, file)
		for _, rule := range regexp.MustCompile(`resources: \[leases\]\n\s+resourceNames:((?:\s+- \S+|\s*\[[^\]]+\])+)`).FindAllStringSubmatch(text, -1) {
			for _, name := range regexp.MustCompile(`[a-z][a-z-]+[a-z]`).FindAllString(rule[1], -1) {
				leases++
				says(t, page, name)
			}
		}
	}
	if leases != 5 {
		t.Errorf("%d leases were found in %v", leases, roles)
	}
	for _, label := range []string{instances.PlanLabel, instances.KindLabel, instances.VPCLabel} {
		says(t, page, fmt.Sprintf("`%s`", label))
	}
	says(t, page, "`"+cloudprovider.LoadBalancerCleanupFinalizer+"`")
}
