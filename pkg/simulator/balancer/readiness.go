package balancer

import (
	"errors"
	"sync"
	"syscall"
)

// readiness reads from a socket with a buffer that is taken only once there is something to read: thousands of silent
// connections and sessions hold no memory.
type readiness struct{ raw syscall.RawConn }

const bufferSize = 64 << 10 // the largest datagram fits

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func newReadiness(conn syscall.Conn) (readiness, error) {
	raw, err := conn.SyscallConn()
	return readiness{raw}, err
}

// read waits for input, until the connection's read deadline at most, and hands it to use: nothing at the end of a
// stream or for an empty datagram. The bytes are valid only during use. It gives how many they were.
func (r readiness) read(use func([]byte) error) (int, error) {
	var buffer *[bufferSize]byte
	var n int
	var failed error
	err := r.raw.Read(func(fd uintptr) bool {
		buffer = takeBuffer()
		n, failed = syscall.Read(int(fd), buffer[:])
		for errors.Is(failed, syscall.EINTR) {
			n, failed = syscall.Read(int(fd), buffer[:])
		}
		if errors.Is(failed, syscall.EAGAIN) {
			buffers.Put(buffer)
			buffer = nil
			return false
		}
		return true
	})
	if buffer != nil {
		defer buffers.Put(buffer)
	}
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	}
	return n, use(buffer[:n])
}

func takeBuffer() *[bufferSize]byte {
	buffer, ok := buffers.Get().(*[bufferSize]byte)
	if !ok {
		return new([bufferSize]byte)
	}
	return buffer
}
