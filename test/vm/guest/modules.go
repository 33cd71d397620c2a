package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// modules are what the guest loads; what they depend on comes with them.
var modules = []string{"virtio_pci", "virtio_blk", "virtio_console", "xfs", "btrfs", "dm_crypt", "xts", "ecb", "virtiofs", "overlay"}

// order lists the files of modules and of what they depend on, each after what it needs. A module that is built into the
// kernel has no file and is left out.
func order(dir string, names []string) ([]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok && err == nil && !e.IsDir() {
			files[canonical(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no kernel module is in %s", dir)
	}
	var ordered []string
	var add func(name string) error
	add = func(name string) error {
		path := files[canonical(name)]
		if path == "" || slices.Contains(ordered, path) {
			return nil
		}
		needs, err := dependencies(path)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		ordered = append(ordered, path)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// canonical is a module's name: its file may have dashes in the place of underscores.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// dependencies reads which modules a module says that it needs.
func dependencies(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer file.Close() //nolint:errcheck // only read from
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s says nothing of itself", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}
