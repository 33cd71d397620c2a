package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// ErrDamaged tells that the state file is cut off or that something else has written into it.
var ErrDamaged = errors.New("it is damaged")

// lockTimeout is how long Open waits for another process that is about to let the file go.
const lockTimeout = 2 * time.Second

// openFile opens the state file, or makes it.
func openFile(path string) (db *bbolt.DB, err error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	var file *os.File
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: lockTimeout,
			// What is free is found out when the file is opened, instead of being written with every change.
			NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		return err
	})
	if errors.Is(err, ErrDamaged) && file != nil {
		_ = file.Close() // bbolt, which panicked, did not; this also unlocks it
	}
	return db, err
}

// checkFile looks at every record of a state file that is there. bbolt trusts what it reads, and what is wrong with it
// shows as a panic; when it opens a file to write, one in a goroutine of its own, where nobody can recover it.
func checkFile(path string) error {
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return nil //nolint:nilerr // there is none yet, or the one who opens it tells what is wrong
	}
	return guarded(func() (err error) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return db.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
				return b.ForEach(func(_, _ []byte) error { return nil })
			})
		})
	})
}

// guarded makes an error of a panic, also of one for memory that is mapped to what a file does not have any more.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return do()
}
