package release

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Push pushes the images of OCI archives to a registry, or a part of one, each under this tag, and returns them as they are named there by
// their digests. It is safe to repeat. A tag that names another image already stays as it is, and is an error, before anything is pushed:
// somebody may have installed what it names.
func Push(ctx context.Context, archives []string, registry, tag string, options ...remote.Option) ([]string, error) {
	if registry == "" {
		return nil, errors.New("no registry is named")
	}
	images, err := ReadImages(archives)
	if err != nil {
		return nil, err
	}
	options = append(options, remote.WithContext(ctx))
	targets := map[string]name.Tag{} // by archive
	for i, archive := range archives {
		target, err := name.NewTag(repository(images[i].Name, registry)+":"+tag, name.StrictValidation)
		if err != nil {
			return nil, err
		}
		if err := free(target, images[i].Digest, options); err != nil {
			return nil, err
		}
		targets[archive] = target
	}
	var pushed []string
	for i, archive := range archives {
		if err := pushOne(archive, targets[archive], options); err != nil {
			return nil, fmt.Errorf("pushing %s: %w", targets[archive], err)
		}
		pushed = append(pushed, images[i].At(registry))
	}
	return pushed, nil
}

// free returns an error if a tag names another image than the one with this digest.
func free(tag name.Tag, digest string, options []remote.Option) error {
	there, err := remote.Head(tag, options...)
	if failed, is := errors.AsType[*transport.Error](err); is && failed.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for %s: %w", tag, err)
	}
	if there.Digest.String() != digest {
		return fmt.Errorf("%s is in the registry already, as %s, and this is %s: a version that was published is never changed; choose another one", tag, there.Digest, digest)
	}
	return nil
}

// pushOne pushes the image of an OCI archive, all of it before its name.
func pushOne(archive string, tag name.Tag, options []remote.Option) (err error) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := unpack(archive, dir); err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	image, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	return remote.WriteIndex(tag, image, options...)
}

// unpack writes the files of an OCI archive into a directory.
func unpack(archive, dir string) (err error) {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%q is outside of it", h.Name)
		}
		if err := save(r, filepath.Join(dir, h.Name)); err != nil { //nolint:gosec // G305: it was looked at, the line above
			return err
		}
	}
}

func save(r io.Reader, file string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}
