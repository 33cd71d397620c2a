// Command database is the smallest program that depends on a disk as a database
// does. It appends records to a file, or to a raw device, and answers only when
// they are on the disk; it holds its disk alone and says so if it cannot.
//
//	POST /records  append the body as one record
//	GET  /records  all records, one per line
//	GET  /size     size of the file system or device in bytes
//	POST /bulk     write megabytes of noise, and answer their SHA-256
//	GET  /bulk     the SHA-256 of what is on the disk of it now
//
// In a shared file system each database has a directory of its own, and GET
// /records and /bulk take ?of=NAME for that of another one.
//
// With -read-only it shows what another database has left. It does not know whether its disk can be written to: who asks it
// to write is answered with what the kernel says.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "database:", err)
		os.Exit(1)
	}
}

func run() error {
	flags := flag.NewFlagSet("database", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory to keep the records in")
	device := flags.String("device", "", "device to keep the records on, instead of a directory")
	readOnly := flags.Bool("read-only", false, "only show what is there")
	listen := flags.String("listen", ":8080", "address to serve on")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	s, err := open(*dir, *device, *readOnly)
	if err != nil {
		return err
	}
	http.HandleFunc("POST /records", s.append)
	http.HandleFunc("GET /records", s.list)
	http.HandleFunc("GET /size", s.size)
	http.HandleFunc("POST /bulk", s.writeBulk)
	http.HandleFunc("GET /bulk", s.readBulk)
	server := &http.Server{Addr: *listen, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// recordsFile has the records in a directory.
const recordsFile = "records"

// store is a file or device with records, each a line; the first zero byte ends them.
type store struct {
	mu   sync.Mutex
	file *os.File
	dir  string // "" for a device
	end  int64
}

func open(dir, device string, readOnly bool) (*store, error) {
	if (dir == "") == (device == "") {
		return nil, errors.New("give either -dir or -device")
	}
	if readOnly {
		return openReadOnly(dir)
	}
	path, flags := device, os.O_RDWR|syscall.O_EXCL
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		path, flags = filepath.Join(dir, recordsFile), os.O_RDWR|os.O_CREATE
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s is held by another program: %w", path, err)
	}
	s := &store{file: file, dir: dir}
	content, err := s.read()
	s.end = int64(len(content))
	return s, err
}

// openReadOnly opens what another database has, which may be at work: it is not locked.
func openReadOnly(dir string) (*store, error) {
	if dir == "" {
		return nil, errors.New("-read-only is for a directory")
	}
	file, err := os.Open(filepath.Join(dir, recordsFile))
	if err != nil {
		return nil, err
	}
	return &store{file: file, dir: dir}, nil
}

// read returns all records.
func (s *store) read() (string, error) {
	const most = 1 << 20
	content, err := io.ReadAll(io.NewSectionReader(s.file, 0, most))
	records, _, _ := strings.Cut(string(content), "\x00")
	return records, err
}

func (s *store) append(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	line := slices.Concat(body, []byte("\n"))
	if _, err = s.file.WriteAt(line, s.end); err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.end += int64(len(line))
	w.WriteHeader(http.StatusNoContent)
}

func (s *store) list(w http.ResponseWriter, r *http.Request) {
	if of := r.URL.Query().Get("of"); of != "" {
		http.ServeFile(w, r, s.neighbour(of, recordsFile))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	content, err := s.read()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, content) // a caller that left needs no answer
}

func (s *store) size(w http.ResponseWriter, _ *http.Request) {
	size, err := s.bytes()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprint(w, size)
}

func (s *store) bytes() (int64, error) {
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.file.Seek(0, io.SeekEnd)
	}
	var stat syscall.Statfs_t
	err := syscall.Statfs(s.dir, &stat)
	return int64(stat.Blocks) * stat.Bsize, err //nolint:gosec // G115: no file system has 2^63 blocks
}
