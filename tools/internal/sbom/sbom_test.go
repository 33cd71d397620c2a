package sbom

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root makes the tar of a root file system with these files, and links where the content begins with "-> ".
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "./" + name, Mode: 0o644}
		var body []byte
		if link, is := strings.CutPrefix(content, "-> "); is {
			h.Typeflag, h.Linkname = tar.TypeSymlink, link
		} else {
			body = packed(t, content)
		}
		h.Size = int64(len(body))
		must(t, w.WriteHeader(h))
		_, err := w.Write(body)
		must(t, err)
	}
	must(t, w.Close())
	file := filepath.Join(t.TempDir(), "root.tar")
	must(t, os.WriteFile(file, out.Bytes(), 0o600))
	return file
}

func packed(t *testing.T, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write([]byte(content))
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPackages: the version of a package is that of its Debian changelog, or of the one for its architecture if it was built
// again; upstream's changelog says nothing, a native package has no other, and a link is the package that it was made with.
func TestPackages(t *testing.T) {
	file := root(t, map[string]string{
		"usr/share/doc/xfsprogs/changelog.Debian.gz":       "xfsprogs (6.1.0-1) unstable; urgency=medium\n\n  * x (9.9) y\n",
		"usr/share/doc/xfsprogs/changelog.gz":              "xfsprogs-6.1.0 (10 Oct 2022)\n",
		"usr/share/doc/libdevmapper/changelog.Debian.gz":   "lvm2 (2:1.02.185-2) unstable; urgency=medium\n",
		"usr/share/doc/libzstd1/changelog.Debian.gz":       "libzstd (1.5.4+dfsg2-5) unstable; urgency=medium\n",
		"usr/share/doc/libzstd1/changelog.Debian.amd64.gz": "libzstd (1.5.4+dfsg2-5+b1) sid; urgency=low, binary-only=yes\n",
		"usr/share/doc/libzstd1/changelog.Debian.arm64.gz": "libzstd (1.5.4+dfsg2-5+b2) sid; urgency=low, binary-only=yes\n",
		"usr/share/doc/base-files/changelog.gz":            "base-files (12.4) bookworm; urgency=medium\n",
		"usr/share/doc/gcc-12-base/changelog.Debian.gz":    "gcc-12 (12.2.0-14) unstable; urgency=medium\n",
		"usr/share/doc/libgcc-s1":                          "-> gcc-12-base",
		"usr/share/doc/libgcc-s1-link-to-nothing":          "-> gone",
		"usr/share/doc/xfsprogs/copyright":                 "whatever",
		"usr/share/elsewhere/changelog.Debian.gz":          "elsewhere (1) unstable; urgency=medium\n",
	})
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	got, err := versions(tar.NewReader(f), "amd64")
	must(t, err)
	want := map[string]string{
		"xfsprogs": "6.1.0-1", "libdevmapper": "2:1.02.185-2", "libzstd1": "1.5.4+dfsg2-5+b1", "base-files": "12.4",
		"gcc-12-base": "12.2.0-14", "libgcc-s1": "12.2.0-14",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := packagesOf(root(t, map[string]string{"etc/passwd": "x"}), "amd64"); err == nil {
		t.Error("a root file system without packages has some")
	}
}

// TestDocument: it is one of SPDX, twice the same, and has this program with its modules, and the packages, each in its place.
func TestDocument(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	spec := Spec{Name: "example", Version: "v1", Architecture: "amd64", Programs: []string{self}, Root: root(t, map[string]string{
		"usr/share/doc/xfsprogs/changelog.Debian.gz": "xfsprogs (6.1.0-1) unstable; urgency=medium\n",
		"usr/share/doc/dmsetup/changelog.Debian.gz":  "lvm2 (2:1.02.185-2) unstable; urgency=medium\n",
	})}
	first, err := Of(spec)
	must(t, err)
	second, err := Of(spec)
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Error("it is another one each time")
	}
	var d document
	must(t, json.Unmarshal(first, &d))
	ids := map[string]string{}
	for _, p := range d.Packages {
		if ids[p.SPDXID] != "" || p.DownloadLocation == "" {
			t.Errorf("package %+v", p)
		}
		ids[p.SPDXID] = p.Name
	}
	inside := map[string]string{} // in what
	for _, r := range d.Relationships {
		if r.RelationshipType == "CONTAINS" {
			inside[ids[r.RelatedSPDXElement]] = ids[r.SPDXElementID]
		}
	}
	program := filepath.Base(self)
	for name, in := range map[string]string{program: "example", "stdlib": program, "xfsprogs": "example", "dmsetup": "example"} {
		if inside[name] != in {
			t.Errorf("%s is in %q, not in %s", name, inside[name], in)
		}
	}
	if d.SPDXVersion != "SPDX-2.3" || !strings.Contains(d.DocumentNamespace, "example-") || len(d.Relationships) != len(d.Packages) {
		t.Errorf("the document is %+v", d)
	}
	for _, want := range []string{`"pkg:deb/debian/dmsetup@2%3A1.02.185-2?arch=amd64"`, `"pkg:golang/stdlib@`, `"SHA256"`} {
		if !strings.Contains(string(first), want) {
			t.Errorf("it does not have %s", want)
		}
	}
}

// TestWhatIsNoProgram: a file that Go did not make is an error, not an empty list.
func TestWhatIsNoProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(file, []byte("text"), 0o600))
	for _, spec := range []Spec{{Programs: []string{file}}, {Programs: []string{file + "-missing"}}, {Root: file + "-missing"}, {Root: file}} {
		if _, err := Of(spec); err == nil {
			t.Errorf("%+v is described", spec)
		}
	}
}
