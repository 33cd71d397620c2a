package faults

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// length is how much is written.
const length = 1 << 20

// offset is where on a block device: behind what file systems write at its beginning.
const offset = 64 << 20

// readOrWrite proves that the data is there, or writes it.
func (v *volume) readOrWrite() {
	v.p.Helper()
	path, at, err := v.file()
	if err != nil {
		v.p.Fatal(err)
	}
	if v.data == nil {
		v.data = random(v.name)
		err = write(path, at, v.data, v.fs != "" && !v.remote)
	} else {
		err = compare(path, at, v.data)
	}
	if err != nil {
		v.p.Fatalf("the data of %s: %v", v.name, err)
	}
}

// file is where the data is.
func (v *volume) file() (path string, at int64, err error) {
	switch {
	case !v.remote && v.fs == "":
		return v.target(), offset, nil
	case !v.remote:
		return filepath.Join(v.target(), "data"), 0, nil
	case v.isShared():
		tags, err := filepath.Glob(filepath.Join(v.host().disks, "vfs", "*"))
		if err != nil || len(tags) != 1 {
			return "", 0, fmt.Errorf("the machine shows the file systems %s: %w", tags, errors.Join(err))
		}
		return filepath.Join(tags[0], "data"), 0, nil
	}
	seen := v.seenBy()
	if len(seen) != 1 {
		return "", 0, fmt.Errorf("the disk is seen at %s", seen)
	}
	return seen[0], offset, nil
}

// random is data that nobody else writes, the same for the same name.
func random(name string) []byte {
	data := make([]byte, length)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(data) // it never fails
	return data
}

// write writes as a pod does. Only a block device is synced: to have a file system on its disk is for unstage to see to.
func write(path string, at int64, data []byte, file bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, at)
	if !file {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}

func compare(path string, at int64, want []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	has := make([]byte, length)
	n, err := f.ReadAt(has, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	has = has[:n]
	if !bytes.Equal(has, want) {
		return fmt.Errorf("%s has %d bytes with the checksum %x, written were %x", path, len(has), sha256.Sum256(has), sha256.Sum256(want))
	}
	return nil
}
