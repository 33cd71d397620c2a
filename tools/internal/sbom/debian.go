package sbom

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
)

const docs = "usr/share/doc/"

var (
	// changelog is a package's own; one that was only built again has a further one for the architecture, which counts.
	changelog = regexp.MustCompile(`^changelog(\.Debian)?(\.([a-z0-9]+))?\.gz$`)
	// entry is the first line of one: "xfsprogs (6.1.0-1) unstable; urgency=medium".
	entry = regexp.MustCompile(`^\S+ \(([^)\s]+)\) `)
)

// packagesOf lists the packages of a Debian root file system. They were only unpacked, so that dpkg's own list has none; each
// has a directory of documentation, or a link to that of the package that it was made with.
func packagesOf(file, arch string) (_ []component, err error) {
	f, err := os.Open(file) //nolint:gosec // G304: it is named by who calls the tool
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	found, err := versions(tar.NewReader(f), arch)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("it has no changelog of a package")
	}
	var all []component
	for name, version := range found {
		purl := "pkg:deb/debian/" + name + "@" + url.QueryEscape(version) + "?arch=" + arch
		all = append(all, component{name: name, version: version, purl: purl})
	}
	return all, nil
}

// inventory is what is known of packages, by their names.
type inventory struct {
	arch            string
	versions, links map[string]string
	rebuilt         map[string]bool
}

// versions reads the version of each package.
func versions(r *tar.Reader, arch string) (map[string]string, error) {
	all := inventory{arch, map[string]string{}, map[string]string{}, map[string]bool{}}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			all.follow()
			return all.versions, nil
		}
		if err == nil {
			err = all.add(h, r)
		}
		if err != nil {
			return nil, err
		}
	}
}

// add reads an entry of the root file system, if it is of a package's documentation.
func (v *inventory) add(h *tar.Header, content io.Reader) error {
	name, file, inside := documentation(h)
	if h.Typeflag == tar.TypeSymlink && name != "" && !inside {
		v.links[name] = path.Base(h.Linkname)
		return nil
	}
	form := changelog.FindStringSubmatch(file)
	if h.Typeflag != tar.TypeReg || form == nil || form[3] != "" && form[3] != v.arch {
		return nil
	}
	version, err := versionIn(content)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	// Upstream's own changelog, of another form, is in packages that are not native.
	if version != "" && !v.rebuilt[name] && (form[1] != "" || form[3] != "" || v.versions[name] == "") {
		v.versions[name], v.rebuilt[name] = version, form[3] != ""
	}
	return nil
}

// follow gives a package that is only a link the version of that which it was made with.
func (v *inventory) follow() {
	for name, other := range v.links {
		if v.versions[name] == "" && v.versions[other] != "" {
			v.versions[name] = v.versions[other]
		}
	}
}

// documentation returns of which package an entry is the documentation, and which file in its directory. All is empty for another.
func documentation(h *tar.Header) (name, file string, inside bool) {
	below, is := strings.CutPrefix(strings.TrimPrefix(path.Clean("/"+h.Name), "/"), docs)
	if !is {
		return "", "", false
	}
	return strings.Cut(below, "/")
}

// versionIn reads the version of the first entry, "" if it has not the form.
func versionIn(r io.Reader) (string, error) {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(unpacked)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if form := entry.FindStringSubmatch(lines.Text()); form != nil {
			return form[1], nil
		}
		break
	}
	return "", lines.Err()
}
