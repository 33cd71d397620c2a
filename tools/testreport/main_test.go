package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines renders events as `go test -json` does.
func lines(t *testing.T, events ...event) string {
	t.Helper()
	var out strings.Builder
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
	}
	return out.String()
}

func TestReport(t *testing.T) {
	const p = "example.com/p"
	for name, tc := range map[string]struct {
		in   string
		ok   bool
		want []string
		not  []string
	}{
		"a passing package with a skip": {
			in: lines(t,
				event{Action: "output", Package: p, Test: "TestA", Output: "chatter\n"},
				event{Action: "pass", Package: p, Test: "TestA"},
				event{Action: "output", Package: p, Test: "TestB", Output: "=== RUN   TestB\n"},
				event{Action: "output", Package: p, Test: "TestB", Output: "    b_test.go:7: needs root\n"},
				event{Action: "output", Package: p, Test: "TestB", Output: "--- SKIP: TestB (0.00s)\n"},
				event{Action: "skip", Package: p, Test: "TestB"},
				event{Action: "pass", Package: p, Elapsed: 1.5}),
			ok:   true,
			want: []string{"ok       1.5s     1 tests", "skipped TestB: b_test.go:7: needs root", "passed: 1 tests passed, 0 failed, 1 skipped in 1 packages"},
			not:  []string{"chatter"},
		},
		"a failing test shows its output": {
			in: lines(t,
				event{Action: "output", Package: p, Test: "TestA", Output: "wrong answer\n"},
				event{Action: "fail", Package: p, Test: "TestA"},
				event{Action: "fail", Package: p}),
			want: []string{"FAIL", "wrong answer", "FAILED: example.com/p; 0 tests passed, 1 failed"},
		},
		"a package that does not build": {
			in: lines(t,
				event{Action: "build-output", Output: "p.go:1: syntax error\n"},
				event{Action: "fail", Package: p}),
			want: []string{"syntax error", "FAILED: example.com/p"},
		},
		"a killed run": {
			in:   lines(t, event{Action: "output", Package: p, Test: "TestA", Output: "so far\n"}),
			want: []string{"did not end", "so far", "FAILED"},
		},
		"a package that runs twice": {
			in: lines(t,
				event{Action: "start", Package: p},
				event{Action: "pass", Package: p, Test: "TestA"},
				event{Action: "pass", Package: p},
				event{Action: "start", Package: p},
				event{Action: "pass", Package: p, Test: "TestA"},
				event{Action: "pass", Package: p, Test: "TestB"},
				event{Action: "pass", Package: p}),
			ok:   true,
			want: []string{"passed: 3 tests passed"},
		},
		"a run that fails without a reason": {
			in:   lines(t, event{Action: "pass", Package: p}, event{Action: "fail", Output: "the second run"}),
			want: []string{"FAILED: the second run;"},
		},
		"nothing at all": {in: "go: no such module\n", want: []string{"go: no such module", "FAILED"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := run(strings.NewReader(tc.in), &out, nil)
			if err != nil || ok != tc.ok {
				t.Errorf("run() = %v, %v, want %v", ok, err, tc.ok)
			}
			for _, want := range tc.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, out.String())
				}
			}
			for _, not := range tc.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("the report has %q:\n%s", not, out.String())
				}
			}
		})
	}
}

func TestCoverageCountsABlockOnce(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for path, content := range map[string]string{
		first:  "mode: atomic\nm/a/a.go:1.1,2.2 3 0\nm/a/a.go:1.1,2.2 3 7\nm/b/b.go:1.1,2.2 1 0\n",
		second: "mode: atomic\nm/a/a.go:1.1,2.2 3 0\nm/b/b.go:3.1,4.2 4 1\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if _, err := run(strings.NewReader(""), &out, []string{first, second, filepath.Join(dir, "none")}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"100.0%  m/a\n", " 80.0%  m/b\n", "coverage 87.5%"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

func TestCoverageHasToReach(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile")
	const module = "github.com/cloud-provider-vultr/cloud-provider-vultr/"
	content := "mode: atomic\n" + module + "pkg/a/a.go:1.1,2.2 8 1\n" + module + "pkg/a/b/b.go:1.1,2.2 2 0\n" + module + "pkg/ab/c.go:1.1,2.2 90 0\n"
	if err := os.WriteFile(profile, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	passes := lines(t, event{Action: "start", Package: "p"}, event{Action: "pass", Package: "p", Test: "TestA"}, event{Action: "pass", Package: "p"})
	for _, tc := range []struct {
		least, parts string
		ok           bool
	}{
		{"80", "pkg/a", true}, {"81", "pkg/a", false}, {"80", "pkg/a,pkg/ab", false}, {"1", "pkg/none", false}, {"0", "pkg/none", true},
	} {
		var out strings.Builder
		ok, err := run(strings.NewReader(passes), &out, []string{"-least", tc.least, "-of", tc.parts, profile})
		if err != nil || ok != tc.ok {
			t.Errorf("%s %% of %s: %v, %v, want %v:\n%s", tc.least, tc.parts, ok, err, tc.ok, out.String())
		}
		if !ok && !strings.Contains(out.String(), "FAILED: coverage of pkg/") {
			t.Errorf("the report does not say what is covered too little:\n%s", out.String())
		}
	}
}
