package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Mapper is a device that device-mapper made of another one, as of a disk that is encrypted.
type Mapper struct {
	// Name is what whoever made it called it.
	Name string
	// Path is its node. It is the kernel's own: /dev/mapper has what udev or a program made there.
	Path   string
	Number Number

	dir string // in sysfs
}

// Mappers lists the devices of device-mapper whose names begin with the prefix.
func (f Finder) Mappers(prefix string) ([]Mapper, error) {
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	var all []Mapper
	for _, name := range names {
		m, err := f.mapper(name)
		if err != nil {
			return nil, err
		}
		if m != nil && strings.HasPrefix(m.Name, prefix) {
			all = append(all, *m)
		}
	}
	return all, nil
}

// MapperAt returns the device of device-mapper that has the number, nil when the device is no such one.
func (f Finder) MapperAt(n Number) (*Mapper, error) {
	name, err := f.nameOf(n)
	if err != nil {
		return nil, err
	}
	return f.mapper(name)
}

// mapper reads what sysfs says about a device, nil when it is none of device-mapper, or just leaving.
func (f Finder) mapper(name string) (*Mapper, error) {
	dir := filepath.Join(f.SysfsDir, name)
	raw, err := os.ReadFile(filepath.Join(dir, "dm", "name"))
	if absent(err) {
		return nil, nil //nolint:nilnil // nil is documented
	}
	if err != nil {
		return nil, fmt.Errorf("reading the name of device %s: %w", name, err)
	}
	number, err := f.numberOf(name)
	if absent(err) {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", name, err)
	}
	return &Mapper{Name: strings.TrimSuffix(string(raw), "\n"), Path: f.node(name), Number: number, dir: dir}, nil
}

// Below returns the device of which the other one was made, as far as the kernel tells without asking the disk: its node,
// number and sequence number. The error is ErrGone when that device was unplugged: the kernel keeps the one on top until
// somebody closes it.
func (f Finder) Below(m Mapper) (Device, error) {
	slaves, err := os.ReadDir(filepath.Join(m.dir, "slaves"))
	if err != nil {
		return Device{}, fmt.Errorf("looking for what device %s (%s) is made of: %w", m.Name, m.Number, err)
	}
	if len(slaves) != 1 {
		return Device{}, fmt.Errorf("device %s (%s) is made of %d devices, not of one", m.Name, m.Number, len(slaves))
	}
	raw, err := os.ReadFile(filepath.Join(m.dir, "slaves", slaves[0].Name(), "dev"))
	if absent(err) {
		return Device{}, fmt.Errorf("%w: device %s (%s) was made of %s, which is not there any more", ErrGone, m.Name, m.Number, slaves[0].Name())
	}
	if err != nil {
		return Device{}, fmt.Errorf("looking for what device %s (%s) is made of: %w", m.Name, m.Number, err)
	}
	number, err := ParseNumber(string(raw))
	if err != nil {
		return Device{}, err
	}
	name, err := f.nameOf(number)
	if errors.Is(err, ErrNotFound) {
		return Device{}, fmt.Errorf("%w: device %s (%s) was made of %s, which is not there any more", ErrGone, m.Name, m.Number, number)
	}
	if err != nil {
		return Device{}, err
	}
	d := Device{Path: f.node(name), Number: number}
	d.Seq, err = f.seqOf(name, number)
	return d, err
}
