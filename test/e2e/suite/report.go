package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// test is the outcome of one test.
type test struct {
	fullName string
	name     string // without what goes without saying
	state    string
	took     time.Duration
	why      string // it failed or was skipped
}

// Result is what became of the tests of one definition.
type Result struct {
	Definition string
	Took       time.Duration

	tests  []test
	wanted []*regexp.Regexp // each is of one test at least
	skips  []Skip
	whole  bool // and not a part that was chosen
}

// ginkgoReport is what is used of a report in JSON.
type ginkgoReport struct {
	RunTime                    time.Duration
	SpecialSuiteFailureReasons []string
	SpecReports                []struct {
		ContainerHierarchyTexts []string
		LeafNodeType            string
		LeafNodeText            string
		State                   string
		RunTime                 time.Duration
		Failure                 struct{ Message string }
	}
}

// readResult reads a run's report. What failed outside of any test is an error.
func readResult(file string, d *definition, skips []Skip, whole bool) (*Result, error) {
	content, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	var reports []ginkgoReport
	if err := json.Unmarshal(content, &reports); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	r := &Result{Definition: d.name, wanted: d.tests, skips: skips, whole: whole}
	var faults []error
	for _, report := range reports {
		r.Took += report.RunTime
		for _, reason := range report.SpecialSuiteFailureReasons {
			faults = append(faults, errors.New(reason))
		}
		for _, spec := range report.SpecReports {
			name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")
			t := test{
				fullName: name, name: strings.TrimPrefix(name, d.prefix),
				state: spec.State, took: spec.RunTime, why: strings.TrimSpace(spec.Failure.Message),
			}
			switch {
			case spec.LeafNodeType == "It" && d.has(name):
				r.tests = append(r.tests, t)
			case spec.LeafNodeType != "It" && t.failed():
				faults = append(faults, fmt.Errorf("%s %s: %s", spec.LeafNodeType, t.state, t.why))
			}
		}
	}
	r.explain()
	return r, errors.Join(faults...)
}

// The states of tests that did not fail.
const (
	passed  = "passed"
	skipped = "skipped"
)

func (t test) failed() bool { return t.state != passed && t.state != skipped }

// explain gives the reason to tests that were not chosen.
func (r *Result) explain() {
	for i := range r.tests {
		t := &r.tests[i]
		if t.state != skipped || t.why != "" {
			continue
		}
		t.why = "not chosen"
		for _, s := range r.skips {
			if s.pattern.MatchString(t.fullName) {
				t.why = s.Reason
				if s.Instead != "" {
					t.why += "; instead: " + s.Instead
				}
				break
			}
		}
	}
	slices.SortFunc(r.tests, func(a, b test) int { return strings.Compare(a.name, b.name) })
}

// Err reports what does not hold: tests that failed, no test that passed, and what matches no test: of the definition, or of the
// list of skips.
func (r *Result) Err() error {
	var faults []error
	for _, t := range r.tests {
		if t.failed() {
			faults = append(faults, fmt.Errorf("%s: %s: %s", r.Definition, t.state, t.name))
		}
	}
	if r.count(passed) == 0 {
		faults = append(faults, fmt.Errorf("%s: no test passed", r.Definition))
	}
	for _, tests := range r.wanted {
		if !r.knows(tests) {
			faults = append(faults, fmt.Errorf("%s: the suite has no test that %q of the definition names", r.Definition, tests))
		}
	}
	if !r.whole {
		return errors.Join(faults...)
	}
	for _, s := range r.skips {
		if !r.knows(s.pattern) {
			faults = append(faults, fmt.Errorf("%s: the suite has no test that %q of %s skips", r.Definition, s.Tests, skipsFile))
		}
	}
	return errors.Join(faults...)
}

// knows reports whether there is a test of that name, run or not.
func (r *Result) knows(tests *regexp.Regexp) bool {
	return slices.ContainsFunc(r.tests, func(t test) bool { return tests.MatchString(t.fullName) })
}

func (r *Result) count(state string) int {
	n := 0
	for _, t := range r.tests {
		if t.state == state {
			n++
		}
	}
	return n
}

// Summary writes how many tests came to what, which failed, and for which reasons how many were skipped.
func (r *Result) Summary(w io.Writer) error {
	well, left := r.count(passed), r.count(skipped)
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %d passed, %d failed, %d skipped, in %s\n",
		r.Definition, well, len(r.tests)-well-left, left, r.Took.Round(time.Second))
	reasons := map[string]int{}
	for _, t := range r.tests {
		if t.failed() {
			fmt.Fprintf(&text, "  %s: %s\n    %s\n", t.state, t.name, strings.ReplaceAll(t.why, "\n", "\n    "))
		}
		if t.state == skipped {
			reasons[t.why]++
		}
	}
	var order []string
	for reason := range reasons {
		order = append(order, reason)
	}
	slices.Sort(order)
	for _, reason := range order {
		fmt.Fprintf(&text, "  %d skipped: %s\n", reasons[reason], reason)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// Ran returns a line for each test that ran.
func (r *Result) Ran() []string {
	var lines []string
	for _, t := range r.tests {
		if t.state != skipped {
			lines = append(lines, fmt.Sprintf("%s in %.1f s: %s", t.state, t.took.Seconds(), t.name))
		}
	}
	return lines
}

// List writes a line for each test.
func (r *Result) List(w io.Writer) error {
	var text strings.Builder
	for _, t := range r.tests {
		fmt.Fprintf(&text, "%-8s %6.1f s  %s\n", t.state, t.took.Seconds(), t.name)
		if t.why != "" {
			fmt.Fprintf(&text, "    %s\n", strings.ReplaceAll(t.why, "\n", "\n    "))
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
