package filesystem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// extFile makes an ext4 with some content in a file.
func extFile(t *testing.T, block int) (path string, content []byte) {
	t.Helper()
	dir := t.TempDir()
	path, content = filepath.Join(dir, "disk"), []byte("what a pod wrote")
	source := filepath.Join(dir, "source")
	err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 160<<20), os.Mkdir(source, 0o700),
		os.WriteFile(filepath.Join(source, "file"), content, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	tool := ext4{}.Make(path, Wish{Kernel: Floor})
	args := append([]string{"-q", "-F", "-d", source, "-b", fmt.Sprint(block)}, tool.Args...)
	if out, err := exec.Command(tool.Name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path, content
}

// overwrite writes into a file.
func overwrite(t *testing.T, path string, at int64, data ...byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// lifetimeWrites is where e2fsck notes how much was written, right before it writes the checksum.
const lifetimeWrites = extStart + 0x178

// TestSuperblockCutOff: a superblock of which only a part was written, as a kill of e2fsck leaves it, is repaired by its
// copy, and nothing is lost.
func TestSuperblockCutOff(t *testing.T) {
	for _, block := range []int{1024, 2048, 4096} {
		path, content := extFile(t, block)
		overwrite(t, path, lifetimeWrites, 0x11, 0x22)
		check := ext4{}.Check(path)[0]
		bare := check
		bare.instead = nil
		if bare.run(t.Context(), &progress{}) == nil {
			t.Fatal("e2fsck repairs it by itself, so this test shows nothing")
		}
		code := -1
		check.Ended = func(c int) { code = c }
		if err := check.run(t.Context(), &progress{}); err != nil || code != extRepaired {
			t.Errorf("blocks of %d: ended with %d, %v", block, code, err)
		}
		if out, err := exec.Command("e2fsck", "-fn", path).CombinedOutput(); err != nil {
			t.Errorf("blocks of %d: afterwards %v: %s", block, err, out)
		}
		if out, err := exec.Command("debugfs", "-R", "cat file", path).Output(); err != nil || !bytes.Equal(out, content) {
			t.Errorf("blocks of %d: the file is %q, %v", block, out, err)
		}
	}
}

// beginning returns where all that e2fsck writes to begins.
func beginning(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, 2<<20))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSuperblockWithoutCopy: a disk without any intact superblock is left as it is, and the error advises what to do.
func TestSuperblockWithoutCopy(t *testing.T) {
	for name, spoil := range map[string]func(path string){
		"no magic":       func(path string) { overwrite(t, path, extStart+extMagic, 0, 0) },
		"no copy":        func(path string) { overwrite(t, path, 32768*4096+extMagic, 0, 0) },
		"no such blocks": func(path string) { overwrite(t, path, extStart+extLogBlockSize, 200) },
		"no groups":      func(path string) { overwrite(t, path, extStart+extBlocksPerGroup, 0, 0, 0, 0) },
	} {
		path, _ := extFile(t, 4096)
		overwrite(t, path, lifetimeWrites, 0x11, 0x22)
		spoil(path)
		before := beginning(t, path)
		check := ext4{}.Check(path)[0]
		if err := check.run(t.Context(), &progress{}); err == nil {
			t.Errorf("%s: it was repaired", name)
		}
		if !bytes.Equal(beginning(t, path), before) {
			t.Errorf("%s: something was written", name)
		}
	}
}
