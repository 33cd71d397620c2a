package archive

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// spec is a valid one with one executable and one plain file.
func spec(t *testing.T) Spec {
	t.Helper()
	dir := t.TempDir()
	app, text := filepath.Join(dir, "app"), filepath.Join(dir, "text")
	for file, mode := range map[string]os.FileMode{app: 0o755, text: 0o644} {
		if err := os.WriteFile(file, []byte("content of "+filepath.Base(file)), mode); err != nil {
			t.Fatal(err)
		}
	}
	return Spec{
		Name: "example/app:v1", Architecture: "amd64", Entrypoint: []string{"/app"}, User: "65532:65532",
		Files: []File{{app, "/app"}, {text, "/usr/share/text"}},
	}
}

// open reads an archive back.
func open(t *testing.T, path, tag string) v1.Image {
	t.Helper()
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(path, &ref)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// extracted is the image's file system: path to header.
func extracted(t *testing.T, image v1.Image) (map[string]*tar.Header, map[string]string) {
	t.Helper()
	stream := mutate.Extract(image)
	defer func() {
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	}()
	headers, contents := map[string]*tar.Header{}, map[string]string{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		headers[h.Name], contents[h.Name] = h, string(content)
	}
}

func TestWriteKeepsFilesAndConfiguration(t *testing.T) {
	s := spec(t)
	output := filepath.Join(t.TempDir(), "new", "app.tar")
	if err := Write(s, output); err != nil {
		t.Fatal(err)
	}
	image := open(t, output, s.Name)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "amd64" || config.OS != "linux" || config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/app" {
		t.Errorf("configuration: %+v", config)
	}
	headers, contents := extracted(t, image)
	if h := headers["app"]; h == nil || h.Mode != 0o755 || contents["app"] != "content of app" {
		t.Errorf("/app: %+v, %q", h, contents["app"])
	}
	if h := headers["usr/share/text"]; h == nil || h.Mode != 0o644 {
		t.Errorf("/usr/share/text: %+v", h)
	}
	if h := headers["usr/share"]; h == nil || h.Typeflag != tar.TypeDir {
		t.Errorf("/usr/share is %+v: a runtime would make it with a mode of its own", h)
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	s := spec(t)
	s.CACertificates = true
	var archives [2][]byte
	for i := range archives {
		output := filepath.Join(t.TempDir(), "app.tar")
		if err := Write(s, output); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(output); err != nil {
			t.Fatal(err)
		}
		// A later time stamp of the input makes no difference.
		for _, f := range s.Files {
			if err := os.Chtimes(f.Source, epoch, epoch); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same input differ")
	}
}

func TestCertificatesAreReadable(t *testing.T) {
	roots, err := caCertificates()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		t.Fatal("no certificate could be read")
	}
	if got := strings.Count(string(roots), "BEGIN CERTIFICATE"); got < 50 {
		t.Errorf("only %d roots", got)
	}
}

func TestBaseLayerIsCleaned(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base.tar")
	file, err := os.Create(base)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(file)
	history := gzipped(t, "util-linux (2.38.1-5) unstable; urgency=medium\n")
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./bin/mount", Mode: 0o4755},
		{Typeflag: tar.TypeLink, Name: "./bin/umount", Linkname: "./bin/mount", Mode: 0o4755},
		{Typeflag: tar.TypeChar, Name: "./dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Typeflag: tar.TypeReg, Name: "./usr/share/man/man8/mount.8.gz", Mode: 0o644},
		{Typeflag: tar.TypeReg, Name: "./usr/share/doc/mount/changelog.gz", Mode: 0o644, Size: int64(len(history))},
		{Typeflag: tar.TypeReg, Name: "./usr/share/doc/mount/copyright", Mode: 0o644},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := w.Write(history); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	s := spec(t)
	s.BaseTar = base
	output := filepath.Join(t.TempDir(), "app.tar")
	if err := Write(s, output); err != nil {
		t.Fatal(err)
	}
	headers, _ := extracted(t, open(t, output, s.Name))
	if h := headers["bin/mount"]; h == nil || h.Mode != 0o755 {
		t.Errorf("/bin/mount: %+v, want it without the set-user-ID bit", h)
	}
	if h := headers["bin/umount"]; h == nil || h.Linkname != "bin/mount" {
		t.Errorf("/bin/umount: %+v", h)
	}
	for path := range headers {
		if strings.HasPrefix(path, "dev/") || strings.Contains(path, "/man/") || strings.Contains(path, "changelog") {
			t.Errorf("/%s was to be dropped", path)
		}
	}
	for _, path := range []string{"usr/share/doc/mount/copyright", "app"} {
		if headers[path] == nil {
			t.Errorf("/%s is missing", path)
		}
	}
}

func TestCommandAlone(t *testing.T) {
	s := spec(t)
	s.Entrypoint, s.Command = nil, []string{"sh"}
	if err := s.Validate(); err != nil {
		t.Errorf("Validate() = %v for an image that has a command and no entrypoint", err)
	}
}

func TestWriteRefusesBadSpecs(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Spec)
		want   string
	}{
		"a bad name":           {func(s *Spec) { s.Name = "Bad Name" }, "image name"},
		"no entrypoint":        {func(s *Spec) { s.Entrypoint = nil }, "entrypoint and command are empty"},
		"no architecture":      {func(s *Spec) { s.Architecture = "" }, "architecture is empty"},
		"nothing in it":        {func(s *Spec) { s.Files = nil }, "needs a file or a base"},
		"a relative target":    {func(s *Spec) { s.Files[0].Target = "app" }, "absolute path"},
		"a target that climbs": {func(s *Spec) { s.Files[0].Target = "/../app" }, "absolute path"},
		"a bad variable":       {func(s *Spec) { s.Env = []string{"X"} }, "KEY=VALUE"},
		"a missing file":       {func(s *Spec) { s.Files[0].Source = "/nonexistent" }, "no such file"},
		"a directory":          {func(s *Spec) { s.Files[0].Source = "/" }, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t)
			tc.change(&s)
			output := filepath.Join(t.TempDir(), "app.tar")
			err := Write(s, output)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Write() = %v, want an error with %q", err, tc.want)
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(output), "*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
