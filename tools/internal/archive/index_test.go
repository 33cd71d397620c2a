package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ofArchitecture writes the archive of an image for one architecture.
func ofArchitecture(t *testing.T, arch, name string) string {
	t.Helper()
	s := spec(t)
	s.Architecture, s.Name = arch, name
	output := filepath.Join(t.TempDir(), arch+".tar")
	if err := Write(s, output); err != nil {
		t.Fatal(err)
	}
	return output
}

// filesOf reads a tar.
func filesOf(t *testing.T, file string) map[string][]byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// decode reads a JSON file of an archive.
func decode[T any](t *testing.T, files map[string][]byte, name string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(files[name], &value); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return value
}

func blob(hash v1.Hash) string { return "blobs/" + hash.Algorithm + "/" + hash.Hex }

func TestIndexHasEachArchitecture(t *testing.T) {
	output := filepath.Join(t.TempDir(), "new", "app.oci.tar")
	if err := WriteIndex([]string{ofArchitecture(t, "amd64", "example/app:v1"), ofArchitecture(t, "arm64", "example/app:v1")}, output); err != nil {
		t.Fatal(err)
	}
	files := filesOf(t, output)
	if !strings.Contains(string(files["oci-layout"]), `"1.0.0"`) {
		t.Errorf("oci-layout is %q", files["oci-layout"])
	}
	outer := decode[v1.IndexManifest](t, files, "index.json")
	if len(outer.Manifests) != 1 {
		t.Fatalf("the archive has %d images, want one", len(outer.Manifests))
	}
	if got := outer.Manifests[0].Annotations; got[ContainerdName] != "docker.io/example/app:v1" || got[refName] != "v1" {
		t.Errorf("the image is called %v", got)
	}
	var architectures []string
	for _, one := range decode[v1.IndexManifest](t, files, blob(outer.Manifests[0].Digest)).Manifests {
		manifest := decode[v1.Manifest](t, files, blob(one.Digest))
		config := decode[v1.ConfigFile](t, files, blob(manifest.Config.Digest))
		if one.Platform == nil || one.Platform.OS != "linux" || one.Platform.Architecture != config.Architecture {
			t.Errorf("the image for %s is offered to %+v", config.Architecture, one.Platform)
		}
		if config.Config.User != "65532:65532" || len(config.Config.Entrypoint) != 1 {
			t.Errorf("the configuration is %+v", config.Config)
		}
		if len(manifest.Layers) != 1 || len(files[blob(manifest.Layers[0].Digest)]) == 0 {
			t.Errorf("the layers of the image for %s are %+v", config.Architecture, manifest.Layers)
		}
		for _, kind := range []string{string(one.MediaType), string(manifest.Config.MediaType), string(manifest.Layers[0].MediaType)} {
			if !strings.HasPrefix(kind, "application/vnd.oci.image.") {
				t.Errorf("something is of type %s", kind)
			}
		}
		architectures = append(architectures, config.Architecture)
	}
	if got := strings.Join(architectures, " "); got != "amd64 arm64" {
		t.Errorf("the index has %s", got)
	}
}

func TestTheSameArchivesGiveTheSameIndex(t *testing.T) {
	parts := []string{ofArchitecture(t, "amd64", "example/app:v1"), ofArchitecture(t, "arm64", "example/app:v1")}
	var archives [2][]byte
	for i := range archives {
		output := filepath.Join(t.TempDir(), "app.oci.tar")
		if err := WriteIndex(parts, output); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(output); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same parts differ")
	}
}

func TestIndexOfWhatDoesNotBelongTogether(t *testing.T) {
	amd64 := ofArchitecture(t, "amd64", "example/app:v1")
	text := filepath.Join(t.TempDir(), "text.tar")
	if err := os.WriteFile(text, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		archives []string
		want     string
	}{
		"none":              {nil, "no archive is named"},
		"one twice":         {[]string{amd64, ofArchitecture(t, "amd64", "example/app:v1")}, "both for amd64"},
		"two versions":      {[]string{amd64, ofArchitecture(t, "arm64", "example/app:v2")}, "no parts of one image"},
		"not an image":      {[]string{amd64, text}, "text.tar"},
		"what is not there": {[]string{amd64, "/nonexistent.tar"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "app.oci.tar")
			if err := WriteIndex(tc.archives, output); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("WriteIndex() = %v, want an error with %q", err, tc.want)
			}
			if _, err := os.Stat(output); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}
