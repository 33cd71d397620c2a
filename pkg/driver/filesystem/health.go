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

// Health looks whether a mounted file system works, and, when it was mounted to be written to, whether it can be: Glance,
// and a flush of its root directory, which reaches the journal, or the log, and the disk.
func Health(t Type, d device.Device, e mount.Entry, writable bool) error {
	return look(t, d, e, writable, true)
}

// Glance is Health without the flush, for those who ask often: it leaves alone what the pods have not written out yet.
// It sees everything that the kernel knows to have failed.
func Glance(t Type, d device.Device, e mount.Entry, writable bool) error {
	return look(t, d, e, writable, false)
}

// look may hang, as every look at a file system can. The text of mountinfo is not enough: kernels differ in what they
// show there, so the file system itself is asked.
func look(t Type, d device.Device, e mount.Entry, writable, flush bool) error {
	for _, o := range []string{"shutdown", "emergency_ro"} {
		if slices.Contains(e.SuperOptions, o) {
			return fmt.Errorf("%w: the kernel shows it as %s", ErrFailed, o)
		}
	}
	if writable && slices.Contains(e.SuperOptions, "ro") {
		return fmt.Errorf("%w: it is read-only, but was mounted to be written to", ErrFailed)
	}
	if err := touch(e.Path, writable && !slices.Contains(e.Options, "ro"), flush); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	if faults := t.Faults(d); faults != "" && writable {
		return fmt.Errorf("%w: %s", ErrFailed, faults)
	}
	return nil
}

// absentAttribute is an extended attribute that no directory has.
const absentAttribute = "trusted.vultr-csi.absent"

// touch does with the root directory what does not change it.
func touch(path string, writable, flush bool) error {
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
	// A root that is cached is read even after a shutdown. ext4 and xfs look for one before they look for an attribute.
	_, err = unix.Fgetxattr(int(dir.Fd()), absentAttribute, nil)
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("reading an attribute of its root: %w", err)
	}
	if !flush {
		return nil
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("flushing its root: %w", err)
	}
	return nil
}
