package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrGone says that a disk is proven to be no longer there: it was unplugged, and plugged in again perhaps.
var ErrGone = errors.New("the disk was unplugged")

// Same judges whether a device number, such as that of a mount, still is the disk that it was when its serial and Seq
// were recorded. nil says that it is and ErrGone that it is not: the number has no device any more, has another disk,
// or the same disk after it was unplugged and plugged in again, to which nothing that was opened or mounted before
// can lead. Any other error leaves it open. A Seq that was recorded is proof by itself, and the disk is not asked; it
// holds until the machine is started again, and 0 is unknown.
func (f Finder) Same(n Number, serial string, seq uint64) error {
	name, err := f.nameOf(n)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: nothing has device number %s any more", ErrGone, n)
	}
	if err != nil {
		return err
	}
	if seq != 0 {
		now, err := f.seqOf(name, n)
		switch {
		case err != nil:
			return err
		case now == seq:
			return nil
		case now != 0:
			return fmt.Errorf("%w: device %s (%s) now has disk sequence number %d, it was %d", ErrGone, name, n, now, seq)
		}
	}
	if serial == "" {
		return fmt.Errorf("device %s (%s) cannot be compared: neither a serial nor a sequence number is known", name, n)
	}
	now, err := f.serialOf(name)
	switch {
	case err != nil && !absent(err):
		return fmt.Errorf("the serial of device %s (%s) could not be read: %w", name, n, err)
	case now != serial:
		return fmt.Errorf("%w: device %s (%s) has serial %q, it was %s", ErrGone, name, n, now, serial)
	}
	return nil
}

// seqOf reads the sequence number of a disk, from sysfs, or from the node of one whose sysfs directory lacks it.
func (f Finder) seqOf(name string, n Number) (uint64, error) {
	raw, err := os.ReadFile(filepath.Join(f.SysfsDir, name, "diskseq"))
	if err == nil {
		return strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("reading the sequence number of device %s: %w", name, err)
	}
	file, err := Open(Device{Path: f.node(name), Number: n}, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer file.Close() //nolint:errcheck // only read from
	return seqOf(file)
}
