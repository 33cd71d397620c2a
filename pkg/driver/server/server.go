// Package server runs the driver's gRPC services on a Unix socket, and health and metrics on HTTP.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"k8s.io/klog/v2"
)

// drainFor is how long calls under way may go on after the end was asked for.
const drainFor = 30 * time.Second

// Services are what is served; nil ones are not.
type Services struct {
	Identity   csi.IdentityServer
	Controller csi.ControllerServer
	Node       csi.NodeServer
}

// Options tune a server.
type Options struct {
	Metrics *Metrics
	// Inner comes after logging and metrics, which see what it makes of an answer; nil is none.
	Inner grpc.UnaryServerInterceptor
	// Stats is told of each call; nil is nobody.
	Stats stats.Handler
}

// New returns a gRPC server with everything that surrounds a call: a logger, metrics, a deadline a little before the
// caller's, and recovery from panics.
func New(services Services, o Options) *grpc.Server {
	chain := []grpc.UnaryServerInterceptor{withLogger, o.Metrics.intercept, logCall}
	if o.Inner != nil {
		chain = append(chain, o.Inner)
	}
	options := []grpc.ServerOption{grpc.ChainUnaryInterceptor(append(chain, earlier, recovered)...)}
	if o.Stats != nil {
		options = append(options, grpc.StatsHandler(o.Stats))
	}
	s := grpc.NewServer(options...)
	if services.Identity != nil {
		csi.RegisterIdentityServer(s, services.Identity)
	}
	if services.Controller != nil {
		csi.RegisterControllerServer(s, services.Controller)
	}
	if services.Node != nil {
		csi.RegisterNodeServer(s, services.Node)
	}
	return s
}

// Serve answers on the listener until the context ends, then lets the calls under way finish for a while.
func Serve(ctx context.Context, s *grpc.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	klog.FromContext(ctx).Info("Waiting for calls under way", "atMost", drainFor)
	drained := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(drained)
	}()
	timer := time.NewTimer(drainFor)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
		klog.FromContext(ctx).Info("Cutting off calls that are still under way")
		s.Stop()
		<-drained
	}
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// ParseEndpoint returns the path of a Unix socket from the forms unix:///path, unix:/path and /path.
func ParseEndpoint(endpoint string) (string, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(endpoint, "unix://"), "unix:")
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("endpoint %q is not the absolute path of a Unix socket, like unix:///csi/csi.sock", endpoint)
	}
	return path, nil
}

// Listen opens a Unix socket. A socket that a dead process left is removed; one on which somebody answers, or
// anything else at the path, is an error. Owner and group may use the socket.
func Listen(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The mode has to be right from the first moment; a chmod would come too late.
	old := unix.Umask(0o117)
	defer unix.Umask(old)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("looking at the socket: %w", err), l.Close())
	}
	return &ownListener{UnixListener: l, path: path, file: file}, nil
}

// ownListener removes its socket's file at the end, but not one that replaced it: whoever made that would be left
// listening where nobody finds it.
type ownListener struct {
	*net.UnixListener

	path string
	file os.FileInfo
}

// Close removes the file first, so that nobody connects to what is about to end.
func (l *ownListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
		if err := os.Remove(l.path); err != nil {
			return errors.Join(fmt.Errorf("removing the socket: %w", err), l.UnixListener.Close())
		}
	}
	return l.UnixListener.Close()
}

func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the socket: %w", err)
	}
	if st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second) //nolint:noctx,gosec // over in a second, before anything is served; the path is a flag
	if err == nil {
		_ = conn.Close() // it answered, that is all that was asked
		return fmt.Errorf("somebody already listens on %s", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("trying whether somebody listens on %s: %w", path, err)
	}
	return os.Remove(path)
}
