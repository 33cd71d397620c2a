// Package testcrypt stands in for what a kernel without device-mapper lacks: what is open on an encrypted disk is a loop
// device behind the header, shown in the machine's directories as device-mapper's are. The headers are real, and so are the
// passphrases; only what is inside is not encrypted, and nothing keeps the disk itself from being used meanwhile. What that
// leaves open is tested in test/vm.
package testcrypt

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testloop"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
)

// The variables by which the program knows that it is to be cryptsetup, and for which machine.
const (
	envDevices = "TESTCRYPT_DEVICES"
	envSysfs   = "TESTCRYPT_SYSFS"
	envReal    = "TESTCRYPT_REAL"
	envDir     = "TESTCRYPT_DIR"
)

// Program is the installed program, as its test controls it.
type Program struct{ dir string }

// The files by which a test tells the program what to do.
const (
	gate = "gate" // a socket: it waits until its connection is closed
	idle = "idle" // the command that does nothing and says that it succeeded
)

// Watch calls look while each later run waits for that.
func (p Program) Watch(t testing.TB, look func()) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(p.dir, gate)) //nolint:noctx // it is at once
	if err != nil {
		t.Fatal(err)
	}
	var looks sync.WaitGroup
	looks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			look()
			_ = conn.Close() // the run goes on
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		looks.Wait()
	})
}

// Idle has a command do nothing and say that it succeeded; "" is none.
func (p Program) Idle(t testing.TB, command string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, idle), []byte(command), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A test binary that is run by the script of Install is cryptsetup, and nothing else.
func init() { //nolint:gochecknoinits // it has to be before the flags of a test binary are parsed
	if os.Getenv(envReal) == "" {
		return
	}
	dir := os.Getenv(envDir)
	if conn, err := net.Dial("unix", filepath.Join(dir, gate)); err == nil { //nolint:noctx // a test's
		_, _ = io.Copy(io.Discard, conn) // until it was looked at
	}
	if command, err := os.ReadFile(filepath.Join(dir, idle)); err == nil && len(command) > 0 && slices.Contains(os.Args, string(command)) { //nolint:gosec // as above
		os.Exit(fine)
	}
	p := program{device.Finder{DeviceDir: os.Getenv(envDevices), SysfsDir: os.Getenv(envSysfs)}}
	os.Exit(p.run(os.Args[1:]))
}

// Install has the programs that the test starts find this cryptsetup. What is open when the test ends is closed.
func Install(t testing.TB, m *testmachine.Machine) Program {
	t.Helper()
	genuine, err := exec.LookPath("cryptsetup")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s=%s %s=%s %s=%s %s=%s exec %s \"$@\"\n",
		envDevices, m.DeviceDir, envSysfs, m.SysfsDir, envReal, genuine, envDir, dir, self)
	if err := os.WriteFile(filepath.Join(dir, "cryptsetup"), []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Cleanup(func() {
		all, err := m.Mappers("")
		if err != nil {
			t.Error(err)
		}
		for _, mapper := range all {
			if code := (program{m.Finder}).close(mapper.Name); code != 0 {
				t.Errorf("closing %s: %d", mapper.Name, code)
			}
		}
	})
	return Program{dir}
}

// Open opens a disk as a device with a name, as somebody else may have.
func Open(t testing.TB, m *testmachine.Machine, disk, name string) {
	t.Helper()
	if code := (program{m.Finder}).show(disk, name); code != fine {
		t.Fatalf("opening %s as %s: %d", disk, name, code)
	}
}

// Reboot closes what is open as the end of a machine does.
func Reboot(t testing.TB, m *testmachine.Machine) {
	t.Helper()
	all, err := m.Mappers("")
	if err != nil {
		t.Fatal(err)
	}
	for _, mapper := range all {
		if code := (program{m.Finder}).close(mapper.Name); code != 0 {
			t.Fatalf("closing %s: %d", mapper.Name, code)
		}
	}
}

type program struct{ device.Finder }

// The exit codes of cryptsetup(8).
const (
	fine   = 0
	failed = 1
	absent = 4
	busy   = 5
)

func (p program) run(args []string) int {
	var rest []string
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			rest = append(rest, a)
		}
	}
	has := func(flag string) bool { return strings.Contains(" "+strings.Join(args, " ")+" ", " "+flag+" ") }
	switch {
	case has("open") && !has("--test-passphrase"):
		return p.open(rest[len(rest)-2], rest[len(rest)-1])
	case has("close"):
		return p.close(rest[len(rest)-1])
	case has("resize"):
		return p.resize(rest[len(rest)-1])
	}
	// The real one, at a cost that tests can pay.
	for i, a := range args {
		if a == "65536" {
			args[i] = "64"
		}
	}
	code := runReal(args...)
	if code == fine && has("luksFormat") {
		return noise(rest[len(rest)-1])
	}
	return code
}

// runReal runs the real cryptsetup with the passphrases that this program was given.
func runReal(args ...string) int {
	cmd := exec.Command(os.Getenv(envReal), args...) //nolint:gosec,noctx // a test's
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, fd := range []uintptr{3, 4} {
		if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err == nil {
			cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(fd, "passphrase"))
		}
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return result(err)
}

func result(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return failed
	}
	return fine
}

// noise is what is inside a disk that was just encrypted.
func noise(disk string) int {
	file, err := os.OpenFile(disk, os.O_RDWR, 0) //nolint:gosec // a test's
	if err != nil {
		return result(err)
	}
	header, err := luks.ReadHeader(file)
	if err == nil {
		_, err = io.CopyN(io.NewOffsetWriter(file, header.Offset), rand.Reader, 1<<20)
	}
	return result(errors.Join(err, file.Sync(), file.Close()))
}

// open makes a loop device behind the header of the disk, when the passphrase is right.
func (p program) open(disk, name string) int {
	if code := runReal("open", "--disable-locks", "--test-passphrase", "--key-file", "/proc/self/fd/3", disk); code != fine {
		return code
	}
	return p.show(disk, name)
}

// show makes the loop device and shows it as device-mapper does.
func (p program) show(disk, name string) int {
	if all, err := p.Mappers(name); err != nil || len(all) > 0 {
		fmt.Fprintln(os.Stderr, "it is open already", err)
		return busy
	}
	file, err := os.Open(disk) //nolint:gosec // a test's
	if err != nil {
		return result(err)
	}
	header, err := luks.ReadHeader(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return result(err)
	}
	loop, err := testloop.Attach(disk, "--offset", fmt.Sprint(header.Offset))
	if err != nil {
		return result(err)
	}
	number, _, err := device.At(loop)
	if err != nil {
		return result(err)
	}
	entry := "dm-" + strings.TrimPrefix(filepath.Base(loop), "loop")
	node := filepath.Join(p.DeviceDir, entry)
	dir := filepath.Join(p.SysfsDir, entry)
	staged := filepath.Join(filepath.Dir(p.SysfsDir), "."+entry)
	return result(errors.Join(
		unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(number.Major, number.Minor))), //nolint:gosec // small
		os.MkdirAll(filepath.Join(staged, "dm"), 0o700), os.MkdirAll(filepath.Join(staged, "slaves"), 0o700),
		os.WriteFile(filepath.Join(staged, "dm", "name"), []byte(name+"\n"), 0o600),
		os.WriteFile(filepath.Join(staged, "dev"), []byte(number.String()+"\n"), 0o600),
		os.Symlink(filepath.Join(p.SysfsDir, filepath.Base(disk)), filepath.Join(staged, "slaves", filepath.Base(disk))),
		os.Rename(staged, dir),
	))
}

// named finds what is open by its name.
func (p program) named(name string) (device.Mapper, bool) {
	all, err := p.Mappers(name)
	if err != nil || len(all) != 1 {
		fmt.Fprintln(os.Stderr, name, "is not active", err)
		return device.Mapper{}, false
	}
	return all[0], true
}

// close takes the loop device away, unless it is in use.
func (p program) close(name string) int {
	m, ok := p.named(name)
	if !ok {
		return absent
	}
	fd, err := unix.Open(m.Path, unix.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, name, "is still in use:", err)
		return busy
	}
	loop, err := loopOf(m.Number)
	err = errors.Join(err, unix.Close(fd), os.RemoveAll(filepath.Join(p.SysfsDir, filepath.Base(m.Path))), os.Remove(m.Path))
	if err == nil {
		err = testloop.Detach(loop)
	}
	return result(err)
}

// loopOf is the node of a loop device that the kernel knows.
func loopOf(n device.Number) (string, error) {
	name, err := os.Readlink("/sys/dev/block/" + n.String())
	return "/dev/" + filepath.Base(name), err
}

// resize makes the loop device as large as its disk, when the passphrase is right.
func (p program) resize(name string) int {
	m, ok := p.named(name)
	if !ok {
		return absent
	}
	disk, err := p.Below(m)
	if err != nil {
		return result(err)
	}
	if code := runReal("open", "--disable-locks", "--test-passphrase", "--key-file", "/proc/self/fd/3", disk.Path); code != fine {
		return code
	}
	loop, err := loopOf(m.Number)
	if err != nil {
		return result(err)
	}
	out, err := exec.Command("losetup", "-c", loop).CombinedOutput() //nolint:gosec,noctx // a test's
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return result(err)
}
