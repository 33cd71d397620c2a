// Command agent is the init of the guest. It brings up what a node has (devices, modules, the kubelet's directory), starts
// the node plugin and does for the tests what they ask for. In a guest with a Debian it does the latter as a service of
// systemd's, after it has made way for that.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/syscut"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
)

func main() {
	syscut.Main()
	err := run()
	fmt.Fprintln(os.Stderr, "agent:", err)
	if os.Getpid() != initPID {
		os.Exit(1)
	}
	// The end of init is a panic of the kernel; this is quieter, and QEMU ends.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// initPID is the process that the kernel starts.
const initPID = 1

func run() error {
	if os.Getpid() == initPID {
		if err := becomeNode(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(kubeletRoot, 0o750); err != nil {
		return err
	}
	port, err := openPort(agent.Port)
	if err != nil {
		return err
	}
	s := newService()
	if err := agent.Serve(s, port); err != nil {
		return err
	}
	return errors.New("the tests have ended")
}

// becomeNode makes a node of the bare kernel, or has a Debian do that, and does not return then.
func becomeNode() error {
	if err := errors.Join(bringUp()...); err != nil {
		return err
	}
	serial, err := parameter(guest.Root)
	if err != nil {
		return err
	}
	if serial != "" {
		return bootFrom(serial)
	}
	// As on a machine with systemd everything is shared, so that the mounts of a container appear.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// parameter returns the value of one of the kernel's parameters, "" when it has none.
func parameter(name string) (string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	for field := range strings.FieldsSeq(string(line)) {
		if value, ok := strings.CutPrefix(field, name+"="); ok {
			return value, nil
		}
	}
	return "", nil
}

// bringUp brings up devices and modules.
func bringUp() []error {
	var errs []error
	for _, m := range []struct{ fsType, path string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
	} {
		errs = append(errs, os.MkdirAll(m.path, 0o755), unix.Mount(m.fsType, m.path, m.fsType, 0, ""))
	}
	errs = append(errs, os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
	list, err := os.ReadFile(guest.ModuleList)
	errs = append(errs, err)
	for path := range strings.FieldsSeq(string(list)) {
		errs = append(errs, load(path))
	}
	return errs
}

// load loads a module.
func load(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read from
	if err := unix.FinitModule(int(file.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("loading %s: %w", path, err)
	}
	return nil
}

// openPort opens the virtio serial port with the name. There is no udev to make links.
func openPort(name string) (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, path := range names {
		if raw, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(raw)) == name {
			return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(path))), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio serial port is called %s (there are %d)", name, len(names))
}
