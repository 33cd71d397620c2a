package sbom

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// linkedInto lists a Go program and what is linked into it: the modules, and Go's own library.
func linkedInto(file string) ([]component, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", file, err)
	}
	sum, err := sumOf(file)
	if err != nil {
		return nil, err
	}
	program := filepath.Base(file)
	version := strings.TrimPrefix(info.GoVersion, "go")
	all := []component{
		{name: program, version: info.Main.Version, sha256: sum},
		{name: "stdlib", version: version, purl: "pkg:golang/stdlib@" + version, of: program},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, component{name: m.Path, version: m.Version, purl: "pkg:golang/" + m.Path + "@" + m.Version, of: program})
	}
	return all, nil
}

func sumOf(file string) (_ string, err error) {
	f, err := os.Open(file) //nolint:gosec // G304: it is named by who calls the tool
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
