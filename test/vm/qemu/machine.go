// Package qemu runs virtual machines in QEMU and plugs disks and shared file systems into them.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/qmp"
)

// program is QEMU for the guest's architecture.
const program = "qemu-system-x86_64"

const (
	// ports is how many disks and file systems can be plugged in at a time.
	ports = 8
	// memory is that of a machine.
	memory = "1024M"
)

// Config describes a machine.
type Config struct {
	// Kernel is its path; Initramfs the file with the initial file system.
	Kernel    string
	Initramfs *os.File
	// Accelerator is tcg, which is emulation, or kvm.
	Accelerator string
	// Port is the name of the virtio serial port by which the guest is talked to.
	Port string
	// Parameters are more of the kernel's.
	Parameters string
	// Disks are plugged in before it begins.
	Disks []*Disk
	// Resets is set for a machine that begins again when it is reset, instead of ending.
	Resets bool
}

// Machine is a running virtual machine. It has no network, and ends with this process however that ends.
type Machine struct {
	qmp     *qmp.Client
	console *os.File
	port    net.Conn
	cmd     *exec.Cmd
	gone    <-chan struct{} // closed when QEMU has ended

	mu      sync.Mutex
	devices int // that were plugged in
	resets  int // that were asked for
	slots   [ports]bool
}

// Start starts a machine.
func Start(ctx context.Context, c Config) (*Machine, error) {
	console, err := os.CreateTemp("", "vm-console-")
	if err != nil {
		return nil, err
	}
	m := &Machine{console: console}
	if err := os.Remove(console.Name()); err != nil { // it ends with us
		return nil, err
	}
	control, controlEnd, err := pair()
	if err != nil {
		return nil, err
	}
	port, portEnd, err := pair()
	if err != nil {
		return nil, errors.Join(err, control.Close(), controlEnd.Close())
	}
	m.port = port
	m.cmd = exec.Command(program, arguments(c)...) //nolint:gosec,noctx // it is killed by Close, or with us
	m.cmd.Stdout, m.cmd.Stderr = console, console
	m.cmd.ExtraFiles = []*os.File{controlEnd, portEnd, c.Initramfs} // descriptors 3, 4 and 5
	m.gone, err = launch(m.cmd)
	err = errors.Join(err, controlEnd.Close(), portEnd.Close())
	if err == nil {
		m.qmp, err = qmp.New(ctx, control)
	}
	if err == nil && len(c.Disks) > 0 {
		err = m.begin(ctx, c.Disks)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting QEMU: %w: %s", err, m.Console()), m.Close())
	}
	return m, nil
}

// begin plugs disks into a machine that waits for them, and has it begin.
func (m *Machine) begin(ctx context.Context, disks []*Disk) error {
	for _, d := range disks {
		if err := m.Plug(ctx, d); err != nil {
			return err
		}
	}
	return m.qmp.Do(ctx, "cont", nil, nil)
}

// arguments are QEMU's.
func arguments(c Config) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-nographic",
		"-machine", "q35,memory-backend=memory,accel=" + c.Accelerator, "-cpu", "max", "-smp", "2", "-m", memory,
		// Shared with who serves file systems, see Share.
		"-object", "memory-backend-memfd,id=memory,share=on,size=" + memory,
		"-kernel", c.Kernel, "-initrd", "/proc/self/fd/5", "-append", strings.TrimSpace("console=ttyS0 quiet panic=-1 " + c.Parameters),
		"-serial", "stdio",
		"-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=port,fd=4", "-device", "virtserialport,chardev=port,name=" + c.Port,
	}
	if !c.Resets {
		args = append(args, "-no-reboot")
	}
	if len(c.Disks) > 0 {
		args = append(args, "-S") // it waits for them
	}
	for i := range ports {
		args = append(args, "-device", fmt.Sprintf("pcie-root-port,id=slot%d,chassis=%d,slot=%d", i, i+1, i+1))
	}
	return args
}

// launch starts a program on a thread that lives as long: the kernel ends it when the thread that started it ends. What it
// returns is closed when the program has ended.
func launch(cmd *exec.Cmd) (<-chan struct{}, error) {
	started, gone := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		// A thread that is still locked when its goroutine ends, ends too, and with it what others had started on it with Pdeathsig.
		defer runtime.UnlockOSThread()
		defer close(gone)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it was killed, or ended with what it served
		}
	}()
	return gone, <-started
}

// Close ends the machine at once.
func (m *Machine) Close() error {
	if m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // it may have ended
		<-m.gone
	}
	err := errors.Join(m.port.Close(), m.console.Close())
	if m.qmp != nil {
		err = errors.Join(err, m.qmp.Close())
	}
	return err
}

// Reset is the machine's reset button: nothing of what its guest has in memory is written anywhere, and it begins again. What
// is plugged in stays so.
func (m *Machine) Reset(ctx context.Context) error {
	m.mu.Lock()
	m.resets++
	wanted := m.resets
	m.mu.Unlock()
	if err := m.qmp.Do(ctx, "system_reset", nil, nil); err != nil {
		return err
	}
	seen := 0
	err := m.qmp.Await(ctx, func(e qmp.Event) bool {
		if e.Name == "RESET" {
			seen++
		}
		return seen >= wanted
	})
	if err != nil {
		return fmt.Errorf("the machine is not reset: %w", err)
	}
	return nil
}

// Gone is closed when the machine has ended.
func (m *Machine) Gone() <-chan struct{} { return m.gone }

// Port is the connection to the guest's serial port.
func (m *Machine) Port() net.Conn { return m.port }

// Console returns what the guest and QEMU have printed.
func (m *Machine) Console() string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", m.console.Fd()))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(raw))
}

// pair returns the two ends of a connection, the second one to be inherited.
func pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close() //nolint:errcheck // the connection has a descriptor of its own
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}
