package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
)

// TestCompatibilityNamesTheVersionsThatAreUsed: what the page says is tested is what the tests and the manifests use.
func TestCompatibilityNamesTheVersionsThatAreUsed(t *testing.T) {
	page := read(t, "compatibility.md")
	kubernetes := one(t, read(t, "../test/e2e/kubernetes/go.mod"), `k8s\.io/kubernetes v(1\.\d+)\.`)
	says(t, page, "| **tested** | "+kubernetes+", the version of the [local cluster]")
	manifests, err := filepath.Glob("../deploy/manifests/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	modules, sidecars := read(t, "../test/e2e/kubernetes/go.mod")+read(t, "../test/e2e/sidecars/go.mod"), 0
	for _, file := range manifests {
		for _, image := range regexp.MustCompile(`registry\.k8s\.io/sig-storage/(csi-[a-z]+):(v\S+)`).FindAllStringSubmatch(read(t, file), -1) {
			sidecars++
			says(t, page, "| "+image[1]+" | "+image[2]+" |")
			built := strings.TrimPrefix(image[1], "csi-")
			if got := one(t, modules, `kubernetes-csi/external-`+built+`(?:/v\d+)? (v\S+)`); got != image[2] {
				t.Errorf("%s of the manifests is %s, of the local cluster %s", image[1], image[2], got)
			}
		}
	}
	if sidecars != 4 {
		t.Errorf("the manifests have %d sidecars", sidecars)
	}
	says(t, page, "govultr "+one(t, read(t, "../go.mod"), `github\.com/vultr/govultr/v3 (v\S+)`)+", pinned")
	says(t, page, fmt.Sprintf("\n| %d.%d | everything", filesystem.Floor.Major, filesystem.Floor.Minor))
	says(t, page, "Debian 12") // whose release the image has
	one(t, read(t, "../Dockerfile"), `FROM debian:(bookworm)-slim AS csi-node`)
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// one returns what the pattern's group matches.
func one(t *testing.T, text, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	return match[1]
}

func says(t *testing.T, page, text string) {
	t.Helper()
	if !strings.Contains(page, text) {
		t.Errorf("the page does not say %q", text)
	}
}
