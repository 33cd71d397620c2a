package workflows

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const root = "../../.."

// workflow is a file of .github/workflows, as far as the tests look at it.
type workflow struct {
	text        string
	Permissions map[string]string `json:"permissions"`
	Jobs        map[string]job    `json:"jobs"`
}

type job struct {
	Uses        string                               `json:"uses"`
	With        map[string]any                       `json:"with"`
	Strategy    struct{ Matrix map[string][]string } `json:"strategy"`
	Permissions map[string]string                    `json:"permissions"`
	Steps       []step                               `json:"steps"`
}

type step struct {
	Uses string `json:"uses"`
	Run  string `json:"run"`
}

func all(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, ".github/workflows/*.yml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d workflows, %v", len(files), err)
	}
	found := map[string]workflow{}
	for _, file := range files {
		w := workflow{text: read(t, file)}
		if err := yaml.Unmarshal([]byte(w.text), &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found[filepath.Base(file)] = w
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// targets are those of the Makefile.
func targets(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^([a-z0-9-]+):.*## `).FindAllStringSubmatch(read(t, filepath.Join(root, "Makefile")), -1) {
		names = append(names, match[1])
	}
	return names
}

// made returns the targets of the Makefile that a job makes by another workflow.
func (j job) made() []string {
	target, is := j.With["target"].(string)
	switch {
	case !is:
		return nil
	case target == "${{ matrix.target }}":
		return j.Strategy.Matrix["target"]
	}
	name, _, _ := strings.Cut(target, " ")
	return []string{name}
}

// TestTargetsExist: what workflows make and run is there.
func TestTargetsExist(t *testing.T) {
	there := targets(t)
	called := regexp.MustCompile(`(?m)^\s*make ([a-z][a-z0-9-]*)`)
	script := regexp.MustCompile(`\bhack/[a-z-]+`)
	for file, w := range all(t) {
		for name, j := range w.Jobs {
			made := j.made()
			for _, s := range j.Steps {
				for _, match := range called.FindAllStringSubmatch(s.Run, -1) {
					made = append(made, match[1])
				}
				for _, path := range script.FindAllString(s.Run, -1) {
					if _, err := os.Stat(filepath.Join(root, path)); err != nil {
						t.Errorf("%s, job %s: %v", file, name, err)
					}
				}
			}
			if len(made) == 0 && len(j.Steps) == 0 && j.Uses != "./.github/workflows/ci.yml" {
				t.Errorf("%s, job %s makes nothing", file, name)
			}
			for _, target := range made {
				if !slices.Contains(there, target) {
					t.Errorf("%s, job %s: there is no target %q", file, name, target)
				}
			}
		}
	}
}

// TestEveryPhaseRuns: a change passes on GitHub what .ci/run asks for, and the two products' architectures are both tested.
func TestEveryPhaseRuns(t *testing.T) {
	phases := regexp.MustCompile(`for phase in ([a-z0-9 -]+); do`).FindStringSubmatch(read(t, filepath.Join(root, ".ci/run")))
	if phases == nil {
		t.Fatal(".ci/run has no phases")
	}
	ci := all(t)["ci.yml"]
	var made []string
	for _, j := range ci.Jobs {
		made = append(made, j.made()...)
	}
	for _, phase := range append(strings.Fields(phases[1]), "sanity", "vuln", "docs-site", "release-dry-run") {
		if !slices.Contains(made, phase) {
			t.Errorf("no job makes %s; there are %q", phase, made)
		}
	}
	if got := ci.Jobs["test"].Strategy.Matrix["runner"]; len(got) != 2 || !strings.HasSuffix(got[1], "-arm") {
		t.Errorf("the tests run on %q", got)
	}
}

// TestActionsArePinned: programs of others are named by their commits, with the version for people.
func TestActionsArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z0-9-]+/[a-z0-9-]+@[0-9a-f]{40} # v[0-9.]+$`)
	uses := regexp.MustCompile(`(?m)^\s*(?:- )?uses: (.*)$`)
	versions := map[string]string{}
	for file, w := range all(t) {
		for _, match := range uses.FindAllStringSubmatch(w.text, -1) {
			if local, is := strings.CutPrefix(match[1], "./"); is {
				if _, err := os.Stat(filepath.Join(root, local)); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				continue
			}
			if !pinned.MatchString(match[1]) {
				t.Errorf("%s: %q is not named by a commit and a version", file, match[1])
			}
			action, version, _ := strings.Cut(match[1], "@")
			if other := versions[action]; other != "" && other != version {
				t.Errorf("%s: %s is there as %q and as %q", file, action, version, other)
			}
			versions[action] = version
		}
	}
}

// TestRights: workflows may read the source, and nothing else unless a job of a release says so.
func TestRights(t *testing.T) {
	for file, w := range all(t) {
		if !maps.Equal(w.Permissions, map[string]string{"contents": "read"}) {
			t.Errorf("%s: its jobs have the rights %v", file, w.Permissions)
		}
		for name, j := range w.Jobs {
			if file != "release.yml" && len(j.Permissions) > 0 {
				t.Errorf("%s: job %s has the rights %v", file, name, j.Permissions)
			}
			for _, s := range j.Steps {
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s: job %s puts together a command of %q: what somebody else writes could be a command; hand it over in the environment", file, name, s.Run)
				}
			}
		}
	}
}

// TestReleaseNotes: a release says what its changelog says, and none is made without.
func TestReleaseNotes(t *testing.T) {
	script := filepath.Join(root, "hack/release-notes")
	notes, err := exec.CommandContext(t.Context(), script, "Unreleased").Output()
	if err != nil || !strings.Contains(string(notes), "### Added\n") || strings.Contains(string(notes), "\n## ") {
		t.Errorf("%v, %s", err, notes)
	}
	if notes, err := exec.CommandContext(t.Context(), script, "v999.0.0").Output(); err == nil {
		t.Errorf("of a version that is not there: %s", notes)
	}
}
