package monitoring

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the repository.
const root = "../../.."

// targetLabels are those that Prometheus adds to whatever it scrapes.
var targetLabels = []string{"namespace", "pod", "instance", "job", "container"}

// metricsOfTheCode are the metrics that the programs have, with their labels, by their own code: a vector shows nothing of
// itself before it has a value. Those of libraries that are used here are added.
func metricsOfTheCode(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{
		"leader_election_master_status": {"name"}, // k8s.io/component-base/metrics/prometheus/clientgo/leaderelection
	}
	for _, dir := range []string{"pkg/vultr", "pkg/cloud", "pkg/driver", "cmd/ccm", "cmd/csi"} {
		packages := map[string][]*ast.File{}
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
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
