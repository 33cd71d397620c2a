package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const architecturePage = "architecture.md"

var (
	// aPath is a path of the repository, as pages write it in code or in a picture.
	aPath  = regexp.MustCompile(`(?:^|[\x60"\s(])((?:cmd|deploy|docs|internal|pkg|test|tools)(?:/[A-Za-z0-9_.-]+)*)(?:[\x60"\s),;:<]|$)`)
	inCode = regexp.MustCompile("`([^`]+)`")
	aName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]+$`)
)

// TestArchitectureNamesWhatExists: each path that the page names is there.
func TestArchitectureNamesWhatExists(t *testing.T) {
	found := 0
	for _, path := range pathsIn(t) {
		found++
		if _, err := os.Stat(filepath.Join("..", path)); err != nil {
			t.Errorf("%s names %s: %v", architecturePage, path, err)
		}
	}
	if found < 80 {
		t.Errorf("only %d paths were found", found)
	}
}

// TestArchitectureNamesEveryPackage: there is no package of the products without words about it.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	named := pathsIn(t)
	for _, root := range []string{"cmd", "internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			if entry.Name() == "testdata" || entry.Name() == "internal" && root == "pkg" {
				return filepath.SkipDir
			}
			sources, err := filepath.Glob(filepath.Join(path, "*.go"))
			if of := strings.TrimPrefix(filepath.ToSlash(path), "../"); err == nil && len(sources) > 0 && !slices.Contains(named, of) {
				t.Errorf("%s says nothing of %s", architecturePage, of)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDecisionsAreWhereThePageSays: the functions that the table names are in the packages that it names.
func TestDecisionsAreWhereThePageSays(t *testing.T) {
	_, table, _ := strings.Cut(architecture(t), "\n## Where is it decided?\n")
	table, _, _ = strings.Cut(table, "\n## ")
	found := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`") {
			continue
		}
		declared := map[string]bool{}
		for _, dir := range inCode.FindAllStringSubmatch(cells[2], -1) {
			maps.Copy(declared, declaredIn(t, filepath.Join("..", dir[1])))
		}
		for _, name := range inCode.FindAllStringSubmatch(cells[3], -1) {
			if !aName.MatchString(name[1]) {
				continue // a path, which is looked for elsewhere
			}
			found++
			if !declared[name[1]] {
				t.Errorf("%q: %s is not in %s", strings.TrimSpace(cells[1]), name[1], strings.TrimSpace(cells[2]))
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d functions were found", found)
	}
}

func architecture(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(architecturePage)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// pathsIn returns the paths that the page names.
func pathsIn(t *testing.T) []string {
	t.Helper()
	paths := map[string]bool{}
	for line := range strings.Lines(architecture(t)) {
		for rest := line; ; {
			at := aPath.FindStringSubmatchIndex(rest)
			if at == nil {
				break
			}
			if path := strings.TrimRight(rest[at[2]:at[3]], "."); strings.Contains(path, "/") || path == "internal" || path == "tools" {
				paths[path] = true
			}
			rest = rest[at[3]:]
		}
	}
	return slices.Sorted(maps.Keys(paths))
}

// declaredIn returns the functions and methods of a package.
func declaredIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok {
				names[function.Name.Name] = true
			}
		}
	}
	return names
}
