package notices

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mit = `Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

%THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`

var (
	plainMIT = strings.Replace(mit, "%", "", 1)
	// notForEvil is a licence that is known and that nobody agrees to.
	notForEvil = strings.Replace(mit, "%", "The Software shall be used for Good, not Evil.\n\n", 1)
)

// program writes a program that uses packages of the module example.com/dep, which has these files, and goes into its directory.
func program(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{
		"go.mod": "module example.com/app\n\ngo 1.26\n\nrequire example.com/dep v1.2.3\n\nreplace example.com/dep => ./dep\n",
		"main.go": `package main

import (
	_ "example.com/dep"
	_ "example.com/dep/linked"
)

func main() {}
`,
		"dep/go.mod":             "module example.com/dep\n\ngo 1.26\n",
		"dep/dep.go":             "package dep\n",
		"dep/linked/linked.go":   "package linked\n",
		"dep/unlinked/unused.go": "package unused\n",
	}
	for name, content := range files {
		all["dep/"+name] = content
	}
	for name, content := range all {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// TestTexts: what has to be passed on is the licence of each package that is linked, and what lies beside it; of Go itself, too.
func TestTexts(t *testing.T) {
	program(t, map[string]string{
		"LICENSE.txt":       plainMIT,
		"NOTICE":            "Somebody wrote this.\r\n",
		"license.go":        "package dep\n",
		"linked/COPYING":    strings.Replace(plainMIT, "Somebody", "Somebody else", 1),
		"unlinked/LICENSE":  notForEvil,
		"LICENSES.md":       "A list of licences is none.",
		"linked/notice.yml": "x: y\n",
	})
	got, err := Of(t.Context(), []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nstd: BSD-3-Clause\n", "\nexample.com/dep v1.2.3: MIT\n", "\nexample.com/dep v1.2.3: LICENSE.txt\n", "\nexample.com/dep v1.2.3: linked/COPYING\n",
		"\nexample.com/dep v1.2.3: NOTICE\n", "\nSomebody wrote this.\n", "Copyright (c) 2020 Somebody\n", "Copyright (c) 2020 Somebody else\n",
		"The Go Authors",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	for _, not := range []string{"Evil", "example.com/app", "package dep", "x: y", "LICENSES.md", "\r"} {
		if strings.Contains(got, not) {
			t.Errorf("there is %q in\n%s", not, got)
		}
	}
	again, err := Of(t.Context(), []string{"."})
	if err != nil || again != got {
		t.Errorf("it is another one the second time, %v", err)
	}
}

// TestTextsFromAbove: the licence of a package may lie in any directory above it, up to its module's and no further.
func TestTextsFromAbove(t *testing.T) {
	root := t.TempDir()
	m := module{path: "example.com/dep", root: filepath.Join(root, "dep"), packages: []string{filepath.Join(root, "dep", "a", "b")}}
	if err := os.MkdirAll(m.packages[0], 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LICENSE", "dep/LICENSE", "dep/a/COPYING"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(plainMIT), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, err := textsOf(m)
	if err != nil || len(texts) != 2 || texts[0].file != "LICENSE" || texts[1].file != "a/COPYING" {
		t.Errorf("got %d texts, %+v, %v", len(texts), texts, err)
	}
	m.packages = []string{filepath.Join(root, "elsewhere")}
	if _, err := textsOf(m); err == nil {
		t.Error("a package outside of its module is taken")
	}
}

// TestTextsAreThereOnce: each of those that have the same text is named above it.
func TestTextsAreThereOnce(t *testing.T) {
	program(t, map[string]string{"LICENSE": plainMIT, "linked/LICENSE": plainMIT + "\n"})
	got, err := Of(t.Context(), []string{"."})
	if err != nil || strings.Count(got, "Permission is hereby granted") != 1 || !strings.Contains(got, "\nexample.com/dep v1.2.3: LICENSE\nexample.com/dep v1.2.3: linked/LICENSE\n") {
		t.Errorf("%v, %s", err, got)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no licence":          {map[string]string{"README": "Free."}, "example.com/dep v1.2.3: there is no file with a licence"},
		"a notice alone":      {map[string]string{"NOTICE": "Mine."}, "example.com/dep v1.2.3: there is no file with a licence"},
		"not agreed to":       {map[string]string{"LICENSE": notForEvil}, "example.com/dep v1.2.3: LICENSE: nobody has agreed to licence JSON"},
		"below an agreed one": {map[string]string{"LICENSE": plainMIT, "linked/LICENSE": notForEvil}, "linked/LICENSE: nobody has agreed to licence JSON"},
		"unknown":             {map[string]string{"LICENSE": "Whoever reads this may keep it."}, "LICENSE: no known licence"},
		"more than is known":  {map[string]string{"LICENSE": plainMIT + strings.Repeat("\n\nNobody may use it on Sundays, and never without a hat.", 20)}, "of it is a known licence (MIT)"},
	} {
		t.Run(name, func(t *testing.T) {
			program(t, c.files)
			got, err := Of(t.Context(), []string{"."})
			if err == nil || !strings.Contains(err.Error(), c.want) || got != "" {
				t.Errorf("error %v, want %q; %s", err, c.want, got)
			}
		})
	}
	t.Run("no program", func(t *testing.T) {
		program(t, map[string]string{"LICENSE": plainMIT})
		if _, err := Of(t.Context(), []string{"./missing"}); err == nil || !strings.Contains(err.Error(), "go list") {
			t.Errorf("error %v", err)
		}
	})
}
