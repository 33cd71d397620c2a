package deploy

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNothingIsMountedOverTheProgram: the images hold one program in their
// root directory, and a directory can't be mounted over it.
func TestNothingIsMountedOverTheProgram(t *testing.T) {
	var programs []string
	for _, source := range []struct{ file, pattern string }{
		{"../Makefile", `--entrypoint (/\S+)`},
		{"../Dockerfile", `ENTRYPOINT \["(/\S+)"\]`},
	} {
		content, err := os.ReadFile(source.file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(source.pattern).FindAllStringSubmatch(string(content), -1)
		if len(found) != 4 {
			t.Fatalf("%s has %d entrypoints, want 4", source.file, len(found))
		}
		for _, match := range found {
			programs = append(programs, match[1])
		}
	}
	for _, w := range workloads(both(t)) {
		for _, c := range w.template.Spec.Containers {
			for _, m := range c.VolumeMounts {
				if slices.Contains(programs, m.MountPath) || slices.ContainsFunc(programs, func(p string) bool {
					return strings.HasPrefix(p, m.MountPath+"/")
				}) {
					t.Errorf("%s: %s is mounted over the program", w.name, m.MountPath)
				}
			}
		}
	}
}
