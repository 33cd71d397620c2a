package simulator

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// seenTexts are the platform's own: they were seen on it, or its clients look for them.
var seenTexts = []string{
	"Invalid API token.", "Unauthorized IP address: %s", "Not found.", "Invalid UUID format.", "rate limit exceeded",
	"Invalid instance-id.", "Server is pending destruction", "Server is currently locked", "Cannot add instance. Invalid os_id",
	"Server add failed: You have reached the maximum number of active instances for this account.",
	"Invalid startup script ID", "Invalid ssh key", "Block storage is already attached to another server",
	"Floating IPv4 address is already attached to another server", "Invalid server", "Invalid reserved-ip ID.",
	"Invalid VPC ID.", "The following servers are attached to this VPC network: %s", "This rule is already defined ",
	"Firewall rule ID not found", "Invalid block storage ID.", "Nothing to change",
	"Block storage volume is already attached to a server", "Block storage volume is not currently attached to a server",
	"Unable to detach block storage", "Subscription ID Not Found", "Attachment Not Found",
	"Can not delete this subscription until it is detatched from all machines", //nolint:misspell // the platform's
	"Load balancer is not ready.", "Invalid resource ID", "Invalid NodePool ID", "Invalid domain",
}

// Every text of an error is the platform's, is made by ours, or has a comment that says that the platform's is unknown.
func TestTextsOfOursAreMarked(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.go", "internal/wire/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	checked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			marked := linesMarkedUnknown(set, file, decl)
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if text, ok := errorText(call); ok {
					checked++
					if line := set.Position(call.Pos()).Line; !slices.Contains(seenTexts, text) && !marked(line) {
						t.Errorf("%s:%d: nobody saw the platform say %q; say so in a comment, or by ours()", name, line, text)
					}
				}
				return true
			})
		}
	}
	if checked < 30 {
		t.Errorf("%d texts found", checked)
	}
}

// errorText returns the text of a call that makes an error of the API.
func errorText(call *ast.CallExpr) (string, bool) {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		if from, ok := f.X.(*ast.Ident); ok && from.Name == "wire" {
			name = f.Sel.Name
		}
	case *ast.Ident:
		name = f.Name
	}
	if !slices.Contains([]string{"BadRequest", "NotFound", "Errorf"}, name) {
		return "", false
	}
	for _, arg := range call.Args {
		if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			return text, err == nil
		}
	}
	return "", false
}

// linesMarkedUnknown tells of which lines a comment says that something of the platform is unknown: the comment of the
// declaration is of all of them, another one of its own line and the next.
func linesMarkedUnknown(set *token.FileSet, file *ast.File, decl ast.Decl) func(line int) bool {
	first, last := set.Position(decl.Pos()).Line, set.Position(decl.End()).Line
	return func(line int) bool {
		return slices.ContainsFunc(file.Comments, func(c *ast.CommentGroup) bool {
			end := set.Position(c.End()).Line
			if !strings.Contains(c.Text(), "unknown") || end < first-1 || end > last {
				return false
			}
			return end == first-1 || end == line || end == line-1
		})
	}
}
