package balancer

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

// relayRig is a load balancer with a tcp rule to one backend that handles every connection, those of checks apart: they
// say nothing.
func relayRig(t *testing.T, handle func(conn *net.TCPConn, first string)) *rig {
	t.Helper()
	addresses, port := group(t, 1)
	serveEach(t, addresses[0], port, func(conn net.Conn) {
		first := make([]byte, 5)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			handle(tcp, string(first))
		}
	})
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	return r
}

func (c *client) tcp() *net.TCPConn {
	c.t.Helper()
	conn, ok := c.Conn.(*net.TCPConn)
	if !ok {
		c.t.Fatal("no TCP connection")
	}
	return conn
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) hear(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.in, got); err != nil || string(got) != want {
		c.t.Fatalf("heard %q, want %q; %v", got, want, err)
	}
}

// TestBackendSaysItsEndFirst: what the client says after that still gets to the backend.
func TestBackendSaysItsEndFirst(t *testing.T) {
	heard := make(chan string, 1)
	r := relayRig(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "bye")
		_ = conn.CloseWrite()
		rest, _ := io.ReadAll(conn)
		heard <- string(rest)
	})
	c := dialTCP(t, r.at(8080))
	c.say("hello")
	if got, err := io.ReadAll(c.in); err != nil || string(got) != "bye" {
		t.Fatalf("%q, %v", got, err)
	}
	rest := strings.Repeat("x", 2*spliceAfter)
	c.say(rest)
	if err := c.tcp().CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != rest {
		t.Errorf("the backend heard %d bytes of %d", len(got), len(rest))
	}
	await(t, "the connection's end to be noticed", func() bool { return r.connections() == 0 })
}

// TestResets: a side that resets the connection has not ended what it says; the other one must not think so.
func TestResets(t *testing.T) {
	heard := make(chan error, 1)
	r := relayRig(t, func(conn *net.TCPConn, first string) {
		_, _ = io.WriteString(conn, "half")
		if first == "reset" {
			if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
				return
			}
			_ = conn.SetLinger(0)
			return
		}
		_, err := io.ReadAll(conn)
		heard <- err
	})
	c := dialTCP(t, r.at(8080))
	c.say("reset")
	c.hear("half")
	c.say("now")
	if _, err := c.in.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client heard of the backend's reset: %v", err)
	}
	c = dialTCP(t, r.at(8080))
	c.say("hello")
	c.hear("half")
	if err := c.tcp().SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := <-heard; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the backend heard of the client's reset: %v", err)
	}
	await(t, "both ends to be noticed", func() bool { return r.connections() == 0 })
}

// TestLastWords: a backend that answers and ends before it has heard everything is understood, although its end is a
// reset to whoever goes on talking.
func TestLastWords(t *testing.T) {
	const words = "I do not want all that"
	r := relayRig(t, func(conn *net.TCPConn, _ string) { _, _ = io.WriteString(conn, words) })
	for range 50 {
		c := dialTCP(t, r.at(8080))
		go func() { _, _ = io.WriteString(c, "hello"+strings.Repeat("x", 8<<20)) }() // it cannot say it all
		c.hear(words)
		_ = c.Close()
	}
	await(t, "all ends to be noticed", func() bool { return r.connections() == 0 })
}
