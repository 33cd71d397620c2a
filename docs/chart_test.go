package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	chartPage   = "chart.md"
	chartValues = "../deploy/chart/values.yaml"
)

// TestChartReferenceIsGenerated compares the page with the values and their comments. After a change of them:
// go test ./docs -run ChartReference -update.
func TestChartReferenceIsGenerated(t *testing.T) {
	want := chartReference(t)
	if *update {
		if err := os.WriteFile(chartPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := pages(t)[chartPage]; got != want {
		t.Errorf("%s differs from %s; run: go test ./docs -run ChartReference -update", chartPage, chartValues)
	}
}

const chartHead = `<!-- Generated from deploy/chart/values.yaml by: go test ./docs -run ChartReference -update -->
# Values of the Helm chart

[Install](install.md#helm) says how to use the chart. A value that is not in these tables is refused, and so is one of the
wrong form. Lists of your own replace those of the chart, maps are merged with them; ` + "`null`" + ` removes an entry that the chart has, and any
class or further DaemonSet.
`

// chartReference renders the page.
func chartReference(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(chartValues)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	p := chartPrinter{t: t, lines: strings.Split(string(content), "\n")}
	p.b.WriteString(chartHead)
	p.section("", document.Content[0])
	return p.b.String()
}

// chartPrinter writes a section for each map whose entries are explained one by one.
type chartPrinter struct {
	t     *testing.T
	b     strings.Builder
	lines []string
}

// section writes the table of what is directly below a map, and then the sections below it.
func (p *chartPrinter) section(at string, of *yaml.Node) {
	p.t.Helper()
	var deeper []int
	p.b.WriteString("\n| value | default | what it is |\n|---|---|---|\n")
	for i := 0; i+1 < len(of.Content); i += 2 {
		key, value := of.Content[i], of.Content[i+1]
		comment := p.above(key)
		place := strings.TrimPrefix(at+"."+key.Value, ".")
		if comment == "" {
			p.t.Errorf("%s: line %d: nothing says what %s is", chartValues, key.Line, place)
		}
		if p.explained(value) {
			deeper = append(deeper, i)
			continue
		}
		fmt.Fprintf(&p.b, "| `%s` | %s | %s |\n", place, p.shown(value), strings.ReplaceAll(comment, "|", `\|`))
	}
	for _, i := range deeper {
		key := of.Content[i]
		place := strings.TrimPrefix(at+"."+key.Value, ".")
		fmt.Fprintf(&p.b, "\n%s `%s`\n\n%s\n", strings.Repeat("#", 2+strings.Count(place, ".")), place, p.above(key))
		p.section(place, of.Content[i+1])
	}
}

// explained reports whether the entries of a map have comments of their own.
func (p *chartPrinter) explained(of *yaml.Node) bool {
	if of.Kind != yaml.MappingNode || len(of.Content) == 0 {
		return false
	}
	return p.above(of.Content[0]) != ""
}

// above is the comment in the lines right above a key.
func (p *chartPrinter) above(key *yaml.Node) string {
	first := key.Line - 1
	for first > 0 && strings.HasPrefix(strings.TrimSpace(p.lines[first-1]), "#") {
		first--
	}
	var words []string
	for _, line := range p.lines[first : key.Line-1] {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	return strings.Join(words, " ")
}

// longest is how many characters a default may have in a table.
const longest = 60

// shown is a default as it is written in a table.
func (p *chartPrinter) shown(value *yaml.Node) string {
	p.t.Helper()
	var decoded any
	if err := value.Decode(&decoded); err != nil {
		p.t.Fatal(err)
	}
	if text, ok := decoded.(string); ok && text != "" {
		return "`" + text + "`"
	}
	text, err := json.Marshal(decoded)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(text) > longest {
		return "see [values.yaml](../deploy/chart/values.yaml)"
	}
	return "`" + string(text) + "`"
}
