package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// programNames are the programs that a cluster is made of.
var programNames = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
	"agnhost", "csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter", "snapshot-controller",
}

// podPrograms are this module's own programs that run in pods.
var podPrograms = []string{"pause", "database", "greeter"}

// multicall is the one binary of most of them, which goes by its name.
const multicall = "kubernetes"

// programs returns a directory with all programs: the one that KUBERNETES_BIN_DIR
// names, else one built here.
func (c *Cache) programs(ctx context.Context) (string, error) {
	if dir := os.Getenv("KUBERNETES_BIN_DIR"); dir != "" {
		return dir, complete(dir, programNames)
	}
	modules := filepath.Join(c.Source, "test", "e2e")
	var files []string
	for _, module := range []string{"kubernetes", "sidecars"} {
		files = append(files, filepath.Join(modules, module, "go.mod"), filepath.Join(modules, module, "go.sum"))
	}
	sum, err := fileKey(append(files, filepath.Join(modules, "kubernetes", "main.go"))...)
	if err != nil {
		return "", err
	}
	version, err := required(files[0], "k8s.io/kubernetes")
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("kubernetes-%s-%s-%s", version, runtime.GOARCH, key(sum, runtime.Version()))
	return c.once(name, func(part string) error {
		c.say("building Kubernetes %s, etcd and the CSI sidecars, once (into %s)", version, c.Dir)
		start := time.Now()
		if err := c.buildPrograms(ctx, modules, version, part); err != nil {
			return err
		}
		c.say("built in %s", time.Since(start).Round(time.Second))
		return complete(part, programNames)
	})
}

// pods returns a directory with the programs that run in pods.
func (c *Cache) pods(ctx context.Context) (string, error) {
	module := filepath.Join(c.Source, "test", "e2e")
	var sources, packages []string
	for _, name := range podPrograms {
		files, err := filepath.Glob(filepath.Join(module, "cmd", name, "*.go"))
		if err != nil {
			return "", err
		}
		sources, packages = append(sources, files...), append(packages, "./cmd/"+name)
	}
	sum, err := fileKey(sources...)
	if err != nil {
		return "", err
	}
	return c.once("pods-"+key(sum, runtime.Version()), func(part string) error {
		if err := os.MkdirAll(part, 0o755); err != nil {
			return err
		}
		b := build{module: module, ldflags: "-s -w", packages: packages}
		if out, err := b.command(ctx, "build", "-ldflags", b.ldflags, "-o", part+"/").CombinedOutput(); err != nil {
			return fmt.Errorf("build the pods' programs: %w: %s", err, out)
		}
		return complete(part, podPrograms)
	})
}

// complete tells which program a directory lacks.
func complete(dir string, names []string) error {
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("no program %s in %s", name, dir)
		}
	}
	return nil
}

// required reads a version from a go.mod.
func required(file, module string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	match := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(content)
	if match == nil {
		return "", fmt.Errorf("%s does not require %s", file, module)
	}
	return string(match[1]), nil
}

func (c *Cache) buildPrograms(ctx context.Context, modules, version, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	builds := []build{
		{module: filepath.Join(modules, "kubernetes"), ldflags: "-s -w " + stamp(version), packages: []string{".", "tool"}},
		{module: filepath.Join(modules, "sidecars"), ldflags: "-s -w", packages: []string{"tool"}},
	}
	if err := c.goBuild(ctx, dir, builds); err != nil {
		return err
	}
	for _, name := range programNames {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			if err := os.Symlink(multicall, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// stamp is the linker's flags by which Kubernetes' programs know their version.
func stamp(version string) string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	name := "k8s.io/component-base/version."
	return fmt.Sprintf("-X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s", name, version, name, major, name, minor)
}

// build is one call of go build.
type build struct {
	module, ldflags string
	packages        []string
	stale           int // how many packages have to be compiled
}

// goBuild builds all into the directory and tells how far it is.
func (c *Cache) goBuild(ctx context.Context, dir string, builds []build) error {
	total := 0
	for i := range builds {
		var err error
		if builds[i].stale, err = countStale(ctx, builds[i]); err != nil {
			return err
		}
		total += builds[i].stale
	}
	// Measured on 2 cores: 3,900 packages in 10 minutes.
	c.say("%d packages to compile, about %s on this machine", total, about(time.Duration(total)*300*time.Millisecond/time.Duration(runtime.NumCPU())))
	meter := &meter{cache: c, total: total, start: time.Now(), last: time.Now()}
	for _, b := range builds {
		if err := b.run(ctx, dir, meter); err != nil {
			return err
		}
	}
	return nil
}

// command is a go command in the build's module. Programs without C run in any
// root file system; with the product's own flags the libraries that both have in
// common are compiled once.
func (b build) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", append(args, b.packages...)...) //nolint:gosec // G204: the arguments are constants of this package
	cmd.Dir = b.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false -trimpath", "GOWORK=off")
	return cmd
}

func countStale(ctx context.Context, b build) (int, error) {
	cmd := b.command(ctx, "list", "-deps", "-f", "{{if .Stale}}stale{{end}}")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("go list in %s: %w", b.module, err)
	}
	return strings.Count(string(out), "stale"), nil
}

// run builds; -v makes go name each package when it is done with it.
func (b build) run(ctx context.Context, dir string, meter *meter) error {
	cmd := b.command(ctx, "build", "-v", "-ldflags", b.ldflags, "-o", dir+"/")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var said []string
	for s := bufio.NewScanner(stderr); s.Scan(); {
		said = append(said, s.Text())
		meter.tick()
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build in %s: %w: %s", b.module, err, strings.Join(said[max(0, len(said)-10):], "\n"))
	}
	return nil
}

// meter tells every half minute how far a build is.
type meter struct {
	cache       *Cache
	done, total int
	start, last time.Time
}

func (m *meter) tick() {
	m.done++
	if time.Since(m.last) < 30*time.Second || m.done >= m.total {
		return
	}
	m.last = time.Now()
	left := time.Since(m.start) * time.Duration(m.total-m.done) / time.Duration(m.done)
	m.cache.say("%d of %d packages compiled, about %s left", m.done, m.total, about(left))
}

// about rounds a guess to what it is worth.
func about(d time.Duration) string {
	if d < 50*time.Second {
		return fmt.Sprintf("%d s", max(10, int(d.Seconds()+9)/10*10))
	}
	return fmt.Sprintf("%d min", max(1, int(d.Minutes()+0.9)))
}
