package archive

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// epoch is the time stamp of everything in an image.
var epoch = time.Unix(0, 0).UTC()

// entry is one regular file of a layer; content is read again at every opening.
type entry struct {
	target string
	mode   int64
	open   func() (io.ReadCloser, int64, error)
}

// fileEntry reads a file of this machine.
func fileEntry(f File) (entry, error) {
	info, err := os.Stat(f.Source)
	if err != nil {
		return entry{}, err
	}
	if !info.Mode().IsRegular() {
		return entry{}, fmt.Errorf("%s is not a regular file", f.Source)
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	open := func() (io.ReadCloser, int64, error) {
		file, err := os.Open(f.Source)
		if err != nil {
			return nil, 0, err
		}
		info, err := file.Stat()
		if err != nil {
			return nil, 0, fmt.Errorf("%w (%w)", err, file.Close())
		}
		return file, info.Size(), nil
	}
	return entry{target: f.Target, mode: mode, open: open}, nil
}

// bytesEntry holds its content.
func bytesEntry(target string, content []byte) entry {
	return entry{target: target, mode: 0o644, open: func() (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader(string(content))), int64(len(content)), nil
	}}
}

// filesLayer streams the entries as a layer: nothing is held in memory, however
// large a binary is.
func filesLayer(entries []entry) (v1.Layer, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.target, b.target) })
	return streamLayer(func(w *tar.Writer) error { return writeEntries(w, entries) })
}

// streamLayer makes a layer of what write puts into the tar; write runs once
// for every time that the layer is read.
func streamLayer(write func(*tar.Writer) error) (v1.Layer, error) {
	opener := func() (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() {
			w := tar.NewWriter(writer)
			err := write(w)
			if err == nil {
				err = w.Close()
			}
			writer.CloseWithError(err)
		}()
		return reader, nil
	}
	return tarball.LayerFromOpener(opener, tarball.WithCompressionLevel(gzip.BestSpeed))
}

// writeEntries writes the files and, before each, the directories above it.
func writeEntries(w *tar.Writer, entries []entry) error {
	made := map[string]bool{}
	for _, e := range entries {
		for _, dir := range parents(e.target) {
			if made[dir] {
				continue
			}
			made[dir] = true
			h := &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch}
			if err := w.WriteHeader(h); err != nil {
				return err
			}
		}
		if err := writeEntry(w, e); err != nil {
			return fmt.Errorf("%s: %w", e.target, err)
		}
	}
	return nil
}

// writeEntry writes one file.
func writeEntry(w *tar.Writer, e entry) (err error) {
	content, size, err := e.open()
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := content.Close(); err == nil {
			err = closeErr
		}
	}()
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(e.target, "/"),
		Mode: e.mode, Size: size, ModTime: epoch,
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, content)
	return err
}

// parents lists the directories above an absolute path, topmost first, without
// the leading slash.
func parents(target string) []string {
	var dirs []string
	for dir := path.Dir(target); dir != "/"; dir = path.Dir(dir) {
		dirs = append(dirs, strings.TrimPrefix(dir, "/"))
	}
	slices.Reverse(dirs)
	return dirs
}
