package monitoring

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// language is Prometheus' own, as a server has it without flags.
var language = parser.NewParser(parser.Options{})

// nameLabel is the label that has the name of a metric.
const nameLabel = "__name__"

func parsed(t *testing.T, text string) parser.Expr {
	t.Helper()
	expr, err := language.ParseExpr(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return expr
}

// faultsOf returns whatever is wrong with an expression, and what it names that does not exist.
func faultsOf(text string, known map[string][]string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	expr, err := language.ParseExpr(text)
	if err != nil {
		return []string{err.Error()}
	}
	metrics := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			metrics++
			has, there := known[n.Name]
			if !there {
				fault("nothing is called %q in %s", n.Name, text)
				break
			}
			for _, matcher := range n.LabelMatchers {
				if matcher.Name != nameLabel && !slices.Contains(has, matcher.Name) && !slices.Contains(targetLabels, matcher.Name) {
					fault("%s has no label %s, but %v", n.Name, matcher.Name, has)
				}
			}
		case *parser.AggregateExpr:
			for _, label := range n.Grouping {
				if !slices.Contains(labelsOf(n.Expr, known), label) {
					fault("%s has no label %s by which to group", n.Expr, label)
				}
			}
		case *parser.BinaryExpr:
			if n.VectorMatching == nil {
				break
			}
			for _, label := range n.VectorMatching.MatchingLabels {
				if !slices.Contains(labelsOf(n.LHS, known), label) || !slices.Contains(labelsOf(n.RHS, known), label) {
					fault("not both sides of %s have the label %s", n, label)
				}
			}
		}
		return nil
	})
	if metrics == 0 {
		fault("%s is about no metric", text)
	}
	return faults
}

// labelsOf returns the labels that the result of an expression can have.
func labelsOf(node parser.Node, known map[string][]string) []string {
	switch n := node.(type) {
	case *parser.VectorSelector:
		return slices.Concat(known[n.Name], targetLabels)
	case *parser.AggregateExpr:
		switch {
		case n.Op == parser.TOPK || n.Op == parser.BOTTOMK: // they choose, and leave what they choose as it is
			return labelsOf(n.Expr, known)
		case n.Without:
			return slices.DeleteFunc(slices.Clone(labelsOf(n.Expr, known)), func(label string) bool { return slices.Contains(n.Grouping, label) })
		}
		return n.Grouping
	case *parser.BinaryExpr:
		if n.VectorMatching != nil && n.Op != parser.LOR {
			return labelsOf(n.LHS, known) // what of it is left has its own labels
		}
	case *parser.Call:
		if n.Func.Name == "histogram_quantile" {
			return slices.DeleteFunc(labelsOf(n.Args, known), func(label string) bool { return label == "le" })
		}
	}
	var all []string
	for child := range parser.ChildrenIter(node) {
		all = append(all, labelsOf(child, known)...)
	}
	return all
}

// TestExpressionsAreChecked: what is wrong with an expression is found.
func TestExpressionsAreChecked(t *testing.T) {
	known := map[string][]string{"a_total": {"code"}, "b": {"le"}}
	for expr, wrong := range map[string]bool{
		`sum by (code) (rate(a_total{code="429"}[5m])) > 0.1`: false,
		`max by (pod) (b{le=~"1|2"}) < 3 and a_total == 1`:    false,
		`sum(a_total) or vector(0)`:                           false,
		`sum by (code) (a_total) / on (code) a_total`:         false,
		`histogram_quantile(0.9, sum by (le, pod) (b))`:       false,
		`sum by (code) (a_total) / on (pod) a_total`:          true,
		`sum by (code) (sum by (pod) (a_total))`:              true,
		`sum by (code) (sum without (code) (a_total))`:        true,
		`sum by (le) (histogram_quantile(0.9, b))`:            true,
		`rate(a_total)`:           true,
		`a_total[5m] > 1`:         true,
		`sum(rate(c_total[5m]))`:  true,
		`sum by (kind) (a_total)`: true,
		`a_total{kind="x"}`:       true,
		`{code="429"}`:            true,
		`sum(a_total`:             true,
		`sum(rate(a_total[5m])`:   true,
		`a_total{code="429}`:      true,
		`avg_of(a_total)`:         true,
		`1 > 0`:                   true,
	} {
		if faults := faultsOf(expr, known); (len(faults) > 0) != wrong {
			t.Errorf("%s: found %q", expr, faults)
		}
	}
}
