package agent

import (
	"net"
	"net/rpc"
	"strings"
	"testing"
)

// greeter is an agent's methods.
type greeter struct{ release string }

// Hello answers with the release.
func (g greeter) Hello(_ None, release *string) error {
	*release = g.release
	return nil
}

// serve has an agent serve on a connection, as that of one boot of a guest.
func serve(t *testing.T, conn net.Conn, release string) {
	t.Helper()
	s := rpc.NewServer()
	if err := s.RegisterName(Service, greeter{release}); err != nil {
		t.Fatal(err)
	}
	go s.ServeConn(conn)
}

// socket returns the two ends of a connection that holds what was written, as that of a guest does.
func socket(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

// TestAgain: after a reset the agent is another one, which has heard nothing, and the connection is the same. What the old one
// was saying when it ended is not taken for what the new one says, and who waits for the old one hears of its end.
func TestAgain(t *testing.T) {
	ours, theirs := socket(t)
	old := NewClient(ours)
	waiting := make(chan error, 1)
	go func() {
		_, err := old.Hello(t.Context())
		waiting <- err
	}()
	if _, err := theirs.Read(make([]byte, 1)); err != nil { // the call is under way
		t.Fatal(err)
	}
	if _, err := theirs.Write([]byte("half an ans")); err != nil {
		t.Fatal(err)
	}
	drained := make([]byte, 4096)
	if _, err := theirs.Read(drained); err != nil { // the rest of the call, which the old agent got
		t.Fatal(err)
	}
	next, err := old.Again()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err == nil {
		t.Error("the agent that ended has answered")
	}
	serve(t, theirs, "second")
	if release, err := next.Hello(t.Context()); err != nil || release != "second" {
		t.Errorf("the next agent says %q, %v", release, err)
	}
	if _, err := old.Hello(t.Context()); err == nil || !strings.Contains(err.Error(), "Hello") {
		t.Errorf("by the old client: %v", err)
	}
}
