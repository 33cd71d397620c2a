package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// dropped are the parts of a Debian root file system that no container needs:
// the runtime mounts its own /dev, and nobody reads manual pages in there.
var dropped = []string{
	"dev", "proc", "sys", "run", "tmp", "boot", "home", "media", "mnt", "srv", "opt",
	"etc/apt", "etc/cron.d", "etc/cron.daily", "etc/logrotate.d",
	"var/cache", "var/log", "var/lib/apt", "var/backups", "var/tmp",
	"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale",
	"usr/share/bash-completion", "usr/share/lintian", "usr/share/initramfs-tools",
}

// baseLayer makes a layer of a root file system's tar, less what is dropped,
// with set-user-ID bits removed: the container's process is root already, or
// is not meant to become it.
func baseLayer(file string) (v1.Layer, error) {
	return streamLayer(func(w *tar.Writer) (err error) {
		source, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, source.Close()) }()
		return copyTar(w, tar.NewReader(source))
	})
}

// copyTar copies the entries that are kept.
func copyTar(w *tar.Writer, r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if name == "" || isDropped(name) {
			continue
		}
		if err := w.WriteHeader(cleanHeader(h, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := io.Copy(w, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// cleanHeader is the entry's header without anything that differs between two
// builds of the same packages.
func cleanHeader(h *tar.Header, name string) *tar.Header {
	clean := &tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Size: h.Size,
		Mode: h.Mode &^ 0o6000, Uid: h.Uid, Gid: h.Gid,
		Devmajor: h.Devmajor, Devminor: h.Devminor, ModTime: epoch,
	}
	switch h.Typeflag {
	case tar.TypeDir:
		clean.Name += "/"
	case tar.TypeLink:
		clean.Linkname = strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
	}
	return clean
}

// isDropped reports whether the path is in a dropped part. The copyright files
// under usr/share/doc stay: the packages' licences ask for it.
func isDropped(name string) bool {
	if strings.HasPrefix(name, "usr/share/doc/") && path.Base(name) == "copyright" {
		return false
	}
	for _, d := range dropped {
		if name == d || strings.HasPrefix(name, d+"/") {
			return true
		}
	}
	return false
}
