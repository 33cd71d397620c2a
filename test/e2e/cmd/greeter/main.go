// Command greeter tells whoever asks which pod it is, and who it takes the asker for.
//
//	GET / on -listen   its name and the client's address
//	GET / on -plain    the same; never with the PROXY protocol, for probes
//	UDP on -udp        its name and what it was sent
//
// With -proxy every connection to -listen has to begin with a header of the PROXY protocol, version 1, and the address in it
// is the client's; one without it is closed, as software that demands it does.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "greeter:", err)
		os.Exit(1)
	}
}

func run() error {
	flags := flag.NewFlagSet("greeter", flag.ContinueOnError)
	listen := flags.String("listen", ":8080", "address to serve HTTP on")
	plain := flags.String("plain", ":8082", "address to serve HTTP on, always without the PROXY protocol")
	udp := flags.String("udp", ":8081", "address to answer datagrams on")
	proxy := flags.Bool("proxy", false, "demand the PROXY protocol")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *proxy {
		listener = announced(listener)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, Addr: *plain,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s %s", name, r.RemoteAddr) // a client that is gone does not matter
		}),
	}
	ended := make(chan error, 3)
	go func() { ended <- server.Serve(listener) }()
	go func() { ended <- server.ListenAndServe() }()
	go func() { ended <- echo(*udp, name) }()
	return <-ended
}

// echo answers datagrams.
func echo(address, name string) error {
	conn, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		_, _ = conn.WriteTo([]byte(name+" "+string(buffer[:n])), from) // it may be lost on the way as well
	}
}

// announcedListener returns connections whose header was read.
type announcedListener struct {
	net.Listener
	conns chan net.Conn
	ended chan error
}

// announced is a listener for connections that begin with a header.
func announced(listener net.Listener) net.Listener {
	a := &announcedListener{Listener: listener, conns: make(chan net.Conn), ended: make(chan error, 1)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				a.ended <- err
				return
			}
			go a.greet(conn)
		}
	}()
	return a
}

// greet reads the header of a connection. Whoever only looks whether the port is open sends none.
func (a *announcedListener) greet(conn net.Conn) {
	announced, err := readHeader(conn)
	if err != nil {
		_ = conn.Close() // that is the answer
		return
	}
	a.conns <- announced
}

// Accept returns the next connection.
func (a *announcedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-a.conns:
		return conn, nil
	case err := <-a.ended:
		return nil, err
	}
}

// announcedConn comes from where its header says.
type announcedConn struct {
	net.Conn
	reader *bufio.Reader
	remote net.Addr
}

// Read returns what follows the header.
func (c *announcedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// RemoteAddr is the address in the header.
func (c *announcedConn) RemoteAddr() net.Addr { return c.remote }

// headerTimeout bounds the wait for a header.
const headerTimeout = 10 * time.Second

// readHeader reads "PROXY TCP4 192.0.2.11 198.51.100.1 40000 80\r\n".
func readHeader(conn net.Conn) (net.Conn, error) {
	if err := conn.SetReadDeadline(time.Now().Add(headerTimeout)); err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(conn, 4096)
	line, err := reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(line)
	if len(fields) != 6 || fields[0] != "PROXY" {
		return nil, errors.New("no header")
	}
	remote, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(fields[2], fields[4]))
	if err != nil {
		return nil, err
	}
	return &announcedConn{Conn: conn, reader: reader, remote: remote}, conn.SetReadDeadline(time.Time{})
}
