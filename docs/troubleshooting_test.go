package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// othersWords are quoted in symptoms and said by other programs.
var othersWords = map[string]string{
	"waiting for first consumer":          "the persistent volume controller: WaitForFirstConsumer",
	"Transport endpoint is not connected": "the C library: ENOTCONN",
	"topology value collision":            "the kubelet",
	"is not in allowed topologies":        "the scheduler",
}

var (
	quoted = regexp.MustCompile(`"([^"]+)"`)
	joined = regexp.MustCompile(`" \+\s*"`)
	values = regexp.MustCompile(`\s*\.{3}\s*`)
)

// TestQuotedTextsAreSaid: what the tables of symptoms quote is said by a program so. "..." stands for what differs. People search the
// page for what they read, and find nothing once a text has changed.
func TestQuotedTextsAreSaid(t *testing.T) {
	said := texts(t)
	content, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for line := range strings.Lines(string(content)) {
		cells := strings.Split(line, "|")
		if len(cells) < 2 || cells[0] != "" {
			continue
		}
		for _, q := range quoted.FindAllStringSubmatch(cells[1], -1) {
			looked++
			if othersWords[q[1]] != "" {
				continue
			}
			for _, part := range values.Split(q[1], -1) {
				if part = strings.Trim(part, " ,:;"); !strings.Contains(said, part) {
					t.Errorf("no program says %q, of the symptom %q", part, q[1])
				}
			}
		}
	}
	if looked < 40 {
		t.Errorf("only %d texts were looked for", looked)
	}
}

// texts are the sources of the programs, with what is written in several pieces as one.
func texts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"../cmd", "../internal", "../pkg"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			all.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(joined.ReplaceAllString(all.String(), ""), `\"`, `"`)
}
