package disks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/durable"
)

// instanceDir is what one instance sees of its disks.
type instanceDir string

func (p *Plane) instance(id string) instanceDir {
	return instanceDir(filepath.Join(p.root, "instances", id))
}

func (d instanceDir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

func (d instanceDir) node(rec record) string { return d.path("devices", rec.Name) }
func (d instanceDir) link(rec record) string {
	return d.path("devices", "disk", "by-id", "virtio-"+rec.Serial)
}
func (d instanceDir) sys(rec record) string { return d.path("block", rec.Name) }

// staging is where entries are made before they are renamed into place: not beside them, where a guest that lists
// the directory would see them half made.
func (d instanceDir) staging() string { return d.path(".staging") }

func (d instanceDir) prepare() error {
	for _, dir := range []string{d.path("devices", "disk", "by-id"), d.path("block"), d.staging()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("directory of the instance: %w", err)
		}
	}
	return nil
}

// forget removes the instance's directories, deepest first, and only what is empty of entries.
func (d instanceDir) forget() error {
	if err := os.RemoveAll(d.staging()); err != nil {
		return err
	}
	for _, dir := range []string{d.path("devices", "disk", "by-id"), d.path("devices", "disk"), d.path("devices"), d.path("block"), string(d)} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("directory of the instance: %w", err)
		}
	}
	return nil
}

// shows reports whether the instance's entries for the disk are there and speak of that loop device.
func (d instanceDir) shows(rec record, dev loop) bool {
	var st unix.Stat_t
	if unix.Stat(d.link(rec), &st) != nil || st.Rdev != dev.rdev || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return false
	}
	serial, errSerial := os.ReadFile(filepath.Join(d.sys(rec), "serial"))
	numbers, errNumbers := os.ReadFile(filepath.Join(d.sys(rec), "dev"))
	return errSerial == nil && errNumbers == nil && string(serial) == rec.Serial && string(numbers) == dev.numbers()
}

// publish shows the disk to the guest: node, link, then the directory with the serial, by which drivers find it.
func (d instanceDir) publish(rec record, dev loop, step func(string)) error {
	if err := d.prepare(); err != nil {
		return err
	}
	if err := d.withdraw(rec, step); err != nil { // entries of a loop device that is no more, after a reboot
		return err
	}
	if err := d.publishNode(rec, dev); err != nil {
		return err
	}
	step("node published")
	if err := d.publishLink(rec); err != nil {
		return err
	}
	step("link published")
	size, err := dev.sectors()
	if err != nil {
		return err
	}
	return d.publishSys(rec, dev, size, step)
}

func (d instanceDir) publishNode(rec record, dev loop) error {
	temporary := filepath.Join(d.staging(), rec.Name+".node")
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if err := unix.Mknod(temporary, unix.S_IFBLK|0o660, int(dev.rdev)); err != nil { //nolint:gosec // device numbers fit an int
		return fmt.Errorf("mknod %s: %w", temporary, err)
	}
	return os.Rename(temporary, d.node(rec))
}

func (d instanceDir) publishLink(rec record) error {
	temporary := filepath.Join(d.staging(), rec.Name+".link")
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join("..", "..", rec.Name), temporary); err != nil {
		return err
	}
	return os.Rename(temporary, d.link(rec))
}

func (d instanceDir) publishSys(rec record, dev loop, sectors int64, step func(string)) error {
	temporary := filepath.Join(d.staging(), rec.Name+".sys")
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return err
	}
	files := []struct{ name, text string }{
		{"dev", dev.numbers()},
		{"size", strconv.FormatInt(sectors, 10) + "\n"},
		{"serial", rec.Serial}, // virtio's serial has no line end
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(temporary, file.name), []byte(file.text), 0o444); err != nil {
			return err
		}
		step("sys file " + file.name + " written")
	}
	return os.Rename(temporary, d.sys(rec))
}

// publishSize says the new size, if the disk is published at all.
func (d instanceDir) publishSize(rec record, dev loop) error {
	if !d.shows(rec, dev) {
		return nil
	}
	sectors, err := dev.sectors()
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(d.staging(), rec.Name+".size"), filepath.Join(d.sys(rec), "size"),
		[]byte(strconv.FormatInt(sectors, 10)+"\n"), 0o444)
}

// withdraw takes the entries away in the reverse order: what a driver searches goes first.
func (d instanceDir) withdraw(rec record, step func(string)) error {
	gone := filepath.Join(d.staging(), rec.Name+".gone")
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(d.sys(rec), gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	step("sys entry withdrawn")
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := d.removeLink(rec); err != nil {
		return err
	}
	step("link withdrawn")
	if err := os.Remove(d.node(rec)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	step("node withdrawn")
	return nil
}

// removeLink leaves a link alone that speaks of another device: two disks of one serial would share its name.
func (d instanceDir) removeLink(rec record) error {
	target, err := os.Readlink(d.link(rec))
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !strings.HasSuffix(target, "/"+rec.Name)) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(d.link(rec))
}
