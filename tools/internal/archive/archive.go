package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Write builds the image and puts its archive at the path, which appears
// whole or not at all.
func Write(spec Spec, output string) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	tag, err := name.NewTag(spec.Name, name.WeakValidation)
	if err != nil {
		return err
	}
	image, err := build(spec)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.part%d", output, os.Getpid())
	if err := tarball.WriteToFile(part, tag, image); err != nil {
		return fmt.Errorf("writing %s: %w", output, errorsWith(err, os.Remove(part)))
	}
	return os.Rename(part, output)
}

// errorsWith adds a failed clean-up to an error.
func errorsWith(err, cleanup error) error {
	if cleanup == nil || errors.Is(cleanup, os.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w (and then %w)", err, cleanup)
}

// build stacks the layers and sets the configuration.
func build(spec Spec) (v1.Image, error) {
	layers, err := specLayers(spec)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", spec.Architecture
	file.Created = v1.Time{Time: epoch}
	file.Config = v1.Config{
		Entrypoint: spec.Entrypoint, Cmd: spec.Command, User: spec.User, WorkingDir: "/",
		Env:    append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, spec.Env...),
		Labels: spec.Labels,
	}
	return mutate.ConfigFile(image, file)
}

// specLayers makes the base layer, if there is one, and the layer of files, which also names the base layer's packages.
func specLayers(spec Spec) ([]v1.Layer, error) {
	var layers []v1.Layer
	var entries []entry
	if spec.BaseTar != "" {
		layer, err := baseLayer(spec.BaseTar)
		if err != nil {
			return nil, fmt.Errorf("base layer: %w", err)
		}
		layers = append(layers, layer)
		if entries, err = packageEntries(spec.BaseTar, spec.Architecture); err != nil {
			return nil, fmt.Errorf("packages of the base layer: %w", err)
		}
	}
	for _, f := range spec.Files {
		e, err := fileEntry(f)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if spec.CACertificates {
		roots, err := caCertificates()
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		entries = append(entries, bytesEntry(caPath, roots))
	}
	if len(entries) == 0 {
		return layers, nil
	}
	layer, err := filesLayer(entries)
	if err != nil {
		return nil, fmt.Errorf("layer of files: %w", err)
	}
	return append(layers, layer), nil
}
