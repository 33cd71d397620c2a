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
				event{Action: "output", Package: p, Output: "coverage: 81.5% of statements\n"},
				event{Action: "pass", Package: p, Elapsed: 1.5}),
			ok:   true,
			want: []string{"ok   81.5%", "skipped TestB: b_test.go:7: needs root", "passed: 1 tests passed, 0 failed, 1 skipped in 1 packages"},
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
		"nothing at all": {in: "go: no such module\n", want: []string{"go: no such module", "FAILED"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := run(strings.NewReader(tc.in), &out, "")
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

func TestTotalCoverageCountsABlockOnce(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "cover.out")
	content := "mode: atomic\na.go:1.1,2.2 3 0\na.go:1.1,2.2 3 7\nb.go:1.1,2.2 1 0\n"
	if err := os.WriteFile(profile, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := totalCoverage(profile)
	if err != nil || got != 75 {
		t.Errorf("totalCoverage() = %v, %v, want 75", got, err)
	}
}
