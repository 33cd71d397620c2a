// Package report is how the kubectl plugin says what it found: findings, tables, JSON and YAML, and the exit codes.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// The exit codes, for scripts and CI.
const (
	// Clean is everything as it should be. Warnings are that, too, unless they were asked to count.
	Clean = 0
	// Found is at least one error among the findings.
	Found = 1
	// Failed is that the question could not be answered: wrong usage, no cluster, no API.
	Failed = 2
)

// Severity is how much a finding matters.
type Severity string

// The severities.
const (
	// OK is a check that was made and found nothing.
	OK Severity = "ok"
	// Unknown is a check that could not be made.
	Unknown Severity = "unknown"
	// Warning is what somebody should know and what stops nothing.
	Warning Severity = "warning"
	// Error is what does not work, or costs or endangers something.
	Error Severity = "error"
)

// Finding is one thing that somebody should know, with what to do about it.
type Finding struct {
	Severity Severity `json:"severity"`
	// Check is what was looked at, in a word for scripts: "annotation", "provider-id".
	Check string `json:"check"`
	// Object is what it is about: "Service shop/web".
	Object string `json:"object,omitempty"`
	// File and Line are where that is written, "" and 0 for what comes from a cluster.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Key is the annotation, the parameter or the field, "" if it is about the whole object.
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
	// Remedy is what to do, "" where nothing has to be done.
	Remedy string `json:"remedy,omitempty"`
}

// Place returns where the finding is: file and line, or the object.
func (f Finding) Place() string {
	switch {
	case f.File == "":
		return f.Object
	case f.Object == "":
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s:%d (%s)", f.File, f.Line, f.Object)
}

// Code returns the exit code of findings. With strict warnings count as errors do, and so does what could not be checked.
func Code(findings []Finding, strict bool) int {
	code := Clean
	for _, f := range findings {
		if f.Severity == Error || strict && (f.Severity == Warning || f.Severity == Unknown) {
			code = Found
		}
	}
	return code
}

// Count returns how many findings have the severity.
func Count(findings []Finding, severity Severity) int {
	n := 0
	for _, f := range findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// Format is how a report is written.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// ParseFormat reads what a user asks for, "" for a table.
func ParseFormat(text string) (Format, error) {
	switch f := Format(strings.ToLower(text)); f {
	case "":
		return Table, nil
	case Table, JSON, YAML:
		return f, nil
	default:
		return "", fmt.Errorf("--output=%s: must be one of %s, %s, %s", text, Table, JSON, YAML)
	}
}

// Write writes a value as JSON or YAML, or has table write it for people.
func Write(w io.Writer, format Format, value any, table func(*Tab)) error {
	if format == Table {
		tab := &Tab{w: tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)}
		table(tab)
		if tab.err == nil {
			tab.err = tab.w.Flush()
		}
		return tab.err
	}
	text, err := json.MarshalIndent(value, "", "  ")
	if err == nil && format == YAML {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(text), "\n"))
	return err //nolint:wrapcheck // the writer's own
}

// Tab writes rows whose columns are aligned. The first error of the writer is kept.
type Tab struct {
	w   *tabwriter.Writer
	err error
}

// Row writes cells. An empty one is shown as "-", and one of several lines in one.
func (t *Tab) Row(cells ...string) {
	shown := make([]string, len(cells))
	for i, cell := range cells {
		shown[i] = plain(cell)
	}
	t.line(strings.Join(shown, "\t"))
}

// Note writes a line that is not a row, and so aligned with nothing. What was written before is aligned by itself.
func (t *Tab) Note(format string, args ...any) {
	if t.err == nil {
		t.err = t.w.Flush()
	}
	t.line(strings.TrimRight(clean(fmt.Sprintf(format, args...)), " "))
	if t.err == nil {
		t.err = t.w.Flush()
	}
}

func (t *Tab) line(text string) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, text)
	}
}

// plain returns a cell in one line, "-" for an empty one.
func plain(cell string) string {
	if cell = strings.Join(strings.Fields(clean(cell)), " "); cell == "" {
		return "-"
	}
	return cell
}

// clean replaces what would act on a terminal: labels and error texts are other people's words.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// Findings writes findings as rows under a heading, or a line that there are none. Of checks that found nothing it says so.
func (t *Tab) Findings(findings []Finding) {
	if len(findings) == 0 {
		t.Note("Nothing was found.")
		return
	}
	t.Row("SEVERITY", "CHECK", "WHERE", "PROBLEM", "WHAT TO DO")
	for _, f := range findings {
		problem := f.Problem
		if f.Key != "" && !strings.Contains(problem, f.Key) {
			problem = f.Key + ": " + problem
		}
		t.Row(string(f.Severity), f.Check, f.Place(), problem, f.Remedy)
	}
}
