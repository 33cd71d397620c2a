package box

import (
	"bytes"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// Datagrams of many lengths, each sent before the one before it is answered, come back whole and apart.
func TestDialUDP(t *testing.T) {
	echo, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, from, err := echo.ReadFrom(buffer)
			if err != nil {
				return // the test is over
			}
			_, _ = echo.WriteTo(buffer[:n], from)
		}
	}()
	agent := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", agent)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(dial), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // it ends with an error when the test does
	t.Cleanup(func() { _ = server.Close() })

	for range 20 {
		conn, err := (&Client{socket: agent}).Dial(t.Context(), "udp", echo.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		var sent [][]byte
		for i, length := range []int{20, 1, 1472, 40_000, 2} {
			sent = append(sent, bytes.Repeat([]byte{byte('a' + i)}, length))
			if _, err := conn.Write(sent[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for i, want := range sent {
			answer := make([]byte, 1<<16)
			if i == 2 {
				want, answer = want[:100], answer[:100]
			}
			n, err := conn.Read(answer)
			if err != nil || !bytes.Equal(answer[:n], want) {
				t.Fatalf("datagram %d: %d bytes %.20q, %v; sent were %d bytes %.20q", i, n, answer[:n], err, len(want), want)
			}
		}
		if _, err := conn.Write(make([]byte, 1<<16)); err == nil {
			t.Error("a datagram was sent that no network carries")
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
