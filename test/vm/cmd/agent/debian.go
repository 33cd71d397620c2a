package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
)

// unit has systemd run the agent. It is in memory, as is the agent: nothing of it is on the disk.
const unit = `[Unit]
Description=Agent of the tests
After=systemd-udev-trigger.service systemd-tmpfiles-setup.service

[Service]
ExecStart=` + guest.Agent + `
KillMode=process
StandardOutput=journal+console
StandardError=journal+console
`

const (
	units   = "/run/systemd/system"
	newRoot = "/new"
	// diskWithin is how long the disk with the Debian may take to be plugged in.
	diskWithin = time.Minute
)

// kept are what the Debian takes over as it is.
var kept = []string{"/dev", "/proc", "/sys", "/run"}

// bootFrom gives the machine to the init of the Debian on a disk, and returns only if that is not possible.
func bootFrom(serial string) error {
	node, err := awaitDisk(serial, diskWithin)
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(newRoot, 0o755), unix.Mount(node, newRoot, "ext4", 0, "")); err != nil {
		return fmt.Errorf("mounting the root file system on %s: %w", node, err)
	}
	// An ID that is there is the word that this is not a first boot, at which systemd asks questions.
	const machineID = "3f2504e04f8941d39a0c0305e82c3301\n"
	if err := errors.Join(
		copyFile("/init", guest.Agent), os.MkdirAll(units+"/multi-user.target.wants", 0o755),
		os.WriteFile(units+"/agent.service", []byte(unit), 0o644),
		os.Symlink("../agent.service", units+"/multi-user.target.wants/agent.service"),
		os.WriteFile(newRoot+"/etc/machine-id", []byte(machineID), 0o444),
	); err != nil {
		return fmt.Errorf("preparing the Debian: %w", err)
	}
	return takeOver()
}

// takeOver makes the new root the root, frees the memory of the old one, and becomes its init.
func takeOver() error {
	errs := []error{unix.Unmount("/tmp", 0)}
	for _, path := range kept {
		errs = append(errs, os.MkdirAll(newRoot+path, 0o755), unix.Mount(path, newRoot+path, "", unix.MS_MOVE, ""))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("moving what is mounted: %w", err)
	}
	old, err := filepath.Glob("/*")
	if err != nil {
		return err
	}
	for _, path := range old {
		if path == newRoot {
			continue
		}
		if err := os.RemoveAll(path); err != nil { // nothing is mounted below any more
			return err
		}
	}
	if err := errors.Join(os.Chdir(newRoot), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	return syscall.Exec("/sbin/init", []string{"/sbin/init"}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TERM=linux"})
}

// copyFile copies a program.
func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // only read from
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// awaitDisk waits for the disk with the serial.
func awaitDisk(serial string, within time.Duration) (string, error) {
	nodes, err := await(serial, 1, within)
	if err != nil {
		return "", err
	}
	return nodes[0], nil
}
