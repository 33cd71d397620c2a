package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gzipped compresses a text.
func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// rootfs writes a root file system's tar: what begins with "-> " is a symbolic link, what ends in .gz is compressed
// unless it begins with "plain: ".
func rootfs(t *testing.T, files [][2]string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, file := range files {
		name, content := "./"+file[0], []byte(file[1])
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}
		if target, link := strings.CutPrefix(file[1], "-> "); link {
			h.Typeflag, h.Linkname, content = tar.TypeSymlink, target, nil
		} else if strings.HasSuffix(name, ".gz") && !strings.HasPrefix(file[1], "plain: ") {
			content = gzipped(t, file[1])
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rootfs.tar")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPackagesOfTheBaseAreNamed(t *testing.T) {
	s := spec(t)
	s.BaseTar = rootfs(t, [][2]string{
		{"usr/share/doc/xfsprogs/copyright", "a licence"},
		{"usr/share/doc/xfsprogs/changelog.gz", "xfsprogs-6.1.0\n"},
		{"usr/share/doc/xfsprogs/changelog.Debian.gz", "\nxfsprogs (6.1.0-1) unstable; urgency=low\n\n  * New release\n\nxfsprogs (5.0-1) unstable; urgency=low\n"},
		// Debian's own history, before and after its authors'.
		{"usr/share/doc/libblkid1/copyright", "a licence"},
		{"usr/share/doc/libblkid1/changelog.Debian.gz", "util-linux (2.38.1-5+deb12u3) bookworm-security; urgency=high\n"},
		{"usr/share/doc/libblkid1/changelog.gz", "util-linux (2.38) whatever; they wrote in the same form\n"},
		{"usr/share/doc/dpkg/copyright", "a licence"},
		{"usr/share/doc/dpkg/changelog.gz", "dpkg (1.21.22) bookworm; urgency=medium\n"},
		// Rebuilt for this architecture, and for another one.
		{"usr/share/doc/e2fsprogs/copyright", "a licence"},
		{"usr/share/doc/e2fsprogs/changelog.Debian.amd64.gz", "e2fsprogs (1.47.0-2+b2) bookworm; urgency=low, binary-only=yes\n"},
		{"usr/share/doc/e2fsprogs/changelog.Debian.arm64.gz", "e2fsprogs (1.47.0-2+b3) bookworm; urgency=low, binary-only=yes\n"},
		{"usr/share/doc/e2fsprogs/changelog.Debian.gz", "e2fsprogs (1.47.0-2) unstable; urgency=medium\n"},
		// Links, of a whole directory and of the history alone.
		{"usr/share/doc/gcc-12-base/copyright", "a licence"},
		{"usr/share/doc/gcc-12-base/changelog.Debian.gz", "gcc-12 (12.2.0-14) unstable; urgency=medium\n"},
		{"usr/share/doc/libgcc-s1", "-> gcc-12-base"},
		{"usr/share/doc/libss2/copyright", "a licence"},
		{"usr/share/doc/libss2/changelog.Debian.gz", "-> ../libcom-err2/changelog.Debian.gz"},
		{"usr/share/doc/libcom-err2/copyright", "a licence"},
		{"usr/share/doc/libcom-err2/changelog.Debian.gz", "e2fsprogs (1.47.0-2) unstable; urgency=medium\n"},
		{"usr/share/notes/copyright", "of no package"},
	})
	output := filepath.Join(t.TempDir(), "app.tar")
	if err := Write(s, output); err != nil {
		t.Fatal(err)
	}
	headers, contents := extracted(t, open(t, output, s.Name))
	want := map[string]string{
		"xfsprogs": "xfsprogs (6.1.0-1)/6.1.0-1", "libblkid1": "util-linux (2.38.1-5+deb12u3)/2.38.1-5+deb12u3", "dpkg": "dpkg (1.21.22)/1.21.22",
		"e2fsprogs": "e2fsprogs (1.47.0-2)/1.47.0-2+b2", "gcc-12-base": "gcc-12 (12.2.0-14)/12.2.0-14", "libgcc-s1": "gcc-12 (12.2.0-14)/12.2.0-14",
		"libss2": "e2fsprogs (1.47.0-2)/1.47.0-2", "libcom-err2": "e2fsprogs (1.47.0-2)/1.47.0-2",
	}
	for name, versions := range want {
		from, version, _ := strings.Cut(versions, "/")
		text := "Package: " + name + "\nStatus: install ok installed\nArchitecture: amd64\nSource: " + from + "\nVersion: " + version + "\n"
		if got := contents["var/lib/dpkg/status.d/"+name]; got != text {
			t.Errorf("%s is described by %q, want %q", name, got, text)
		}
	}
	for path, h := range headers {
		if name, found := strings.CutPrefix(path, "var/lib/dpkg/status.d/"); found && h.Typeflag == tar.TypeReg && want[name] == "" {
			t.Errorf("%s is no package", name)
		}
	}
}

func TestPackageOfNoVersionIsRefused(t *testing.T) {
	for name, files := range map[string][][2]string{
		"no history":         {{"usr/share/doc/mount/copyright", "a licence"}},
		"that of its author": {{"usr/share/doc/mount/copyright", "a licence"}, {"usr/share/doc/mount/changelog.gz", "Release 2.38\n"}},
		"an empty one":       {{"usr/share/doc/mount/copyright", "a licence"}, {"usr/share/doc/mount/changelog.Debian.gz", "\n"}},
		"a dead link":        {{"usr/share/doc/mount", "-> util-linux"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t)
			s.BaseTar = rootfs(t, files)
			err := Write(s, filepath.Join(t.TempDir(), "app.tar"))
			if err == nil || !strings.Contains(err.Error(), "Debian package mount is not known") {
				t.Errorf("Write() = %v for a package whose version nothing tells", err)
			}
		})
	}
}

func TestHistoryThatCannotBeReadIsRefused(t *testing.T) {
	s := spec(t)
	s.BaseTar = rootfs(t, [][2]string{{"usr/share/doc/mount/copyright", "a licence"}, {"usr/share/doc/mount/changelog.Debian.gz", "plain: not compressed"}})
	err := Write(s, filepath.Join(t.TempDir(), "app.tar"))
	if err == nil || !strings.Contains(err.Error(), "usr/share/doc/mount/changelog.Debian.gz") {
		t.Errorf("Write() = %v for a history that can't be read", err)
	}
}
