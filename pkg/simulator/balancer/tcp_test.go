package balancer

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func TestTCPRoundRobin(t *testing.T) {
	addresses, port := group(t, 3)
	for _, address := range addresses {
		echo(t, address, port)
	}
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(3)
	seen := map[string]int{}
	for range 9 {
		answer := dialTCP(t, r.at(8080)).mustAsk("hello")
		seen[answer[0]]++
		if answer[1] != r.spec.Address {
			t.Errorf("the backend saw the client %s, want the load balancer's %s", answer[1], r.spec.Address)
		}
	}
	for _, address := range addresses {
		if seen[address] != 3 {
			t.Errorf("%s took %d of 9 connections", address, seen[address])
		}
	}
}

func TestTCPLeastConnections(t *testing.T) {
	addresses, port := group(t, 2)
	for _, address := range addresses {
		echo(t, address, port)
	}
	r := newRig(t, rule("tcp", 8080, port))
	r.spec.Algorithm = leastConn
	r.backends(addresses)
	r.apply()
	r.await(2)
	held := dialTCP(t, r.at(8080))
	busy := held.mustAsk("first")[0]
	for range 5 {
		c := dialTCP(t, r.at(8080))
		if idle := c.mustAsk("next")[0]; idle == busy {
			t.Errorf("the busy backend %s got one more", idle)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		await(t, "the connection's end", func() bool { return r.connections() == 1 })
	}
}

func (r *rig) connections() int {
	n := 0
	for _, h := range r.plane.Health(r.spec.ID) {
		n += h.Connections
	}
	return n
}

// TestHalfClose: a client that has sent everything and says so still gets the answer.
func TestHalfClose(t *testing.T) {
	addresses, port := group(t, 1)
	listener := listen(t, addresses[0], port)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				all, _ := io.ReadAll(conn)
				_, _ = conn.Write([]byte("got " + strconv.Itoa(len(all))))
				_ = conn.Close()
			}()
		}
	}()
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	c := dialTCP(t, r.at(8080))
	if _, err := c.Write(make([]byte, 300_000)); err != nil {
		t.Fatal(err)
	}
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP connection")
	}
	if err := tcp.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || string(answer) != "got 300000" {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestLiveChange walks through changes with a connection open on a rule that stays.
func TestLiveChange(t *testing.T) {
	addresses, port := group(t, 3)
	for _, address := range addresses {
		echo(t, address, port)
	}
	r := newRig(t, rule("tcp", 8080, port), rule("tcp", 8081, port))
	r.backends(addresses[:2])
	r.apply()
	r.await(2)
	stays, goes := dialTCP(t, r.at(8080)), dialTCP(t, r.at(8081))
	backend := stays.mustAsk("before")[0]
	goes.mustAsk("before")

	// Another rule, other backends, another algorithm, a firewall that admits everybody.
	r.spec.Rules = []simulator.BalancerRule{rule("tcp", 8080, port), rule("tcp", 8082, port)}
	r.spec.Algorithm = leastConn
	r.spec.Backends = []simulator.BalancerBackend{{InstanceID: "other", Address: addresses[2]}}
	r.spec.Firewall = []simulator.BalancerFirewallRule{{Port: 8080, Source: "127.0.0.0/8"}, {Port: 8082, Source: "127.0.0.0/8"}}
	r.apply()
	r.await(1)
	if got := stays.mustAsk("after")[0]; got != backend {
		t.Errorf("the established connection moved from %s to %s", backend, got)
	}
	if _, err := goes.ask("after"); err == nil {
		t.Error("a connection of a removed rule lives on")
	}
	if _, err := net.Dial("tcp", r.at(8081)); err == nil {
		t.Error("a removed rule still listens")
	}
	for _, port := range []int{8080, 8082} {
		if got := dialTCP(t, r.at(port)).mustAsk("new")[0]; got != addresses[2] {
			t.Errorf("a new connection to port %d went to %s", port, got)
		}
	}

	// The firewall closes: new connections are refused, the established one stays.
	r.spec.Firewall = []simulator.BalancerFirewallRule{{Port: 8080, Source: "192.0.2.0/24"}}
	r.apply()
	if answer, err := askOnce(r.at(8080), "hello"); err == nil {
		t.Errorf("the firewall let a stranger in: %v", answer)
	}
	stays.mustAsk("still there")

	if err := r.plane.Remove(t.Context(), r.spec.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := stays.ask("after the end"); err == nil {
		t.Error("a connection survived the load balancer")
	}
	if ids, err := r.plane.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("left: %v, %v", ids, err)
	}
	if err := r.plane.Remove(t.Context(), r.spec.ID); err != nil {
		t.Errorf("removing it again: %v", err)
	}
}

func TestSickBackendsGetNothing(t *testing.T) {
	addresses, port := group(t, 2)
	first, _ := echo(t, addresses[0], port), echo(t, addresses[1], port)
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(2)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// Before the checks notice, a connection that cannot be made is tried elsewhere.
	for range 4 {
		if got := dialTCP(t, r.at(8080)).mustAsk("hello")[0]; got != addresses[1] {
			t.Errorf("answered by %s", got)
		}
	}
	r.await(1)
	health := r.plane.Health(r.spec.ID)
	if i := slices.IndexFunc(health, func(h simulator.BackendHealth) bool { return !h.Healthy }); health[i].Address != addresses[0] || health[i].Reason != "connection refused" {
		t.Errorf("%+v", health)
	}
	echo(t, addresses[0], port)
	r.await(2)
}

func TestNoBackendResetsTheConnection(t *testing.T) {
	addresses, port := group(t, 1)
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	if _, err := askOnce(r.at(8080), "hello"); err == nil {
		t.Error("answered without a backend")
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	addresses, port := group(t, 1)
	echo(t, addresses[0], port)
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.spec.Timeout = 300 * time.Millisecond
	r.apply()
	r.await(1)
	c := dialTCP(t, r.at(8080))
	c.mustAsk("hello")
	began := time.Now()
	if _, err := c.in.ReadByte(); err == nil {
		t.Error("something came")
	}
	if quiet := time.Since(began); quiet < 200*time.Millisecond {
		t.Errorf("closed after %s", quiet)
	}
	await(t, "the backend's connection to end", func() bool { return r.connections() == 0 })
}

func TestConnectionsAreBounded(t *testing.T) {
	addresses, port := group(t, 1)
	echo(t, addresses[0], port)
	r := newRig(t, rule("tcp", 8080, port)) // room for 20
	r.backends(addresses)
	r.apply()
	r.await(1)
	var open []*client
	for range 20 {
		c := dialTCP(t, r.at(8080))
		c.mustAsk("hello")
		open = append(open, c)
	}
	if _, err := askOnce(r.at(8080), "hello"); err == nil {
		t.Error("one too many was served")
	}
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "room for one more", func() bool {
		_, err := askOnce(r.at(8080), "hello")
		return err == nil
	})
}

func TestProxyProtocol(t *testing.T) {
	addresses, port := group(t, 1)
	listener := &proxyproto.Listener{Listener: listen(t, addresses[0], port)}
	seen := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				text := make([]byte, 5)
				if _, err := io.ReadFull(conn, text); err == nil {
					seen <- conn.RemoteAddr().String() + " " + conn.LocalAddr().String() + " " + string(text)
				}
			}()
		}
	}()
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.spec.ProxyProtocol = true
	r.apply()
	r.await(1) // by checks that carry no header
	c := dialTCP(t, r.at(8080))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	want := c.LocalAddr().String() + " " + r.at(8080) + " hello"
	if got := <-seen; got != want {
		t.Errorf("the backend saw %q, want %q", got, want)
	}
}

func TestTakenPortChangesNothing(t *testing.T) {
	addresses, port := group(t, 1)
	echo(t, addresses[0], port)
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	listen(t, r.spec.Address, 8090)
	before := r.spec
	r.spec.Rules = []simulator.BalancerRule{rule("tcp", 8085, port), rule("tcp", 8090, port), rule("udp", 8086, port)}
	err := r.plane.Apply(t.Context(), r.spec)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("%v", err)
	}
	dialTCP(t, r.at(8080)).mustAsk("still")
	if _, err := net.Dial("tcp", r.at(8085)); err == nil {
		t.Error("half of the change was done")
	}
	r.spec = before
	r.apply()
}

func TestUDP(t *testing.T) {
	addresses, port := group(t, 2)
	for _, address := range addresses {
		echo(t, address, port) // for the health check
		echoUDP(t, address, port)
	}
	r := newRig(t, rule("udp", 5353, port))
	r.backends(addresses)
	r.apply()
	r.await(2)
	seen := map[string]bool{}
	for range 2 {
		conn := dialUDP(t, r.at(5353))
		first := askUDP(t, conn, "one")
		if second := askUDP(t, conn, "two"); second != first {
			t.Errorf("one client was sent to %s and to %s", first, second)
		}
		seen[first] = true
	}
	if len(seen) != 2 {
		t.Errorf("two clients were sent to %v", seen)
	}
	await(t, "two sessions", func() bool { return r.connections() == 2 })
	r.spec.Firewall = []simulator.BalancerFirewallRule{{Port: 5353, Source: "192.0.2.0/24"}}
	r.apply()
	conn := dialUDP(t, r.at(5353))
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 10)); err == nil {
		t.Errorf("the firewall let a datagram in: %d bytes came back", n)
	}
	if err := r.plane.Remove(t.Context(), r.spec.ID); err != nil {
		t.Fatal(err)
	}
}

// echoUDP answers every datagram with its own address and the datagram.
func echoUDP(t testing.TB, address string, port int) {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		text := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFrom(text)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo([]byte(address+" "+string(text[:n])), from)
		}
	}()
}

func dialUDP(t testing.TB, target string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func askUDP(t testing.TB, conn net.Conn, text string) (backend string) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 2000)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(answer[:n]))
	if len(fields) != 2 || fields[1] != text {
		t.Fatalf("asked %q, got %q", text, answer[:n])
	}
	return fields[0]
}

// askAgain sends a datagram until an answer to it comes.
func askAgain(ctx context.Context, conn net.Conn, text string) (string, bool) {
	answer := make([]byte, 2000)
	for began := time.Now(); time.Since(began) < patience; {
		if _, err := conn.Write([]byte(text)); err != nil {
			return err.Error(), false
		}
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err.Error(), false
		}
		if n, err := conn.Read(answer); err == nil {
			return string(answer[:n]), strings.HasSuffix(string(answer[:n]), text)
		}
		if ctx.Err() != nil {
			return "", true
		}
	}
	return "", false
}
