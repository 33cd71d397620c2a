package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report keeps what is needed until a package ends.
type report struct {
	out      io.Writer
	err      error // the first failed write
	start    time.Time
	packages map[string]*pkg
	total    counts
	broken   []string // packages that failed, did not build or never ended, and parts that are covered too little
	// least is how many percent of the statements have to be covered in each of the parts.
	least float64
	parts []string
}

// counts are finished tests, subtests included.
type counts struct{ passed, failed, skipped int }

// pkg is a package whose tests run.
type pkg struct {
	counts

	output []string            // of the package itself
	tests  map[string][]string // of tests that run or failed
	skips  []string
	ended  bool
}

func newReport(out io.Writer) *report {
	return &report{out: out, start: time.Now(), packages: map[string]*pkg{}}
}

// event takes one event of any package or test.
func (r *report) event(e event) {
	if e.Action == "build-output" {
		r.printf("%s", e.Output)
		return
	}
	if e.Package == "" {
		if e.Action == "fail" && len(r.broken) == 0 {
			r.broken = append(r.broken, e.Output) // a run that failed before it came to any package
		}
		return
	}
	p := r.packages[e.Package]
	if p == nil || e.Action == "start" { // a second run of the package counts from the start
		p = &pkg{tests: map[string][]string{}}
		r.packages[e.Package] = p
	}
	switch {
	case e.Action == "output":
		p.keep(e)
	case e.Test != "":
		p.endTest(e)
	case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
		r.endPackage(p, e)
	}
}

// keep remembers a line of output until it is known whether anyone wants it.
func (p *pkg) keep(e event) {
	if e.Test == "" {
		p.output = append(p.output, e.Output)
		return
	}
	p.tests[e.Test] = append(p.tests[e.Test], e.Output)
}

// endTest counts a test; only a failed one's output is kept, and a skipped one's reason.
func (p *pkg) endTest(e event) {
	switch e.Action {
	case "pass":
		p.passed++
		delete(p.tests, e.Test)
	case "skip":
		p.skipped++
		p.skips = append(p.skips, e.Test+": "+skipReason(p.tests[e.Test]))
		delete(p.tests, e.Test)
	case "fail":
		p.failed++
	}
}

// skipReason is what the test said, less the frame that go test puts around it.
func skipReason(output []string) string {
	var reason []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "--- ") {
			continue
		}
		reason = append(reason, line)
	}
	if len(reason) == 0 {
		return "no reason given"
	}
	return reason[len(reason)-1]
}

// endPackage prints the package's part of the report.
func (r *report) endPackage(p *pkg, e event) {
	p.ended = true
	r.total.passed += p.passed
	r.total.failed += p.failed
	r.total.skipped += p.skipped
	word := "ok  "
	switch {
	case e.Action == "fail":
		word = "FAIL"
		r.broken = append(r.broken, e.Package)
	case p.passed+p.failed+p.skipped == 0:
		word = "-   "
	}
	r.printf("%s %7.1fs  %4d tests  %s\n", word, e.Elapsed, p.passed+p.failed, short(e.Package))
	for _, skip := range p.skips {
		r.printf("     skipped %s\n", skip)
	}
	if e.Action == "fail" {
		r.printFailure(p)
	}
}

// printFailure prints what the failed tests, and the package itself, said.
func (r *report) printFailure(p *pkg) {
	for _, lines := range p.tests {
		for _, line := range lines {
			r.printf("     %s", line)
		}
	}
	for _, line := range p.output {
		r.printf("     %s", line)
	}
}

// close prints the coverage and the last line. A package that never ended counts as failed.
func (r *report) close(c coverage) {
	for name, p := range r.packages {
		if !p.ended {
			r.broken = append(r.broken, name)
			r.printf("FAIL %s did not end\n", short(name))
			r.printFailure(p)
		}
	}
	names, shares, total := c.packages()
	if len(names) > 0 {
		r.printf("coverage of statements:\n")
	}
	for _, name := range names {
		r.printf("     %6s  %s\n", shares[name], short(name))
	}
	for _, part := range r.parts {
		whole := c.part(part)
		r.printf("     %6s  %s as a whole, of %g%% that it has to have\n", whole, part, r.least)
		if whole.percent() < r.least {
			r.broken = append(r.broken, "coverage of "+part)
		}
	}
	word := "passed:"
	if !r.passed() {
		word = "FAILED: " + strings.Join(r.broken, " ") + ";"
	}
	r.printf("%s %d tests passed, %d failed, %d skipped in %d packages, coverage %s, %s\n", word,
		r.total.passed, r.total.failed, r.total.skipped, len(r.packages), total,
		time.Since(r.start).Round(time.Second))
}

// passed reports whether every package that was seen passed; none at all is a failure too.
func (r *report) passed() bool {
	return len(r.broken) == 0 && len(r.packages) > 0
}

func (r *report) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(r.out, format, args...); err != nil && r.err == nil {
		r.err = err
	}
}

// short drops the part that all packages of the repository share.
func short(name string) string {
	return strings.TrimPrefix(name, "github.com/cloud-provider-vultr/cloud-provider-vultr/")
}
