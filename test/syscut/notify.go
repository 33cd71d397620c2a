package syscut

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif: a call that waits for an answer.
type notification struct {
	id        uint64
	pid       uint32
	flags     uint32
	number    int32
	arch      uint32
	from      uint64
	arguments [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	error int32
	flags uint32
}

// errGone says that no watched process is left; errOver that a call was over before it was looked at.
var (
	errGone = errors.New("all are gone")
	errOver = errors.New("the call is over")
)

// next waits for a call.
func next(listener int) (notification, error) {
	var n notification
	ready := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}} //nolint:gosec // a descriptor
	if _, err := unix.Poll(ready, -1); err != nil {
		return n, errOver // interrupted
	}
	if ready[0].Revents&unix.POLLIN == 0 {
		return n, errGone
	}
	if err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil { //nolint:gosec // for the kernel
		return n, errOver // the process was killed meanwhile
	}
	return n, nil
}

// answer has a call be carried out, or fail. To one of a process that was killed there is none to give.
func answer(listener int, id uint64, failure unix.Errno) {
	r := response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if failure != 0 {
		r.error, r.flags = -int32(failure), 0 //nolint:gosec // numbers of errors are small
	}
	_ = ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) //nolint:gosec // for the kernel
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
