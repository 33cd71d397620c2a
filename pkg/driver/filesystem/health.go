package filesystem

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// ErrFailed says that a mounted file system has failed: it must be unmounted, checked and mounted again.
var ErrFailed = errors.New("the file system has failed")

// Health looks whether a mounted file system works, and, when it was mounted to be written to, whether it can be. It
// may hang, as every look at a file system can. The text of mountinfo is not enough: kernels differ in what they show
// there, so the file system itself is asked, with a flush of its root directory, which reaches the journal, or the log.
func Health(t Type, d device.Device, e mount.Entry, writable bool) error {
	for _, o := range []string{"shutdown", "emergency_ro"} {
		if slices.Contains(e.SuperOptions, o) {
			return fmt.Errorf("%w: the kernel shows it as %s", ErrFailed, o)
		}
	}
	if writable && slices.Contains(e.SuperOptions, "ro") {
		return fmt.Errorf("%w: it is read-only, but was mounted to be written to", ErrFailed)
	}
	if err := touch(e.Path, writable && !slices.Contains(e.Options, "ro")); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	if faults := t.Faults(d); faults != "" && writable {
		return fmt.Errorf("%w: %s", ErrFailed, faults)
	}
	return nil
}

// touch does with the root directory what does not change it.
func touch(path string, writable bool) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("measuring it: %w", err)
	}
	if writable && st.Flags&unix.ST_RDONLY != 0 {
		return errors.New("it became read-only")
	}
	dir, err := os.Open(path) //nolint:gosec // a path that the caller manages
	if err != nil {
		return fmt.Errorf("opening its root: %w", err)
	}
	defer dir.Close() //nolint:errcheck // only read from
	if _, err := dir.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading its root: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("flushing its root: %w", err)
	}
	return nil
}
