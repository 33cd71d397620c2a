package archive

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
)

// statusDir is where scanners of images look for packages that were unpacked without dpkg, one file for each.
const statusDir = "/var/lib/dpkg/status.d"

// docDir is where every Debian package brings its licence and its history along.
const docDir = "usr/share/doc/"

// heading begins the history of a Debian package: name and version of its source.
var heading = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+) \(([^)\s]+)\) [^;]+;`)

// source is the package from which others are built.
type source struct{ name, version string }

// packages is what the documentation in a root file system tells of the packages in it. dpkg's own list is empty where packages were
// just unpacked.
type packages struct {
	licensed map[string]bool   // the packages, by their names
	linked   map[string]string // those whose documentation is another one's
	sources  map[string]source
	rebuilt  map[string]string // the versions of those that were rebuilt for one architecture
}

// packageEntries are files that name the Debian packages in the tar of a root file system.
func packageEntries(file, arch string) (_ []entry, err error) {
	tarball, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tarball.Close()) }()
	p := packages{licensed: map[string]bool{}, linked: map[string]string{}, sources: map[string]source{}, rebuilt: map[string]string{}}
	for r := tar.NewReader(tarball); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return p.entries(arch)
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if err := p.learn(name, h, r, arch); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// learn takes from one file what it tells.
func (p *packages) learn(name string, h *tar.Header, content io.Reader, arch string) error {
	doc, found := strings.CutPrefix(name, docDir)
	if !found {
		return nil
	}
	owner, file, inside := strings.Cut(doc, "/")
	switch {
	case !inside && h.Typeflag == tar.TypeSymlink:
		p.licensed[owner], p.linked[owner] = true, path.Base(h.Linkname)
	case file == "copyright":
		p.licensed[owner] = true
	case h.Typeflag == tar.TypeSymlink && file == "changelog.Debian.gz":
		p.linked[owner] = path.Base(path.Dir(path.Join("/", docDir, owner, h.Linkname))) //nolint:gosec // a name: nothing is written there
	case h.Typeflag != tar.TypeReg:
	case file == "changelog.Debian.gz" || file == "changelog.gz" && p.sources[owner] == source{}:
		// The second is Debian's for what was written for Debian, else its authors'.
		from, err := readHeading(content)
		if err != nil || from == (source{}) {
			return err
		}
		p.sources[owner] = from
	case file == "changelog.Debian."+arch+".gz":
		from, err := readHeading(content)
		p.rebuilt[owner] = from.version
		return err
	}
	return nil
}

// readHeading returns the newest source package of a history, none if it is not in Debian's form.
func readHeading(compressed io.Reader) (source, error) {
	plain, err := gzip.NewReader(compressed)
	if err != nil {
		return source{}, err
	}
	lines := bufio.NewReader(plain)
	for {
		line, err := lines.ReadString('\n')
		if strings.TrimSpace(line) != "" {
			if found := heading.FindStringSubmatch(line); found != nil {
				return source{name: found[1], version: found[2]}, nil
			}
			return source{}, nil
		}
		if errors.Is(err, io.EOF) {
			return source{}, nil
		}
		if err != nil {
			return source{}, err
		}
	}
}

// entries writes down what was learnt, in the form of dpkg's own list.
func (p *packages) entries(arch string) ([]entry, error) {
	var entries []entry
	for name := range p.licensed {
		from, rebuilt := p.sources[name], p.rebuilt[name]
		if other := p.linked[name]; from == (source{}) {
			from, rebuilt = p.sources[other], p.rebuilt[other]
		}
		if from == (source{}) {
			return nil, fmt.Errorf("the version of Debian package %s is not known: nothing below /%s%s tells it", name, docDir, name)
		}
		version := from.version
		if rebuilt != "" {
			version = rebuilt
		}
		text := fmt.Sprintf("Package: %s\nStatus: install ok installed\nArchitecture: %s\nSource: %s (%s)\nVersion: %s\n", name, arch, from.name, from.version, version)
		entries = append(entries, bytesEntry(path.Join(statusDir, name), []byte(text)))
	}
	return entries, nil
}
