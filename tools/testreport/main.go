// Command testreport reads the output of `go test -json`, of several runs if
// they follow each other, and prints it for people: a line per package, every
// skipped test with its reason, the output of what failed, the coverage of each
// package in the cover profiles that are named, and a closing line.
//
//	go test -json -coverprofile=cover.out ./... | testreport cover.out
//
// With -least and -of, parts of the repository that are covered less are a failure, too.
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
	ok, err := run(os.Stdin, os.Stdout, os.Args[1:])
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

// run copies events to the report and reports whether all tests passed.
func run(in io.Reader, out io.Writer, args []string) (bool, error) {
	flags := flag.NewFlagSet("testreport", flag.ContinueOnError)
	least := flags.Float64("least", 0, "how many percent of the statements have to be covered in each of the parts")
	parts := flags.String("of", "", "the parts: directories, separated by commas")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
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
	c := coverage{}
	for _, profile := range flags.Args() {
		if err := c.add(profile); err != nil && !errors.Is(err, os.ErrNotExist) {
			// A run that failed early leaves no profile; the report says that it failed.
			return false, err
		}
	}
	if *parts != "" {
		r.least, r.parts = *least, strings.Split(*parts, ",")
	}
	r.close(c)
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
