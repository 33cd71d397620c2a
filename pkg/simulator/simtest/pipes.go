package simtest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// pipes is a network of one listener: real connections would stop the fake time of a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// startPipes serves the cloud on pipes until the test ends.
func startPipes(t testing.TB, sim *simulator.Simulator) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: sim, ReadHeaderTimeout: time.Hour}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(p) // ends by Close
	}()
	t.Cleanup(func() {
		if err := sim.Close(); err != nil { // first: it releases what is held, which the server would wait for
			t.Errorf("stop the simulated cloud: %v", err)
		}
		_ = server.Close() // all that can go wrong is that a pipe is closed already
		<-served
		time.Sleep(time.Second) // net/http's own, before it closes a connection whose request it did not read
	})
	return p
}

// dial is for a client of the cloud.
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- pipeEnd{server}:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the server's end of a new pipe.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is not an address that could be dialled.
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// pipeEnd is the server's end; the simulator tells clients apart by their addresses.
type pipeEnd struct{ net.Conn }

// RemoteAddr is the same for all clients.
func (pipeEnd) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
