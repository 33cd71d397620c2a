package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// probeFor is how long one check may take.
const probeFor = 5 * time.Second

// ErrNotReady is returned by Ready when the driver itself says so.
var ErrNotReady = errors.New("the driver is not ready")

// Alive reports whether callers still reach this very process by the path of its CSI socket.
func Alive(ctx context.Context, socket string) error {
	return AskSelf(ctx, socket, func(ctx context.Context, conn *grpc.ClientConn) error {
		// Probe would be wrong: it judges more than the process.
		_, err := csi.NewIdentityClient(conn).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{})
		return err
	})
}

// Ready asks the driver for its readiness by the path of its CSI socket.
func Ready(ctx context.Context, socket string) error {
	return AskSelf(ctx, socket, func(ctx context.Context, conn *grpc.ClientConn) error {
		resp, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{})
		if err != nil {
			return err
		}
		if ready := resp.GetReady(); ready != nil && !ready.GetValue() {
			return ErrNotReady
		}
		return nil
	})
}

// AskSelf calls ask with a connection to the socket, which must be one of this process. The connection is always a
// new one: an old one goes on working when the socket's file was deleted or replaced, and then nobody else gets in.
func AskSelf(ctx context.Context, socket string, ask func(context.Context, *grpc.ClientConn) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialSelf))
	if err != nil {
		return fmt.Errorf("preparing a call on %s: %w", socket, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return ask(ctx, conn)
}

// dialSelf connects to a Unix socket on which this process listens.
func dialSelf(ctx context.Context, socket string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("the socket of this process is gone or does not answer: %w", err)
	}
	peer, err := listener(conn)
	if err == nil && peer != os.Getpid() {
		err = fmt.Errorf("%s is not a socket of this process (%d) any more, process %d listens on it", socket, os.Getpid(), peer)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// listener returns the process that listens at the other end, as the kernel recorded it.
func listener(conn net.Conn) (int, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%T is not a connection to a Unix socket", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, fmt.Errorf("asking who listens: %w", failed)
	}
	return int(cred.Pid), nil
}
