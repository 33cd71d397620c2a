package deploy

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// packageOf is the Debian package of each program that the node plugin runs.
var packageOf = map[string]string{
	"blkid":      "util-linux",
	"mkfs.ext4":  "e2fsprogs",
	"e2fsck":     "e2fsprogs",
	"resize2fs":  "e2fsprogs",
	"mkfs.xfs":   "xfsprogs",
	"xfs_growfs": "xfsprogs",
	"mkfs.btrfs": "btrfs-progs",
	"btrfs":      "btrfs-progs",
	"cryptsetup": "cryptsetup-bin",
}

// TestNodeImageHasItsPrograms: the node image is made of the packages whose programs the driver runs, and of no others.
// What does not come from a constant, a Tool's name, is in the list by that constant.
func TestNodeImageHasItsPrograms(t *testing.T) {
	runs := regexp.MustCompile(`exec\.Command(?:Context\([^,]+, |\()("[^"]+"|[^,)]+)`)
	tools := regexp.MustCompile(`Name: +"([^"]+)",\s+Args:`)
	found := map[string]bool{}
	err := filepath.WalkDir("../pkg/driver", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path == "../pkg/driver/internal" {
			return fs.SkipDir // only tests have it
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range tools.FindAllSubmatch(source, -1) {
			found[string(m[1])] = true
		}
		for _, m := range runs.FindAllSubmatch(source, -1) {
			if name := string(m[1]); strings.HasPrefix(name, `"`) {
				found[strings.Trim(name, `"`)] = true
			} else if name != "t.Name" && name != "tool.Name" {
				t.Errorf("%s runs %s, of which this test does not know what it is", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	known := slices.Sorted(maps.Keys(packageOf))
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, known) {
		t.Errorf("the driver runs %v, known are %v", got, known)
	}
	packages := slices.Compact(slices.Sorted(maps.Values(packageOf)))
	for file, pattern := range map[string]string{
		"../Makefile": `(?m)^NODE_PACKAGES := (.*)$`, "../Dockerfile": `apt-get install -y --no-install-recommends (.*) \\`,
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(pattern).FindSubmatch(content)
		if m == nil {
			t.Fatalf("%s does not say of what the node image is made", file)
		}
		if got := slices.Sorted(slices.Values(strings.Fields(string(m[1])))); !slices.Equal(got, packages) {
			t.Errorf("%s makes the node image of %v, its programs are in %v", file, got, packages)
		}
	}
}
