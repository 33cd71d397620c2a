package debian

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// RootFS says what is to be in a root file system.
type RootFS struct {
	// Codename is the release, Architecture Debian's name of it.
	Codename, Architecture string
	// Packages are unpacked together with what they depend on.
	Packages []string
	// Variant is mmdebstrap's: with "", which is extract, maintainer scripts
	// don't run; minbase is a system that boots with the right packages.
	Variant string
	// Sources are the apt source files to take packages from.
	Sources []string
}

// key names everything that the result depends on.
func (r RootFS) key() (string, error) {
	packages := slices.Sorted(slices.Values(r.Packages))
	all := []string{r.Codename, r.Architecture, strings.Join(packages, ",")}
	if r.Variant != "" {
		all = append(all, r.Variant)
	}
	for _, file := range r.Sources {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		all = append(all, string(content))
	}
	sum := sha256.Sum256([]byte(strings.Join(all, "\x00")))
	return hex.EncodeToString(sum[:])[:16], nil
}

// CachePath is where under the cache directory the tar of this root file
// system is kept.
func (r RootFS) CachePath(cacheDir string) (string, error) {
	key, err := r.key()
	if err != nil {
		return "", err
	}
	return filepath.Join(cacheDir, fmt.Sprintf("rootfs-%s-%s-%s.tar", r.Codename, r.Architecture, key)), nil
}

// Build writes the root file system as a tar at the path, which appears whole
// or not at all. What mmdebstrap says goes to log.
func (r RootFS) Build(ctx context.Context, output string, log io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.part%d", output, os.Getpid())
	args := []string{
		"--variant=" + cmp.Or(r.Variant, "extract"), "--format=tar", "--architectures=" + r.Architecture,
		"--include=" + strings.Join(r.Packages, ","), r.Codename, part,
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, r.Sources...)...) //nolint:gosec // G204: packages and paths come from the caller's own flags
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		if removeErr := os.Remove(part); removeErr != nil && !errors.Is(removeErr, os.ErrNotExist) {
			return fmt.Errorf("mmdebstrap: %w (and then %w)", err, removeErr)
		}
		return fmt.Errorf("mmdebstrap: %w", err)
	}
	return os.Rename(part, output)
}
