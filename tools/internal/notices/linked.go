package notices

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
)

// goListed is what `go list -json` says of a package, as far as it matters here.
type goListed struct {
	ImportPath string
	Dir        string
	Standard   bool
	Module     *goModule
}

type goModule struct {
	Path, Version, Dir string
	Main               bool
	Replace            *goModule
}

// module is one that is linked into a program, with the directories of the packages that are.
type module struct {
	path, version string
	// root is the directory of the module, packages those of its packages below.
	root     string
	packages []string
}

// linked lists the modules that are linked into the programs of these packages, by their paths, Go's own library first and the main
// module left out. It asks the go command in the current directory, which follows GOARCH.
func linked(ctx context.Context, programs []string) ([]module, error) {
	command := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-json=ImportPath,Dir,Standard,Module", "--"}, programs...)...) //nolint:gosec // G204: packages are named by who calls the tool
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, bytes.TrimSpace(problems.Bytes()))
	}
	var all []goListed
	for decoder := json.NewDecoder(&out); ; {
		var one goListed
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return grouped(all)
		}
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, one)
	}
}

// grouped puts packages together by their modules.
func grouped(all []goListed) ([]module, error) {
	standard := module{path: "std"}
	byPath := map[string]*module{}
	for _, p := range all {
		switch {
		case p.Standard:
			continue // its licence is one file, which is found from any of its packages
		case p.Module == nil:
			return nil, fmt.Errorf("package %s is in no module", p.ImportPath)
		case p.Module.Main:
			continue
		}
		m := byPath[p.Module.Path]
		if m == nil {
			m = moduleOf(*p.Module)
			byPath[p.Module.Path] = m
		}
		m.packages = append(m.packages, p.Dir)
	}
	if i := slices.IndexFunc(all, func(p goListed) bool { return p.Standard && p.ImportPath == "runtime" }); i >= 0 {
		standard.root = filepath.Dir(filepath.Dir(all[i].Dir)) // GOROOT/src/runtime
		standard.packages = []string{standard.root}
	}
	modules := []module{}
	for _, m := range byPath {
		modules = append(modules, *m)
	}
	slices.SortFunc(modules, func(a, b module) int { return cmp.Compare(a.path, b.path) })
	if standard.root != "" {
		modules = append([]module{standard}, modules...)
	}
	return modules, nil
}

// moduleOf returns what is really linked in the place of a module, which may be another one, or a directory.
func moduleOf(m goModule) *module {
	is := module{path: m.Path, version: m.Version, root: m.Dir}
	if other := m.Replace; other != nil {
		is.root = other.Dir
		if other.Version != "" {
			is.path, is.version = other.Path, other.Version
		}
	}
	return &is
}
