package docs

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testdocs"
)

// metric is what the code says of one.
type metric struct {
	name, kind, help string
	labels           []string
	// of is the directory of its package.
	of string
}

// shownBy says which programs have the metrics of a package: cmd/ccm and cmd/csi put them together.
var shownBy = []struct {
	title string
	dirs  []string
}{
	{"Of the cloud controller manager and the CSI controller", []string{"pkg/vultr"}},
	{"Of the cloud controller manager", []string{"pkg/cloud/servicelb"}},
	{"Of the CSI controller", []string{"pkg/driver/blocksnap", "pkg/driver/blockstore", "pkg/driver/identity", "pkg/driver/orphans"}},
	{"Of the CSI node plugin", []string{"pkg/driver/blockstage", "pkg/driver/node"}},
	{"Of the CSI controller and the node plugin", []string{"pkg/driver/pending", "pkg/driver/server"}},
}

const metricsHead = `# Metrics

Where each program shows them, and to whom: [installation](install.md#metrics). What to watch, and what to do about each alert:
[operation](operation.md#metrics). Histograms have ` + "`_bucket`, `_sum` and `_count`" + ` behind their names.

The CSI driver also has the metrics of the Go runtime and of its process (` + "`go_...`, `process_...`" + `), the cloud controller manager those
of Kubernetes' libraries, ` + "`leader_election_master_status`" + ` among them. The sidecars' metrics are their own.
`

// TestMetricsReferenceIsGenerated compares the page with the metrics that the code makes.
func TestMetricsReferenceIsGenerated(t *testing.T) {
	const command = "go test ./docs -run MetricsReference"
	all := metricsOfTheCode(t)
	var page strings.Builder
	page.WriteString(testdocs.Generated("pkg/vultr, pkg/cloud and pkg/driver", command) + metricsHead)
	shown := 0
	for _, section := range shownBy {
		page.WriteString("\n## " + section.title + "\n\n| metric | type | labels | what it is |\n|---|---|---|---|\n")
		for _, m := range all {
			if !slices.Contains(section.dirs, m.of) {
				continue
			}
			shown++
			labels := ""
			if len(m.labels) > 0 {
				labels = "`" + strings.Join(m.labels, "`, `") + "`"
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, strings.ReplaceAll(m.help, "|", `\|`))
		}
	}
	if shown != len(all) {
		t.Errorf("%d of %d metrics are in a section: add their package to the table", shown, len(all))
	}
	testdocs.Compare(t, "metrics.md", page.String(), command, *update)
}

// TestMetricsLeaveTargetsTheirLabels: what Prometheus writes on all that it scrapes is no label of a metric, which would be renamed.
// The monitors have it keep those of load balancers and of what volumes cost (honorLabels).
func TestMetricsLeaveTargetsTheirLabels(t *testing.T) {
	for _, m := range metricsOfTheCode(t) {
		for _, label := range m.labels {
			kept := m.of == "pkg/cloud/servicelb" && (label == "namespace" || label == "service") || m.of == "pkg/driver/orphans" && label == "namespace"
			if !kept && slices.Contains([]string{"instance", "job", "namespace", "pod", "container", "service", "endpoint", "node"}, label) {
				t.Errorf("%s has the label %s", m.name, label)
			}
		}
	}
}

// metricsOfTheCode returns the metrics that the products make, by name.
func metricsOfTheCode(t *testing.T) []metric {
	t.Helper()
	files := map[string][]*ast.File{}
	for _, dir := range []string{"cmd", "internal", "pkg/vultr", "pkg/cloud", "pkg/driver"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			of := filepath.ToSlash(filepath.Dir(path))
			files[of] = append(files[of], file)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []metric
	for dir, of := range files {
		for _, m := range metricsIn(of) {
			m.of = strings.TrimPrefix(dir, "../")
			if m.help == "" || m.kind == "" || m.name == "" {
				t.Errorf("not all can be read of the metric %+v", m)
			}
			all = append(all, m)
		}
	}
	if len(all) < 40 {
		t.Errorf("only %d metrics were found", len(all))
	}
	slices.SortFunc(all, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
	return all
}

// metricsIn returns the metrics that the files of one package make.
func metricsIn(files []*ast.File) []metric {
	p := readPackage(files)
	var all []metric
	for _, call := range p.calls {
		m := metric{}
		function, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		switch name := function.Sel.Name; name {
		case "NewDesc":
			if len(call.Args) < 3 {
				continue
			}
			m = metric{name: p.text(call.Args[0]), help: p.text(call.Args[1]), labels: p.texts(call.Args[2]), kind: p.constKind}
		case "NewGauge", "NewCounter", "NewHistogram", "NewGaugeFunc", "NewGaugeVec", "NewCounterVec", "NewHistogramVec":
			if m.name, m.help = p.options(call.Args[0]); m.name == "" {
				continue
			}
			m.kind = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "New"), "Vec"), "Func"))
			if strings.HasSuffix(name, "Vec") && len(call.Args) > 1 {
				m.labels = p.texts(call.Args[1])
			}
		default:
			continue
		}
		all = append(all, m)
	}
	return all
}

// parsed is what metrics are read from.
type parsed struct {
	calls  []*ast.CallExpr
	values map[string]ast.Expr // of the package's names
	// constKind is the type of metrics that are made when somebody asks, the same for all of a package; "" if it is not.
	constKind string
}

func readPackage(files []*ast.File) parsed {
	p := parsed{values: map[string]ast.Expr{}}
	kinds := map[string]bool{}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if i < len(n.Values) {
						p.values[name.Name] = n.Values[i]
					}
				}
			case *ast.CallExpr:
				p.calls = append(p.calls, n)
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "MustNewConstMetric" {
					if kind, ok := n.Args[1].(*ast.SelectorExpr); ok {
						p.constKind = strings.ToLower(strings.TrimSuffix(kind.Sel.Name, "Value"))
						kinds[p.constKind] = true
					}
				}
			}
			return true
		})
	}
	if len(kinds) > 1 {
		p.constKind = ""
	}
	return p
}

// options returns the name and the help that the options of a metric have.
func (p parsed) options(e ast.Expr) (name, help string) {
	if address, ok := e.(*ast.UnaryExpr); ok {
		e = address.X
	}
	literal, ok := e.(*ast.CompositeLit)
	if !ok {
		return "", ""
	}
	fields := map[string]string{}
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok {
				fields[key.Name] = p.text(pair.Value)
			}
		}
	}
	if fields["Name"] == "" {
		return "", ""
	}
	parts := slices.DeleteFunc([]string{fields["Namespace"], fields["Subsystem"], fields["Name"]}, func(part string) bool { return part == "" })
	return strings.Join(parts, "_"), fields["Help"]
}

func (p parsed) text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			return ""
		}
		return text
	case *ast.BinaryExpr:
		return p.text(e.X) + p.text(e.Y)
	case *ast.Ident:
		if value := p.values[e.Name]; value != nil {
			return p.text(value)
		}
	}
	return ""
}

func (p parsed) texts(e ast.Expr) []string {
	if name, ok := e.(*ast.Ident); ok && p.values[name.Name] != nil {
		return p.texts(p.values[name.Name])
	}
	literal, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var all []string
	for _, element := range literal.Elts {
		all = append(all, p.text(element))
	}
	return all
}
