package archive

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// File is one file of the machine that goes into the image.
type File struct {
	// Source is the file on this machine. Its execute bit decides between
	// modes 0755 and 0644.
	Source string
	// Target is the absolute path in the image.
	Target string
}

// Spec describes one image.
type Spec struct {
	// Name is the full reference with a tag, as a pod spec names it.
	Name string
	// Architecture is Go's name of it; the operating system is always linux.
	Architecture string
	// BaseTar is an uncompressed tar of a root file system that becomes the
	// lowest layer; empty: the image holds nothing but Files.
	BaseTar string
	// Files go into one layer above the base.
	Files []File
	// CACertificates adds the public roots, for programs that speak TLS to the world.
	CACertificates bool
	// Entrypoint and Command are the exec forms of both.
	Entrypoint, Command []string
	// User is "uid:gid"; empty means root.
	User string
	// Env holds KEY=VALUE pairs.
	Env []string
	// Labels are the image's labels.
	Labels map[string]string
}

// Validate reports everything that is wrong with the spec.
func (s Spec) Validate() error {
	var errs []error
	if _, err := name.NewTag(s.Name, name.WeakValidation); err != nil {
		errs = append(errs, fmt.Errorf("image name: %w", err))
	}
	if s.Architecture == "" {
		errs = append(errs, errors.New("architecture is empty"))
	}
	if len(s.Entrypoint) == 0 && len(s.Command) == 0 {
		errs = append(errs, errors.New("entrypoint and command are empty"))
	}
	if len(s.Files) == 0 && s.BaseTar == "" {
		errs = append(errs, errors.New("an image needs a file or a base"))
	}
	for _, f := range s.Files {
		if !path.IsAbs(f.Target) || path.Clean(f.Target) != f.Target {
			errs = append(errs, fmt.Errorf("%q is not a clean absolute path in the image", f.Target))
		}
	}
	for _, e := range s.Env {
		if !strings.Contains(e, "=") {
			errs = append(errs, fmt.Errorf("environment %q is not KEY=VALUE", e))
		}
	}
	return errors.Join(errs...)
}
