package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Suite is Kubernetes' own test suite for storage and load balancers.
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

// What the images of the suite consist of: one shell with all small tools in it; the same with the clients by which tests of
// Services ask, and a shell that does not prefer busybox's nc and wget, of which one lacks options and the other one crashes at
// -T; and the common tools as Debian has them.
var (
	busyboxPackages = []string{"busybox-static"}
	clientPackages  = []string{"busybox-static", "curl", "dash", "netcat-openbsd", "wget"}
	toolPackages    = []string{"bash", "coreutils", "dash", "grep", "mount", "sed", "util-linux"}
)

// alternatives are links that maintainer scripts would make.
var alternatives = map[string]string{"bin/nc": "nc.openbsd"}

// wgetOnce has wget try once, as busybox's does. By default it tries twenty times.
const wgetOnce = "\ntries = 1\n"

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

// suitePrograms returns a directory with the programs.
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
	busybox, err := c.busyboxRoot(ctx, busyboxPackages...)
	if err != nil {
		return nil, err
	}
	clients, err := c.busyboxRoot(ctx, clientPackages...)
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
		// Tests run the clients in pods of it, and one enters the node's namespaces, so it has tools besides the program.
		{"agnhost", clients, []string{"--file", agnhost + "=/agnhost", "--entrypoint", "/agnhost", "--cmd", "pause"}},
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

// busyboxRoot returns a tar of a root file system of Debian packages, of which one is busybox, with a link for each of its tools
// that no other package has beside it.
func (c *Cache) busyboxRoot(ctx context.Context, packages ...string) (string, error) {
	tar, err := c.debianRoot(ctx, packages...)
	if err != nil {
		return "", err
	}
	name := "busybox-" + key(filepath.Base(tar), wgetOnce) + ".tar"
	return c.once(name, func(part string) error {
		root, err := os.MkdirTemp(c.Dir, "busybox-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(root) }()
		if out, err := exec.CommandContext(ctx, "tar", "-C", root, "-xf", tar).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", tar, err, out)
		}
		if err := linkAlternatives(root); err != nil {
			return err
		}
		if err := tryOnce(root); err != nil {
			return err
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

// linkAlternatives makes those links whose programs are there.
func linkAlternatives(root string) error {
	for link, program := range alternatives {
		link = filepath.Join(root, link)
		_, err := os.Stat(filepath.Join(filepath.Dir(link), program))
		if err == nil {
			err = os.Symlink(program, link)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// tryOnce configures wget, if it is there.
func tryOnce(root string) error {
	config := filepath.Join(root, "etc", "wgetrc")
	content, err := os.ReadFile(config)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(config, append(content, wgetOnce...), 0o644)
}

// linkBusybox makes the links to it, where there is no such program.
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
