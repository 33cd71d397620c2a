package cache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBeforeOverlay: the manifests of an earlier version name its own images, and a version without a local cluster is refused.
func TestBeforeOverlay(t *testing.T) {
	b := Before{Commit: strings.Repeat("1234567890", 4), Tag: "before-123456789012"}
	dir := t.TempDir()
	if err := b.writeOverlay(dir); err == nil || !strings.Contains(err.Error(), "has no local cluster") {
		t.Errorf("a version without an overlay: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "test", "e2e", "overlay"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.writeOverlay(dir); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "test", "e2e", b.Tag, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"resources: [../overlay]\n", "{name: cloud-provider-vultr/ccm, newTag: before-123456789012}\n",
		"{name: cloud-provider-vultr/csi-controller, newTag: before-123456789012}\n",
		"{name: cloud-provider-vultr/csi-node, newTag: before-123456789012}\n",
	} {
		if !strings.Contains(string(content), want) {
			t.Errorf("the overlay has no %q:\n%s", want, content)
		}
	}
}

// TestBeforeUnknown: a revision that is not there leaves nothing, and the error says what to do.
func TestBeforeUnknown(t *testing.T) {
	c := &Cache{Dir: t.TempDir(), Source: filepath.Join("..", "..", ".."), Out: t.Output()}
	_, err := c.Before(t.Context(), "no-such-revision")
	if err == nil || !strings.Contains(err.Error(), "git fetch") {
		t.Errorf("%v", err)
	}
	left, err := filepath.Glob(filepath.Join(c.Dir, "product-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
