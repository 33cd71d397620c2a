package mount

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrOutside says that a path does not lie in the directory.
var ErrOutside = errors.New("the path does not lie in the kubelet's directory")

// Within judges whether a path lies below the root, by its words and on the disk: as far as it exists, the kernel
// follows it from the root, and no link may lead out, absolute ones and those of /proc included. The last element may
// be no link at all, as mounting would follow it and removing would not. It returns ErrOutside for a path that does
// not lie there, and another error when that cannot be found out.
//
// It holds for as long as nobody changes the directories on the way. In the kubelet's directory only root can, except
// inside the volumes of pods, where the kubelet asks for no mounts of ours.
func Within(root, path string) error {
	below, err := filepath.Rel(root, path)
	if err != nil || below == "." || below == ".." || strings.HasPrefix(below, "../") {
		return fmt.Errorf("%w: %s is not below %s", ErrOutside, path, root)
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the kubelet's directory %s: %w", root, err)
	}
	defer unix.Close(dir) //nolint:errcheck // nothing was written
	// Today's kernels follow no magic link with the first flag alone, which openat2(2) does not promise for all times.
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for rest := below; rest != "."; rest = filepath.Dir(rest) {
		if rest != below {
			how.Flags &^= unix.O_NOFOLLOW // a link on the way may be followed, within the root
		}
		fd, err := unix.Openat2(dir, rest, &how)
		switch {
		case errors.Is(err, unix.ENOENT):
			continue // what is above it decides
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
			return fmt.Errorf("%w: %s leads out of %s or through something that is not a directory: %w", ErrOutside, path, root, err)
		case err != nil:
			return fmt.Errorf("following %s from %s: %w", rest, root, err)
		}
		// Only a link has a text. Asking so does not need the file system to answer, which may be dead.
		_, err = unix.Readlinkat(fd, "", make([]byte, 1))
		_ = unix.Close(fd) // nothing was written
		if err == nil {
			return fmt.Errorf("%w: %s ends in a link", ErrOutside, filepath.Join(root, rest))
		}
		return nil
	}
	return nil
}
