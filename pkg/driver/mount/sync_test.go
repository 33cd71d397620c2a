package mount

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSyncTellsWhatADiskRefuses: a disk takes less than was written, and nobody has flushed the file. That is told once; to
// unmount the file system tells nothing.
func TestSyncTellsWhatADiskRefuses(t *testing.T) {
	tr := newTree(t)
	full := tr.path("full") // on which the disk cannot become as large as it says
	tr.must(unix.Mount("full", full, "tmpfs", 0, "size=8m"))
	image := filepath.Join(full, "image")
	tr.must(os.WriteFile(image, nil, 0o600))
	tr.must(os.Truncate(image, 64<<20))
	run(t, "mkfs.ext4", "-q", "-O", "^has_journal", image)
	path := tr.path("mount")
	tr.must(FileSystem(t.Context(), tr.loop(image), path, "ext4", nil))
	tr.must(os.WriteFile(filepath.Join(path, "small"), make([]byte, 1<<20), 0o600))
	tr.must(Sync(path))
	tr.must(os.WriteFile(filepath.Join(path, "large"), make([]byte, 16<<20), 0o600))
	if err := Sync(path); !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a disk that is full: %v", err)
	}
	tr.must(Unmount(t.Context(), path))
}
