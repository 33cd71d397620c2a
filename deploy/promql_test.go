package deploy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// metricsOfTheCode are the metrics that the programs have, with their labels, by their own code: a vector shows nothing of
// itself before it has a value. Those of libraries that are used here are added.
func metricsOfTheCode(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{
		"leader_election_master_status": {"name"}, // k8s.io/component-base/metrics/prometheus/clientgo/leaderelection
	}
	for _, dir := range []string{"../pkg/vultr", "../pkg/cloud", "../pkg/driver", "../cmd/ccm", "../cmd/csi"} {
		packages := map[string][]*ast.File{}
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], file)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, files := range packages {
			addMetrics(known, files)
		}
	}
	for _, want := range []string{"vultr_api_key_accepted", "vultr_ccm_load_balancer_state", "csi_orphaned_volumes", "csi_rpc_duration_seconds_bucket"} {
		if _, there := known[want]; !there {
			t.Fatalf("%s was not found in the code: %v", want, known)
		}
	}
	return known
}

// addMetrics adds the metrics that the files of one package make.
func addMetrics(known map[string][]string, files []*ast.File) {
	values := map[string]ast.Expr{} // of the package's names
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			if spec, ok := node.(*ast.ValueSpec); ok && len(spec.Names) == len(spec.Values) {
				for i, name := range spec.Names {
					values[name.Name] = spec.Values[i]
				}
			}
			return true
		})
	}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			function, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name, labels := "", []string(nil)
			switch kind := function.Sel.Name; kind {
			case "NewDesc":
				if len(call.Args) < 3 {
					return true
				}
				name, labels = text(call.Args[0], values), texts(call.Args[2], values)
			case "NewGauge", "NewCounter", "NewGaugeFunc", "NewHistogram":
				name = nameIn(call.Args[0], values)
			case "NewGaugeVec", "NewCounterVec", "NewHistogramVec":
				if len(call.Args) < 2 {
					return true
				}
				name, labels = nameIn(call.Args[0], values), texts(call.Args[1], values)
			}
			if name == "" {
				return true
			}
			known[name] = labels
			if strings.HasPrefix(function.Sel.Name, "NewHistogram") {
				known[name+"_bucket"], known[name+"_sum"], known[name+"_count"] = append([]string{"le"}, labels...), labels, labels
			}
			return true
		})
	}
}

// nameIn returns the name that the options of a metric give it.
func nameIn(options ast.Expr, values map[string]ast.Expr) string {
	if address, ok := options.(*ast.UnaryExpr); ok {
		options = address.X
	}
	literal, ok := options.(*ast.CompositeLit)
	if !ok {
		return ""
	}
	var parts [3]string
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if key, ok := pair.Key.(*ast.Ident); ok {
			if i := slices.Index([]string{"Namespace", "Subsystem", "Name"}, key.Name); i >= 0 {
				parts[i] = text(pair.Value, values)
			}
		}
	}
	if parts[2] == "" {
		return ""
	}
	return strings.Join(slices.DeleteFunc(parts[:], func(part string) bool { return part == "" }), "_")
}

// text returns the value of an expression that is a text, or the name of one in its package.
func text(expr ast.Expr, values map[string]ast.Expr) string {
	switch e := expr.(type) {
	case *ast.BasicLit:
		if value, err := strconv.Unquote(e.Value); err == nil {
			return value
		}
	case *ast.Ident:
		if value := values[e.Name]; value != nil {
			return text(value, nil)
		}
	}
	return ""
}

// texts does the same for a list of texts.
func texts(expr ast.Expr, values map[string]ast.Expr) []string {
	switch e := expr.(type) {
	case *ast.CompositeLit:
		var all []string
		for _, element := range e.Elts {
			all = append(all, text(element, values))
		}
		return all
	case *ast.Ident:
		if value := values[e.Name]; value != nil {
			return texts(value, nil)
		}
	}
	return nil
}

// isPart reports whether a name is one of those that a histogram has besides its own.
func isPart(name string) bool {
	return strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count")
}

var (
	// functions are the words of PromQL that are used, which are no metrics.
	functions = []string{
		"sum", "min", "max", "rate", "increase", "time", "topk", "bottomk", "histogram_quantile", "vector", "or", "and", "unless",
	}
	// targetLabels are those that Prometheus adds to whatever it scrapes.
	targetLabels = []string{"namespace", "pod", "instance", "job", "container"}

	quoted   = regexp.MustCompile(`"[^"]*"`)
	selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)`)
	span     = regexp.MustCompile(`\[[^\]]*\]`)
	grouping = regexp.MustCompile(`\b(by|without|on|ignoring)\s*\(([^)]*)\)`)
	word     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
)

// faultsOf returns whatever an expression names that does not exist. It understands as much of PromQL as is used.
func faultsOf(expr string, known map[string][]string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, pair := range []string{"()", "{}", "[]"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			fault("%s do not match in %s", pair, expr)
		}
	}
	if strings.Count(expr, `"`)%2 != 0 {
		fault("a quotation has no end in %s", expr)
	}
	bare := quoted.ReplaceAllString(expr, `""`)
	for _, found := range selector.FindAllStringSubmatch(bare, -1) {
		for _, label := range matcher.FindAllStringSubmatch(found[2], -1) {
			if !slices.Contains(known[found[1]], label[1]) && !slices.Contains(targetLabels, label[1]) {
				fault("%s has no label %s, but %v", found[1], label[1], known[found[1]])
			}
		}
	}
	bare = span.ReplaceAllString(selector.ReplaceAllString(bare, "$1"), "")
	names := word.FindAllString(grouping.ReplaceAllString(bare, ""), -1)
	var labels []string
	metrics := 0
	for _, name := range names {
		if slices.Contains(functions, name) {
			continue
		}
		of, there := known[name]
		if !there {
			fault("nothing is called %s in %s", name, expr)
			continue
		}
		metrics++
		labels = append(labels, of...)
	}
	if metrics == 0 {
		fault("%s is about no metric", expr)
	}
	for _, group := range grouping.FindAllStringSubmatch(bare, -1) {
		for _, label := range word.FindAllString(group[2], -1) {
			if !slices.Contains(labels, label) && !slices.Contains(targetLabels, label) {
				fault("no metric in %s has the label %s", expr, label)
			}
		}
	}
	return faults
}

// resultLabels are the labels by which an expression groups.
func resultLabels(expr string) []string {
	var all []string
	for _, group := range grouping.FindAllStringSubmatch(expr, -1) {
		all = append(all, word.FindAllString(group[2], -1)...)
	}
	return all
}

// TestExpressionsAreChecked: what is wrong with an expression is found.
func TestExpressionsAreChecked(t *testing.T) {
	known := map[string][]string{"a_total": {"code"}, "b": {"le"}}
	for expr, wrong := range map[string]bool{
		`sum by (code) (rate(a_total{code="429"}[5m])) > 0.1`: false,
		`max by (pod) (b{le=~"1|2"}) < 3 and a_total == 1`:    false,
		`sum(rate(c_total[5m]))`:                              true,
		`sum by (kind) (a_total)`:                             true,
		`a_total{kind="x"}`:                                   true,
		`sum(a_total`:                                         true,
		`sum(rate(a_total[5m])`:                               true,
		`avg_of(a_total)`:                                     true,
		`1 > 0`:                                               true,
	} {
		if faults := faultsOf(expr, known); (len(faults) > 0) != wrong {
			t.Errorf("%s: found %q", expr, faults)
		}
	}
}
