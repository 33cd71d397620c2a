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

// TestImagesHaveTheLicenses: each image has the licences of what is linked into its own program.
func TestImagesHaveTheLicenses(t *testing.T) {
	for file, pattern := range map[string]string{
		"../Makefile":   `--file \$\(BIN\)/([a-z]+)=/vultr-\S+ .*\$\(call LICENSES,([a-z]+)\) --entrypoint`,
		"../Dockerfile": `COPY --from=build /src/bin/([a-z]+) /vultr-\S+\nCOPY --from=build /src/bin/licenses/([a-z]+)\.txt /licenses/THIRD-PARTY-NOTICES\.txt\n`,
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(string(content), -1)
		if len(found) != 4 {
			t.Errorf("%s has the licences in %d images, want 4", file, len(found))
		}
		for _, match := range found {
			if match[1] != match[2] {
				t.Errorf("%s: the image of %s has the licences of %s", file, match[1], match[2])
			}
		}
	}
}
