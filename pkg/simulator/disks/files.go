package disks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// Ensure makes the backing file exist with at least that size. A guest sees growth only after Refresh or a new plug. The
// error is simulator.ErrNoSpace where the file system has no room for it, or none for a file of that size.
func (p *Plane) Ensure(ctx context.Context, id string, sizeBytes int64) error {
	if err := checkName("disk", id); err != nil {
		return err
	}
	return p.gate.Do(ctx, func() error {
		f, err := os.OpenFile(p.image(id), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("backing file of disk %s: %w", id, err)
		}
		p.step("file created")
		err = grow(f, sizeBytes)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("backing file of disk %s: %w", id, noSpace(err))
		}
		return nil
	})
}

func grow(f *os.File, sizeBytes int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= sizeBytes {
		return err
	}
	return f.Truncate(sizeBytes)
}

// Refresh lets the guest see the backing file's present size. A disk that is not plugged is not an error.
func (p *Plane) Refresh(ctx context.Context, id string) error {
	if err := checkName("disk", id); err != nil {
		return err
	}
	return p.gate.Do(ctx, func() error {
		rec, err := p.readRecord(id)
		if err != nil || rec.Instance == "" {
			return err
		}
		devices, err := p.devicesOf(id)
		if err != nil {
			return err
		}
		for _, dev := range devices {
			if err := dev.setCapacity(); err != nil {
				return err
			}
			p.step("capacity set")
			if err := p.instance(rec.Instance).publishSize(rec, dev); err != nil {
				return fmt.Errorf("publishing the size of disk %s: %w", id, err)
			}
		}
		return nil
	})
}

// Remove deletes the backing file. The error is simulator.ErrPlugged while the disk is plugged.
func (p *Plane) Remove(ctx context.Context, id string) error {
	if err := checkName("disk", id); err != nil {
		return err
	}
	return p.gate.Do(ctx, func() error {
		devices, err := p.devicesOf(id)
		if errors.Is(err, fs.ErrNotExist) {
			return errors.Join(p.removeRecord(id), removeFile(p.image(id)+partSuffix))
		}
		if err != nil {
			return err
		}
		if len(devices) > 0 {
			return fmt.Errorf("disk %s (%s): %w", id, names(devices), simulator.ErrPlugged)
		}
		if rec, err := p.readRecord(id); err != nil || rec.Instance != "" {
			return errors.Join(err, fmt.Errorf("disk %s (instance %s): %w", id, rec.Instance, simulator.ErrPlugged))
		}
		if err := os.Remove(p.image(id)); err != nil {
			return fmt.Errorf("backing file of disk %s: %w", id, err)
		}
		return nil
	})
}

// Files lists the IDs of all backing files, plugged or not, those included that a restore has not finished.
func (p *Plane) Files(ctx context.Context) (ids []string, err error) {
	err = p.gate.Do(ctx, func() error {
		ids, err = list(p.disksDir(), imageSuffix, imageSuffix+partSuffix)
		return err
	})
	return ids, err
}

// devicesOf finds the loop devices of a disk. The error is fs.ErrNotExist when there is no backing file.
func (p *Plane) devicesOf(id string) (devices []loop, err error) {
	f, err := os.Open(p.image(id))
	if err != nil {
		return nil, fmt.Errorf("backing file of disk %s: %w", id, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return loopsOf(f)
}

const (
	imageSuffix  = ".img"
	recordSuffix = ".plug"
)

func (p *Plane) disksDir() string        { return filepath.Join(p.root, "disks") }
func (p *Plane) image(id string) string  { return filepath.Join(p.disksDir(), id+imageSuffix) }
func (p *Plane) record(id string) string { return filepath.Join(p.disksDir(), id+recordSuffix) }

// list returns the IDs of the directory's files with one of the suffixes.
func list(dir string, suffixes ...string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("directory of the disks: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		for _, suffix := range suffixes {
			if id, ok := strings.CutSuffix(entry.Name(), suffix); ok && checkName("disk", id) == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// checkName refuses what would not stay inside the plane's directories.
func checkName(what, name string) error {
	if len(name) > 100 || !nameRE.MatchString(name) {
		return fmt.Errorf("%s name %q: only letters, digits, dots, dashes and underscores are possible", what, name)
	}
	return nil
}
