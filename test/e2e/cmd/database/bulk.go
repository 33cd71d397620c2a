package main

import (
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// bulkFile has the bulk in a directory.
	bulkFile = "bulk"
	// bulkStart is where a device has it, behind all records.
	bulkStart = 16 << 20
	bulkSize  = 24 << 20
)

// neighbour is a file in the directory of another database beside this one.
func (s *store) neighbour(name, file string) string {
	return filepath.Join(filepath.Dir(s.dir), filepath.Base(name), file)
}

// bulk opens the place of this database's bulk, or of another's.
func (s *store) bulk(of string, flags int) (*os.File, int64, error) {
	if s.dir == "" {
		f, err := os.OpenFile(s.file.Name(), flags&^os.O_CREATE, 0)
		return f, bulkStart, err
	}
	path := filepath.Join(s.dir, bulkFile)
	if of != "" {
		path = s.neighbour(of, bulkFile)
	}
	f, err := os.OpenFile(path, flags, 0o600)
	return f, 0, err
}

// writeBulk writes bytes that nobody can guess. Its answer is their sum, when they are on the disk.
func (s *store) writeBulk(w http.ResponseWriter, _ *http.Request) {
	f, start, err := s.bulk("", os.O_RDWR|os.O_CREATE)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }() // it is synced before
	sum := sha256.New()
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // it never fails
	_, err = io.CopyN(io.MultiWriter(sum, io.NewOffsetWriter(f, start)), rand.NewChaCha8(seed), bulkSize)
	if err == nil {
		err = f.Sync()
	}
	answerSum(w, sum.Sum(nil), err)
}

// readBulk reads the bytes back, from the disk and not from memory.
func (s *store) readBulk(w http.ResponseWriter, r *http.Request) {
	f, start, err := s.bulk(r.URL.Query().Get("of"), os.O_RDONLY)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }() // it is only read
	// What the kernel remembers of the file would hide what became of the disk.
	err = unix.Fadvise(int(f.Fd()), start, bulkSize, unix.FADV_DONTNEED)
	sum := sha256.New()
	if err == nil {
		var read int64
		if read, err = io.Copy(sum, io.NewSectionReader(f, start, bulkSize)); err == nil && read != bulkSize {
			err = fmt.Errorf("only %d of %d bytes are there", read, bulkSize)
		}
	}
	answerSum(w, sum.Sum(nil), err)
}

func answerSum(w http.ResponseWriter, sum []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, hex.EncodeToString(sum)) // a caller that left needs no answer
}
