// Command testreport reads the output of `go test -json` and prints it for
// people: a line per package with its coverage, every skipped test with its
// reason, the output of what failed, and a closing line. With --profile the
// total coverage is taken from that cover profile.
//
//	go test -json -coverprofile=cover.out ./... | testreport --profile cover.out
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	profile := flag.String("profile", "", "cover profile to take the total coverage from")
	flag.Parse()
	ok, err := run(os.Stdin, os.Stdout, *profile)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// event is one line of `go test -json`.
type event struct {
	Action  string  `json:"Action"`
	Package string  `json:"Package"`
	Test    string  `json:"Test"`
	Output  string  `json:"Output"`
	Elapsed float64 `json:"Elapsed"`
}

// run copies events to the report and tells whether all tests passed.
func run(in io.Reader, out io.Writer, profile string) (bool, error) {
	r := newReport(out)
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
	}
	total := ""
	if profile != "" {
		share, err := totalCoverage(profile)
		if err != nil {
			return false, err
		}
		total = fmt.Sprintf(", coverage %.1f%% of statements", share)
	}
	r.close(total)
	return r.passed(), r.err
}

// line takes one line, which may be plain text that the toolchain printed.
func (r *report) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		r.printf("%s", line)
		return
	}
	r.event(e)
}

// totalCoverage computes the share of covered statements, in percent. A block
// that several test binaries report counts once.
func totalCoverage(profile string) (share float64, err error) {
	file, err := os.Open(profile)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	type block struct {
		statements int
		covered    bool
	}
	blocks := map[string]block{}
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		if strings.HasPrefix(scanner.Text(), "mode:") {
			continue
		}
		var where string
		var statements, count int
		if _, err := fmt.Sscan(scanner.Text(), &where, &statements, &count); err != nil {
			return 0, fmt.Errorf("%s: line %q: %w", profile, scanner.Text(), err)
		}
		blocks[where] = block{statements: statements, covered: count > 0 || blocks[where].covered}
	}
	covered, all := 0, 0
	for _, b := range blocks {
		all += b.statements
		if b.covered {
			covered += b.statements
		}
	}
	if all == 0 {
		return 0, scanner.Err()
	}
	return 100 * float64(covered) / float64(all), scanner.Err()
}
