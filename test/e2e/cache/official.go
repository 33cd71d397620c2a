package cache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// OfficialImage is the stand-in for the official CSI driver.
const OfficialImage = "cloud-provider-vultr/test-official:v1"

// officialPackages are the tools that it calls.
var officialPackages = []string{"e2fsprogs", "xfsprogs", "mount", "util-linux"}

// officialProgram is the stand-in's program.
const officialProgram = "official"

// Official makes the image of the stand-in for the official CSI driver, and returns its archive.
func (c *Cache) Official(ctx context.Context) (string, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	module := filepath.Join(c.Source, "test", "e2e")
	files, err := filepath.Glob(filepath.Join(module, "cmd", officialProgram, "*.go"))
	if err != nil {
		return "", err
	}
	sum, err := fileKey(append(files, filepath.Join(module, "go.mod"))...)
	if err != nil {
		return "", err
	}
	dir, err := c.once(officialProgram+"-"+key(sum, runtime.Version()), func(part string) error {
		if err := os.MkdirAll(part, 0o755); err != nil {
			return err
		}
		b := build{module: module, ldflags: "-s -w", packages: []string{"./cmd/" + officialProgram}}
		if out, err := b.command(ctx, "build", "-ldflags", b.ldflags, "-o", part+"/").CombinedOutput(); err != nil {
			return fmt.Errorf("build the stand-in for the official driver: %w: %s", err, out)
		}
		return complete(part, []string{officialProgram})
	})
	if err != nil {
		return "", err
	}
	root, err := c.debianRoot(ctx, officialPackages...)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, officialProgram)
	return c.suiteImage(ctx, OfficialImage, root, []string{"--file", program + "=/official", "--entrypoint", "/official"})
}
