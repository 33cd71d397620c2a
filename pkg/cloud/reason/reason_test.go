package reason_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
)

func TestTableIsComplete(t *testing.T) {
	known := map[string]bool{}
	for _, event := range reason.All() {
		if known[event.Reason] {
			t.Errorf("%s has two rows", event.Reason)
		}
		known[event.Reason] = true
		if !regexp.MustCompile(`^[A-Z][A-Za-z]+$`).MatchString(event.Reason) || event.Object == "" || event.Meaning == "" || event.Remedy == "" {
			t.Errorf("%+v lacks something", event)
		}
		if text := event.Object + event.Meaning + event.Remedy; strings.ContainsAny(text, "|\n") {
			t.Errorf("%s: %q would break the table of the documentation", event.Reason, text)
		}
	}
	for name := range used(t) {
		if !known[name] {
			t.Errorf("reason.%s has no row of that name", name)
		}
	}
}

// A reason that nobody uses any more would be documented for ever.
func TestEveryReasonIsUsed(t *testing.T) {
	used := used(t)
	for _, event := range reason.All() {
		if !used[event.Reason] {
			t.Errorf("no code uses reason.%s", event.Reason)
		}
	}
}

// used returns the reasons that the cloud provider's code names, and fails for an Event whose reason is written out there:
// such a one is documented nowhere.
func used(t *testing.T) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	files := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.SelectorExpr:
				if from, ok := node.X.(*ast.Ident); ok && from.Name == "reason" {
					used[node.Sel.Name] = true
				}
			case *ast.CallExpr:
				if literal := literalReason(node); literal != "" {
					t.Errorf("%s: an Event has the reason %s, which is not in the table", path, literal)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were read", files)
	}
	return used
}

// literalReason returns the reason of a call that makes an Event, if it is written out, else "".
func literalReason(call *ast.CallExpr) string {
	called, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || called.Sel.Name != "Event" && called.Sel.Name != "Eventf" || len(call.Args) < 4 {
		return ""
	}
	if literal, ok := call.Args[2].(*ast.BasicLit); ok {
		return literal.Value
	}
	return ""
}
