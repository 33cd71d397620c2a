package mount

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWithin(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(base, "kubelet")
	for _, dir := range []string{"kubelet/pods/a", "kubelet/plugins", "kubelet-other", "outside"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"out": filepath.Join(base, "outside"), "up": "../outside", "abs": filepath.Join(root, "pods"), "in": "pods", "dangling": "nothing",
		"etc": "/etc", "proc": "/proc/self/root" + root, "loop": "loop", "nowhere": "/nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("kubelet", filepath.Join(base, "linked")); err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{"pods/a", "pods/a/volumes/x/mount", "new", "new/deep/er", "file", "in/a", "in/new/mount", "pods//a/./b"} {
		if err := Within(root, root+"/"+good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	// A root that is a link itself is the administrator's choice.
	linked := filepath.Join(base, "linked")
	if err := Within(linked, linked+"/pods/a/mount"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"/etc", "/", root, root + "/", root + "-other/x", base + "/outside", "/proc/self/root" + root + "/pods/a", root + "/../outside",
		root + "/out", root + "/out/x", root + "/up/x", root + "/up", root + "/abs/a", root + "/etc", root + "/etc/x", root + "/proc/pods/a",
		root + "/loop", root + "/loop/x", root + "/nowhere", root + "/nowhere/x", root + "/in", root + "/dangling", root + "/file/x",
		linked + "/pods/a",
	} {
		if err := Within(root, bad); !errors.Is(err, ErrOutside) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := Within(base+"/none", base+"/none/x"); err == nil || errors.Is(err, ErrOutside) {
		t.Errorf("a root that is not there: %v", err)
	}
}
