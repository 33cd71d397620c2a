// Package debian makes small root file systems from Debian packages, with the
// mirrors that this machine is set up to use.
package debian

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Codename reads the release's name, such as "bookworm", from an os-release file.
func Codename(osRelease string) (string, error) {
	content, err := os.ReadFile(osRelease)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(value, `"`), nil
		}
	}
	return "", fmt.Errorf("%s names no VERSION_CODENAME: a Debian release is needed", osRelease)
}

// Sources finds, under an apt configuration directory, the files that name the
// release itself or its updates. Files of other vendors, whose suites are
// named otherwise, don't count: their packages have no place in an image.
func Sources(aptDir, codename string) ([]string, error) {
	candidates, err := filepath.Glob(filepath.Join(aptDir, "sources.list.d", "*"))
	if err != nil {
		return nil, err
	}
	candidates = append([]string{filepath.Join(aptDir, "sources.list")}, candidates...)
	var found []string
	for _, file := range candidates {
		if ext := filepath.Ext(file); ext != ".list" && ext != ".sources" {
			continue
		}
		content, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if namesRelease(string(content), codename) {
			found = append(found, file)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no file under %s names a mirror of Debian %s", aptDir, codename)
	}
	return found, nil
}

// namesRelease reports whether a sources file, in either of apt's two formats,
// has an entry for the release.
func namesRelease(content, codename string) bool {
	for line := range strings.Lines(content) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if fields[0] != "deb" && fields[0] != "Suites:" {
			continue
		}
		if slices.Contains(fields[1:], codename) {
			return true
		}
	}
	return false
}
