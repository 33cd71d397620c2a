package report_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

func TestCode(t *testing.T) {
	of := func(all ...report.Severity) (findings []report.Finding) {
		for _, s := range all {
			findings = append(findings, report.Finding{Severity: s})
		}
		return findings
	}
	tests := map[string]struct {
		findings     []report.Finding
		code, strict int
	}{
		"nothing":              {nil, report.Clean, report.Clean},
		"all is well":          {of(report.OK, report.OK), report.Clean, report.Clean},
		"warnings":             {of(report.OK, report.Warning), report.Clean, report.Found},
		"not known":            {of(report.Unknown), report.Clean, report.Found},
		"an error among many":  {of(report.OK, report.Error, report.Warning), report.Found, report.Found},
		"an error comes first": {of(report.Error, report.OK), report.Found, report.Found},
	}
	for name, test := range tests {
		if got := report.Code(test.findings, false); got != test.code {
			t.Errorf("%s: %d, want %d", name, got, test.code)
		}
		if got := report.Code(test.findings, true); got != test.strict {
			t.Errorf("%s, strict: %d, want %d", name, got, test.strict)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for text, want := range map[string]report.Format{"": report.Table, "table": report.Table, "JSON": report.JSON, "yaml": report.YAML} {
		if got, err := report.ParseFormat(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := report.ParseFormat("wide"); err == nil || !strings.Contains(err.Error(), "table, json, yaml") {
		t.Errorf("wide: %v", err)
	}
}

func TestWrite(t *testing.T) {
	finding := report.Finding{Severity: report.Error, Check: "annotation", Object: "Service shop/web", File: "web.yaml", Line: 7, Key: "k", Problem: "is wrong", Remedy: "mend it"}
	table := func(tab *report.Tab) { tab.Findings([]report.Finding{finding}) }
	for format, decode := range map[report.Format]func([]byte, any) error{
		report.JSON: json.Unmarshal,
		report.YAML: func(text []byte, into any) error { return yaml.UnmarshalStrict(text, into) },
	} {
		var out strings.Builder
		if err := report.Write(&out, format, []report.Finding{finding}, table); err != nil {
			t.Fatal(err)
		}
		var back []report.Finding
		if err := decode([]byte(out.String()), &back); err != nil || len(back) != 1 || back[0] != finding {
			t.Errorf("%s: %v, %v\n%s", format, back, err, out.String())
		}
	}
	var out strings.Builder
	if err := report.Write(&out, report.Table, nil, table); err != nil {
		t.Fatal(err)
	}
	want := "SEVERITY   CHECK        WHERE                         PROBLEM       WHAT TO DO\n" +
		"error      annotation   web.yaml:7 (Service shop/web)   k: is wrong   mend it\n"
	if strings.Join(strings.Fields(out.String()), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got\n%s", out.String())
	}
}

// TestTableIsPlain shows that a label in the account cannot act on the terminal, nor make rows of its own.
func TestTableIsPlain(t *testing.T) {
	var out strings.Builder
	err := report.Write(&out, report.Table, nil, func(tab *report.Tab) {
		tab.Row("a\x1b[31mb\nc\td", "", "\u009b2J")
		tab.Note("note %s", "\x07\r")
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "a [31mb c d   -   2J\nnote\n" {
		t.Errorf("got %q", got)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriteFails(t *testing.T) {
	for _, format := range []report.Format{report.Table, report.JSON, report.YAML} {
		err := report.Write(full{}, format, "x", func(tab *report.Tab) {
			tab.Row("a")
			tab.Note("b")
		})
		if err == nil {
			t.Errorf("%s: the failure of the writer is lost", format)
		}
	}
}
