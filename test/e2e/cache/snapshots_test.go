package cache

import (
	"strings"
	"testing"
)

// TestOwnVersion: the image that is built here is the one that runs, or nothing does.
func TestOwnVersion(t *testing.T) {
	const before = "spec:\n  containers:\n  - image: registry.k8s.io/sig-storage/snapshot-controller:v8.2.1\n    name: snapshot-controller\n"
	after, err := ownVersion([]byte(before), "v8.4.0")
	if want := strings.Replace(before, "v8.2.1", "v8.4.0", 1); err != nil || string(after) != want {
		t.Errorf("%q, %v; want %q", after, err, want)
	}
	for _, other := range []string{"", before + before, strings.Replace(before, "registry.k8s.io", "quay.io", 1)} {
		if after, err := ownVersion([]byte(other), "v8.4.0"); err == nil {
			t.Errorf("%q became %q", other, after)
		}
	}
}
