package cache

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Suite is Kubernetes' own test suite for storage.
type Suite struct {
	// Program is the suite, and Runner what runs its tests side by side.
	Program, Runner string
	// Source is Kubernetes' source code.
	Source string
	// Images are archives of the images that its tests' pods run.
	Images []string
}

// The programs of the suite.
const (
	suiteProgram = "e2e.test"
	suiteRunner  = "ginkgo"
)

// busyboxPackages and toolPackages are what the images of the suite consist of: one shell with all small tools in it, and the
// common tools as Debian has them.
var (
	busyboxPackages = []string{"busybox-static"}
	toolPackages    = []string{"bash", "coreutils", "dash", "grep", "mount", "sed", "util-linux"}
)

// Suite makes the suite for the programs of a cluster.
func (c *Cache) Suite(ctx context.Context, programs string) (Suite, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Suite{}, err
	}
	defer unlock()
	dir, err := c.suitePrograms(ctx)
	if err != nil {
		return Suite{}, err
	}
	s := Suite{Program: filepath.Join(dir, suiteProgram), Runner: filepath.Join(dir, suiteRunner)}
	if s.Source, err = moduleDir(ctx, filepath.Join(c.Source, "test", "e2e", "conformance"), "k8s.io/kubernetes"); err != nil {
		return Suite{}, err
	}
	s.Images, err = c.suiteImages(ctx, s.Program, programs)
	return s, err
}

// suitePrograms gives a directory with the programs.
func (c *Cache) suitePrograms(ctx context.Context) (string, error) {
	module := filepath.Join(c.Source, "test", "e2e", "conformance")
	files := []string{"go.mod", "go.sum", "suite.go", "suite_test.go"}
	for i, name := range files {
		files[i] = filepath.Join(module, name)
	}
	sum, err := fileKey(files...)
	if err != nil {
		return "", err
	}
	version, err := required(files[0], "k8s.io/kubernetes")
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("suite-%s-%s-%s", version, runtime.GOARCH, key(sum, runtime.Version()))
	return c.once(name, func(part string) error {
		c.say("building the test suite of Kubernetes %s, once (into %s)", version, c.Dir)
		start := time.Now()
		if err := os.MkdirAll(part, 0o755); err != nil {
			return err
		}
		b := build{module: module, ldflags: "-s -w " + stamp(version), packages: []string{".", "tool"}}
		if err := c.goBuild(ctx, part, []build{b}); err != nil {
			return err
		}
		b.packages = []string{"."}
		link := b.command(ctx, "test", "-c", "-vet=off", "-ldflags", b.ldflags, "-o", filepath.Join(part, suiteProgram))
		if out, err := link.CombinedOutput(); err != nil {
			return fmt.Errorf("build the suite: %w: %s", err, out)
		}
		c.say("built in %s", time.Since(start).Round(time.Second))
		return complete(part, []string{suiteProgram, suiteRunner})
	})
}

// suiteImages makes images that stand in for those of a registry, under the names by which the suite asks for them.
func (c *Cache) suiteImages(ctx context.Context, suite, programs string) ([]string, error) {
	busybox, err := c.busyboxRoot(ctx)
	if err != nil {
		return nil, err
	}
	tools, err := c.debianRoot(ctx, toolPackages...)
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, suite, "-list-images").Output() //nolint:gosec // G204: a program built here
	if err != nil {
		return nil, fmt.Errorf("%s -list-images: %w", suite, err)
	}
	asked := strings.Fields(string(out))
	shell := []string{"--cmd", "sh"}
	agnhost := filepath.Join(programs, "agnhost")
	var archives []string
	for _, w := range []struct {
		name, root string
		args       []string
	}{
		{"busybox", busybox, shell},
		// A pod of it enters the node's namespaces, so it has tools besides the program.
		{"agnhost", busybox, []string{"--file", agnhost + "=/agnhost", "--entrypoint", "/agnhost", "--cmd", "pause"}},
		// Of this one the tests of storage only use the tools, which busybox's are not good enough for.
		{"glibc-dns-testing", tools, shell},
		// And of this one its shell.
		{"nginx", busybox, shell},
	} {
		for _, name := range asked {
			if !strings.Contains(name, "/e2e-test-images/"+w.name+":") {
				continue
			}
			archive, err := c.suiteImage(ctx, name, w.root, w.args)
			if err != nil {
				return nil, err
			}
			archives = append(archives, archive)
		}
	}
	return archives, nil
}

// suiteImage makes an image of a root file system and what is added to it.
func (c *Cache) suiteImage(ctx context.Context, name, root string, args []string) (string, error) {
	file := fmt.Sprintf("image-suite-%s.tar", key(slices.Concat([]string{name, root}, args)...))
	return c.once(file, func(part string) error {
		tool, err := c.tool(ctx, "image")
		if err != nil {
			return err
		}
		args := slices.Concat([]string{"--name", name, "--base", root, "-o", part}, args)
		if out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput(); err != nil { //nolint:gosec // G204: a program built here
			return fmt.Errorf("make the image %s: %w: %s", name, err, out)
		}
		return nil
	})
}

// busyboxRoot gives a tar of a root file system that is busybox with a link for each of its tools.
func (c *Cache) busyboxRoot(ctx context.Context) (string, error) {
	tar, err := c.debianRoot(ctx, busyboxPackages...)
	if err != nil {
		return "", err
	}
	name := "busybox-" + key(filepath.Base(tar)) + ".tar"
	return c.once(name, func(part string) error {
		root, err := os.MkdirTemp(c.Dir, "busybox-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(root) }()
		if out, err := exec.CommandContext(ctx, "tar", "-C", root, "-xf", tar).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", tar, err, out)
		}
		if err := linkBusybox(ctx, root); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "tar", "-C", root, "-cf", part, ".").CombinedOutput(); err != nil {
			return fmt.Errorf("pack %s: %w: %s", root, err, out)
		}
		return nil
	})
}

// linkBusybox makes the links.
func linkBusybox(ctx context.Context, root string) error {
	program := filepath.Join(root, "bin", "busybox")
	out, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", program, err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		link := filepath.Join(root, "bin", name)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink("busybox", link); err != nil {
			return err
		}
	}
	return nil
}
