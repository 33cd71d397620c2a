// Package release names images by their digests in what users apply. The digest of an image that was joined for several
// architectures is that of its index, and stays the same wherever it is pushed to, so it is known before.
package release

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/archive"
)

// Project begins the names of the images that the project builds.
const Project = "cloud-provider-vultr/"

// Image is an image of the project.
type Image struct {
	// Name is without registry and tag: cloud-provider-vultr/ccm.
	Name string
	// Digest is that of the index: sha256:...
	Digest string
}

// At is the image in a registry, or in a part of one; "" is where its name says.
func (i Image) At(registry string) string { return repository(i.Name, registry) + "@" + i.Digest }

func repository(image, registry string) string {
	if registry == "" {
		return image
	}
	return strings.TrimSuffix(registry, "/") + "/" + strings.TrimPrefix(image, Project)
}

// ReadImages reads which images are in OCI archives that have one each.
func ReadImages(archives []string) ([]Image, error) {
	var all []Image
	for _, file := range archives {
		image, err := readImage(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if slices.ContainsFunc(all, func(other Image) bool { return other.Name == image.Name }) {
			return nil, fmt.Errorf("%s is %s, as another archive is", file, image.Name)
		}
		all = append(all, image)
	}
	return all, nil
}

func readImage(file string) (Image, error) {
	index, err := readIndex(file)
	if err != nil {
		return Image{}, err
	}
	if len(index.Manifests) != 1 {
		return Image{}, fmt.Errorf("it has %d images, not one", len(index.Manifests))
	}
	tag, err := name.NewTag(index.Manifests[0].Annotations[archive.ContainerdName], name.StrictValidation)
	if err != nil {
		return Image{}, fmt.Errorf("the name of its image: %w", err)
	}
	return Image{Name: tag.RepositoryStr(), Digest: index.Manifests[0].Digest.String()}, nil
}

// readIndex returns the index.json of an OCI archive.
func readIndex(file string) (_ *v1.IndexManifest, err error) {
	f, err := os.Open(file) //nolint:gosec // G304: it is named by who calls the tool
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it has no index.json: this is no OCI archive")
		}
		if err != nil {
			return nil, err
		}
		if h.Name == "index.json" {
			return v1.ParseIndexManifest(r)
		}
	}
}

// imageLine is a line of a manifest that names an image.
var imageLine = regexp.MustCompile(`(?m)^(\s*(?:- )?image: )(\S+)$`)

// Pin returns the manifest with the project's images by their digests in a registry. Those of others stay as they are. One of the
// project's whose digest is not known is an error.
func Pin(manifest string, images []Image, registry string) (string, error) {
	var unknown []string
	pinned := imageLine.ReplaceAllStringFunc(manifest, func(line string) string {
		parts := imageLine.FindStringSubmatch(line)
		if !strings.HasPrefix(parts[2], Project) {
			return line
		}
		image, _, _ := strings.Cut(parts[2], ":")
		i := slices.IndexFunc(images, func(known Image) bool { return known.Name == image })
		if i < 0 {
			unknown = append(unknown, image)
			return line
		}
		return parts[1] + images[i].At(registry)
	})
	if len(unknown) > 0 {
		return "", fmt.Errorf("the digest is not known of %s", strings.Join(unknown, ", "))
	}
	return pinned, nil
}

// places are the chart's values that name the images.
var places = []struct{ image, path string }{
	{Project + "ccm", "ccm"},
	{Project + "csi-controller", "csi.controller"},
	{Project + "csi-node", "csi.node"},
}

// Values returns a file of values for the chart, with the images by their digests in a registry.
func Values(images []Image, registry string) (string, error) {
	var b strings.Builder
	b.WriteString("# The images of this release, for the chart: helm install --values images.yaml\n")
	section := ""
	for _, p := range places {
		i := slices.IndexFunc(images, func(known Image) bool { return known.Name == p.image })
		if i < 0 {
			return "", fmt.Errorf("the digest is not known of %s", p.image)
		}
		keys := strings.Split(p.path, ".")
		for depth, key := range keys {
			if depth == 0 && key == section {
				continue
			}
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", depth), key)
		}
		section = keys[0]
		indent := strings.Repeat("  ", len(keys))
		fmt.Fprintf(&b, "%simage:\n%s  repository: %s\n%s  digest: %s\n", indent, indent, repository(p.image, registry), indent, images[i].Digest)
	}
	return b.String(), nil
}

// PinValues returns the chart's file of values with the images by their digests in a registry, so that the chart of a release installs it
// without further ado.
func PinValues(values string, images []Image, registry string) (string, error) {
	root, err := kyaml.Parse(values)
	if err != nil {
		return "", err
	}
	for _, p := range places {
		i := slices.IndexFunc(images, func(known Image) bool { return known.Name == p.image })
		if i < 0 {
			return "", fmt.Errorf("the digest is not known of %s", p.image)
		}
		image, err := root.Pipe(kyaml.Lookup(append(strings.Split(p.path, "."), "image")...))
		if err != nil {
			return "", err
		}
		if image == nil {
			return "", fmt.Errorf("there is no value %s.image", p.path)
		}
		for field, value := range map[string]string{"repository": repository(p.image, registry), "digest": images[i].Digest} {
			if image.Field(field) == nil {
				return "", fmt.Errorf("there is no value %s.image.%s", p.path, field)
			}
			if err := image.PipeE(kyaml.SetField(field, kyaml.NewStringRNode(value))); err != nil {
				return "", err
			}
		}
	}
	return root.String()
}

// Sums returns the SHA-256 sums of all files below a directory, but for one, as `sha256sum --check` takes them.
func Sums(dir, but string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		inside, err := filepath.Rel(dir, path)
		if err != nil || inside == but {
			return err
		}
		sum, err := sumOf(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, filepath.ToSlash(inside))
		return nil
	})
	return b.String(), err
}

func sumOf(file string) (_ string, err error) {
	f, err := os.Open(file) //nolint:gosec // G304: it is in the directory that is named by who calls the tool
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
