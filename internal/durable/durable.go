// Package durable replaces files so that neither a kill nor a loss of power leaves a part of one.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace makes content the whole of the file at path, with that mode whatever the umask. Whoever reads path, also after
// the process was killed or the machine lost its power at any moment, finds the old content or the new; after Replace
// has returned nil, the new.
//
// It goes by way of temporary, on the same file system. Nobody else may write to that one meanwhile; what a kill has left
// there is overwritten. After an error nothing is left of it.
func Replace(temporary, path string, content []byte, mode fs.FileMode) error {
	err := write(temporary, content, mode)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary) // the first error is the one to tell
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func write(path string, content []byte, mode fs.FileMode) error {
	// What was left there may have another mode, and a secret must not be readable even for a moment.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // the caller's own path
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
}

// SyncDir makes durable which names a directory has: those of files that were made, renamed or removed in it.
func SyncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // the caller's own path
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
