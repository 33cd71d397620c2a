package disks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/mounts"
)

// The requests of ioctl_fifreeze(2): _IOWR('X', 119, int) and _IOWR('X', 120, int).
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// frozenSuffix is that of a record that a disk's file systems are frozen, written before and removed after it.
const frozenSuffix = ".frozen"

// whileFrozen acts while the file systems on the disk hold their writers back. A kill leaves them frozen, and a record
// that has the next process thaw them.
func (p *Plane) whileFrozen(ctx context.Context, snapshotID, id string, act func() error) (err error) {
	record := filepath.Join(p.snapshotsDir(), snapshotID+frozenSuffix)
	if err := os.WriteFile(record, []byte(id), 0o600); err != nil {
		return err
	}
	p.step("freeze recorded")
	mounted, err := p.openMounts(ctx, id)
	if err != nil {
		return errors.Join(err, removeFile(record))
	}
	defer func() {
		for _, f := range mounted {
			err = errors.Join(err, f.Close())
		}
	}()
	var frozen []*os.File
	for _, f := range mounted {
		// Another mount of the same file system, or somebody else, has frozen it.
		if ferr := unix.IoctlSetInt(int(f.Fd()), fiFreeze, 0); ferr == nil {
			frozen = append(frozen, f)
		}
	}
	p.step("frozen")
	err = act()
	for _, f := range frozen {
		err = errors.Join(err, thaw(f))
	}
	p.step("thawed")
	return errors.Join(err, removeFile(record))
}

func thaw(f *os.File) error {
	err := unix.IoctlSetInt(int(f.Fd()), fiThaw, 0)
	if err == nil || errors.Is(err, unix.EINVAL) { // not frozen
		return nil
	}
	return fmt.Errorf("thawing %s: %w", f.Name(), err)
}

// thawAll ends what a process that was killed left frozen.
func (p *Plane) thawAll(ctx context.Context) error {
	records, err := filepath.Glob(filepath.Join(p.snapshotsDir(), "*"+frozenSuffix))
	if err != nil {
		return err
	}
	for _, record := range records {
		id, err := os.ReadFile(record)
		if err != nil {
			return err
		}
		if err := errors.Join(p.thawDisk(ctx, string(id)), removeFile(record)); err != nil {
			return fmt.Errorf("file systems on disk %s were left frozen: %w", id, err)
		}
	}
	return nil
}

func (p *Plane) thawDisk(ctx context.Context, id string) error {
	mounted, err := p.openMounts(ctx, id)
	for _, f := range mounted {
		err = errors.Join(err, thaw(f), f.Close())
	}
	return err
}

// openMounts opens the places where the disk is mounted, in whatever mount namespace.
func (p *Plane) openMounts(ctx context.Context, id string) (mounted []*os.File, err error) {
	err = p.gate.Do(ctx, func() error {
		devices, err := p.devicesOf(id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, dev := range devices {
			mounted = append(mounted, openMountsOf(dev)...)
		}
		return err
	})
	return mounted, err
}

// openMountsOf passes over what cannot be opened: a process that just ended, a mount that another one covers.
func openMountsOf(dev loop) []*os.File {
	var mounted []*os.File
	for _, space := range mounts.Namespaces() {
		for _, m := range mountsOf(dev, space) {
			f, err := os.Open(filepath.Join(space.Proc, "root", m.Target))
			if err != nil {
				continue
			}
			if isOn(f, m) {
				mounted = append(mounted, f)
			} else {
				_ = f.Close() // opened to be looked at
			}
		}
	}
	return mounted
}

// isOn reports whether the open directory is of the file system that was mounted there, not of one that covers it.
func isOn(f *os.File, m mounts.Mount) bool {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	// Btrfs gives its files numbers of their own.
	return m.FSType == "btrfs" || fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)) == m.Numbers
}
