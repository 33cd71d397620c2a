package box

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// dial opens a connection in the box and lets the caller use it: after the
// answer's head the bytes of both, or the datagrams, are copied to each other.
func dial(w http.ResponseWriter, r *http.Request) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	remote, err := dialer.DialContext(r.Context(), r.FormValue("network"), r.FormValue("address"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = remote.Close() }()
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "the connection cannot be taken over", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "bytes")
	w.WriteHeader(http.StatusSwitchingProtocols)
	local, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer func() { _ = local.Close() }()
	Splice(remote, carrying(remote.LocalAddr().Network(), bufferedConn{Conn: local, reader: buffered.Reader}))
}

// carrying is a stream between this process and the box's agent that carries what such a network does.
func carrying(network string, stream net.Conn) net.Conn {
	if strings.HasPrefix(network, "udp") {
		return framed{stream}
	}
	return stream
}

// Splice copies each connection to the other until both directions have ended;
// an end of one is passed on as such, so that half-closed connections work.
func Splice(a, b net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { copyHalf(a, b) })
	both.Go(func() { copyHalf(b, a) })
	both.Wait()
}

func copyHalf(to, from net.Conn) {
	_, err := io.CopyBuffer(to, from, make([]byte, 1<<16)) // the longest datagram fits
	if half, can := to.(interface{ CloseWrite() error }); can && err == nil {
		_ = half.CloseWrite() // the other side may be gone already
		return
	}
	_ = to.Close()
	_ = from.Close()
}

// bufferedConn is a connection of which something was read ahead.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

// Read returns what was read ahead first.
func (c bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// CloseWrite tells the other side that nothing more comes.
func (c bufferedConn) CloseWrite() error {
	if half, can := c.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return c.Close()
}

// Dial opens a connection from inside the box.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.connect(ctx, "", "")
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	reader, err := askToDial(conn, network, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return carrying(network, bufferedConn{Conn: conn, reader: reader}), nil
}

func askToDial(conn net.Conn, network, address string) (*bufio.Reader, error) {
	query := url.Values{"network": {network}, "address": {address}}.Encode()
	if _, err := fmt.Fprintf(conn, "GET /dial?%s HTTP/1.1\r\nHost: agent\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n", query); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusSwitchingProtocols {
		text, err := io.ReadAll(io.LimitReader(response.Body, 1000))
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %s", address, text)
	}
	return reader, nil
}
