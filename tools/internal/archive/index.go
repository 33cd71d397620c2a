package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ContainerdName is the annotation by which containerd knows the name of an image in an OCI archive, and refName the one of others.
const (
	ContainerdName = "io.containerd.image.name"
	refName        = "org.opencontainers.image.ref.name"
)

// WriteIndex joins the archives of one image, each for another architecture, to one OCI archive, from which each machine takes its own. It
// appears whole or not at all.
func WriteIndex(archives []string, output string) error {
	index, tag, err := join(archives)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "image-index-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is in the directory for what may go
	named := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{Annotations: map[string]string{
		ContainerdName: fullName(tag), refName: tag.TagStr(),
	}}})
	if _, err := layout.Write(dir, named); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.part%d", output, os.Getpid())
	if err := writeDirectory(dir, part); err != nil {
		return fmt.Errorf("writing %s: %w", output, errorsWith(err, os.Remove(part)))
	}
	return os.Rename(part, output)
}

// join returns the index of the images, and their name.
func join(archives []string) (v1.ImageIndex, name.Tag, error) {
	var tag name.Tag
	index, seen := v1.ImageIndex(empty.Index), map[string]string{}
	for _, archive := range archives {
		image, is, err := read(archive)
		if err != nil {
			return nil, tag, fmt.Errorf("%s: %w", archive, err)
		}
		if len(seen) > 0 && is != tag {
			return nil, tag, fmt.Errorf("%s is called %s, and %s is %s: they are no parts of one image", archive, is, archives[0], tag)
		}
		tag = is
		config, err := image.ConfigFile()
		if err != nil {
			return nil, tag, err
		}
		if other := seen[config.Architecture]; other != "" {
			return nil, tag, fmt.Errorf("%s and %s are both for %s", other, archive, config.Architecture)
		}
		seen[config.Architecture] = archive
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: config.OS, Architecture: config.Architecture}},
		})
	}
	if len(seen) == 0 {
		return nil, tag, errors.New("no archive is named")
	}
	return index, tag, nil
}

// read reads the image in an archive, in OCI's form.
func read(archive string) (v1.Image, name.Tag, error) {
	opener := func() (io.ReadCloser, error) { return os.Open(archive) }
	manifest, err := tarball.LoadManifest(opener)
	if err != nil {
		return nil, name.Tag{}, err
	}
	if len(manifest) != 1 || len(manifest[0].RepoTags) != 1 {
		return nil, name.Tag{}, errors.New("this is not the archive of one image with one name")
	}
	tag, err := name.NewTag(manifest[0].RepoTags[0])
	if err != nil {
		return nil, tag, err
	}
	image, err := tarball.Image(opener, nil)
	if err != nil {
		return nil, tag, err
	}
	image, err = converted(image)
	return image, tag, err
}

// converted is the same image with OCI's media types: an archive that docker loads has Docker's.
func converted(image v1.Image) (v1.Image, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	fresh := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, old := range layers {
		layer, err := tarball.LayerFromOpener(old.Uncompressed, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		if fresh, err = mutate.AppendLayers(fresh, layer); err != nil {
			return nil, err
		}
	}
	return mutate.ConfigFile(fresh, config.DeepCopy())
}

// fullName is what containerd calls an image.
func fullName(tag name.Tag) string {
	registry := tag.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	return registry + "/" + tag.RepositoryStr() + ":" + tag.TagStr()
}

// writeDirectory writes the files of a directory as a tar, in their order and without anything that differs between two runs.
func writeDirectory(dir, output string) (err error) {
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		inside, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return addFile(w, path, filepath.ToSlash(inside))
	})
	return errors.Join(err, w.Close())
}

// addFile adds a file to a tar.
func addFile(w *tar.Writer, path, target string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	content, err := os.Open(path)
	if err != nil {
		return err
	}
	return writeEntry(w, entry{target: target, mode: 0o644, open: func() (io.ReadCloser, int64, error) { return content, info.Size(), nil }})
}
