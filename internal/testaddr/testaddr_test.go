package testaddr_test

import (
	"encoding/binary"
	"net"
	"os"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
)

// TestNext: one can listen on what it returns, and no outgoing connection of another process is in the way, not even
// one that came from the same port.
func TestNext(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for range 3 {
		address := testaddr.Next()
		if bytes := address.Addr().As4(); binary.BigEndian.Uint32(bytes[:])&(1<<22-1) != uint32(os.Getpid()) { //nolint:gosec // Linux gives no process ID beyond 22 bits
			t.Errorf("%s may be another process's as well", address)
		}
		if again := testaddr.Next(); again == address {
			t.Fatalf("%s was returned twice", address)
		}
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(address.Port())}}
		if client, err := dialer.DialContext(t.Context(), "tcp", server.Addr().String()); err == nil { // else somebody else has that port, which is as good
			t.Cleanup(func() { _ = client.Close() })
		}
		listener, err := net.Listen("tcp", address.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
	}
}
