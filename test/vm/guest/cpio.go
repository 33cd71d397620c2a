package guest

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// archive writes the form that the kernel unpacks (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w     *bufio.Writer
	inode int
	dirs  map[string]bool
}

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriter(w), dirs: map[string]bool{".": true}}
}

// The file types of stat(2).
const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

// add writes one entry.
func (a *archive) add(name string, mode uint32, size int64, content io.Reader) error {
	a.inode++
	// In the order of the format: inode, mode, user, group, links, time, size, device, device of a node, name, checksum.
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0)
	text := header + name + "\x00"
	if _, err := a.w.WriteString(text + padding(int64(len(text)))); err != nil {
		return err
	}
	if _, err := io.CopyN(a.w, content, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err := a.w.WriteString(padding(size))
	return err
}

func padding(n int64) string { return "\x00\x00\x00"[:(4-n%4)%4] }

// dir adds a directory and those above it, once.
func (a *archive) dir(name string) error {
	if a.dirs[name] {
		return nil
	}
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	a.dirs[name] = true
	return a.add(name, typeDir|0o755, 0, strings.NewReader(""))
}

// file adds a file with its directory.
func (a *archive) file(name string, mode uint32, size int64, content io.Reader) error {
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	return a.add(name, typeFile|mode, size, content)
}

// link adds a symbolic link.
func (a *archive) link(name, target string) error {
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	return a.add(name, typeLink|0o777, int64(len(target)), strings.NewReader(target))
}

// end closes the archive.
func (a *archive) end() error {
	if err := a.add("TRAILER!!!", 0, 0, strings.NewReader("")); err != nil {
		return err
	}
	return a.w.Flush()
}

// tree adds what a tar has, but for what is not wanted.
func (a *archive) tree(r io.Reader, wanted func(name string) bool) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "/"))
		if name == "." || !wanted(name) {
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = a.dir(name)
		case tar.TypeReg:
			err = a.file(name, uint32(h.Mode)&0o7777, h.Size, t) //nolint:gosec // 12 bits
		case tar.TypeSymlink:
			err = a.link(name, h.Linkname)
		case tar.TypeLink:
			err = a.link(name, "/"+path.Clean(h.Linkname))
		}
		if err != nil {
			return err
		}
	}
}
