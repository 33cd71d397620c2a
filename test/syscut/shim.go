package syscut

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// envProgram is set in a process that Start began and names the program that it is to become.
const envProgram = "SYSCUT_PROGRAM"

// socket is the descriptor by which that process sends the listener.
const socket = 3

// Main turns a process that Start began into the program that is watched; in any other it returns at once. It comes first
// in TestMain.
func Main() {
	program := os.Getenv(envProgram)
	if program == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "syscut:", become(program))
	os.Exit(125) //nolint:revive // it is the main function of that process
}

func become(program string) error {
	runtime.LockOSThread() // a filter is a thread's; it goes on to the program, which this thread becomes
	listener, err := install()
	if err != nil {
		_ = unix.Sendmsg(socket, []byte(err.Error()), nil, nil, 0) // the process ends anyway, with the error
		return err
	}
	if err := unix.Sendmsg(socket, []byte("listener"), unix.UnixRights(listener), nil, 0); err != nil {
		return err
	}
	unix.CloseOnExec(socket)
	if err := os.Unsetenv(envProgram); err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, os.Environ()) //nolint:gosec // the test says what is watched
}

// install has the kernel ask the listener about the calls of this thread and its children.
func install() (listener int, err error) {
	filter := program()
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]} //nolint:gosec // far fewer than 65536
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog))) //nolint:gosec // for the kernel
	if errno != 0 {
		return 0, fmt.Errorf("installing the filter: %w", errno)
	}
	return int(fd), nil
}

// Where the kernel puts what a filter looks at: struct seccomp_data. The low half of an argument comes first.
const (
	offsetNumber   = 0
	offsetArgument = 16
)

// program is the filter: it selects calls that may change something. What it selects is judged by describe.
func program() []unix.SockFilter {
	notify, allow := ret(unix.SECCOMP_RET_USER_NOTIF), ret(unix.SECCOMP_RET_ALLOW)
	filter := []unix.SockFilter{load(offsetNumber)}
	unless := func(number uintptr, argument int, test uint16, value uint32) {
		filter = append(filter,
			jump(unix.BPF_JEQ, uint32(number), 0, 4), load(offsetArgument+8*argument), //nolint:gosec // numbers are small
			jump(test, value, 0, 1), notify, allow)
	}
	for number, argument := range opens {
		unless(number, argument, unix.BPF_JSET, unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC)
	}
	for number := range writes {
		unless(number, 0, unix.BPF_JGT, 2) // what is said on standard output changes nothing
	}
	for number := range changes {
		filter = append(filter, jump(unix.BPF_JEQ, uint32(number), 0, 1), notify) //nolint:gosec // numbers are small
	}
	return append(filter, allow)
}

func load(offset int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(offset)} //nolint:gosec // small
}

func jump(test uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
