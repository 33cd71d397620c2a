package balancer

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestSessionTable leads a table through a long random life beside a plain list that begins with the latest client.
func TestSessionTable(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const limit = 7
	table := newSessions(limit)
	var model []*session
	for range 20_000 {
		client := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(random.IntN(20)))
		at := slices.IndexFunc(model, func(s *session) bool { return s.client == client })
		got, found := table.find(client)
		if found != (at >= 0) || found && got != model[at] {
			t.Fatalf("client %s: found %v, in the model at %d", client, found, at)
		}
		switch {
		case found && random.IntN(3) == 0:
			table.remove(got)
			model = slices.Delete(model, at, at+1)
			table.remove(got) // idempotent
		case found:
			model = append([]*session{got}, slices.Delete(model, at, at+1)...)
		default:
			s := &session{client: client}
			displaced := table.add(s)
			table.remove(&session{client: client}) // the reader of an older session of the same client
			model = append([]*session{s}, model...)
			if len(model) > limit {
				if displaced != model[limit] {
					t.Fatalf("%v had to leave, not the one that was silent for longest", displaced)
				}
				model = model[:limit]
			} else if displaced != nil {
				t.Fatalf("%v had to leave although there was room", displaced)
			}
		}
		if !slices.Equal(table.all(), model) {
			t.Fatalf("the table has %v, the model %v", table.all(), model)
		}
	}
}

// TestFloodOfDatagrams: many more clients than there is room for. The last ones are served, and so is one that comes
// back after it had to leave.
func TestFloodOfDatagrams(t *testing.T) {
	addresses, port := group(t, 1)
	echo(t, addresses[0], port) // for the health check
	echoUDP(t, addresses[0], port)
	r := newRig(t, rule("udp", 5353, port))
	r.tighten(func(l *limits) { l.sessions = 8 })
	r.backends(addresses)
	r.apply()
	r.await(1)
	var clients []net.Conn
	for i := range 100 {
		conn := dialUDP(t, r.at(5353))
		askUDP(t, conn, strconv.Itoa(i))
		clients = append(clients, conn)
	}
	await(t, "the displaced sessions to end", func() bool { return r.connections() == 8 })
	askUDP(t, clients[0], "again")
	askUDP(t, clients[99], "again")
	await(t, "the displaced session to end", func() bool { return r.connections() == 8 })
}

// TestBigDatagrams: one as big as UDP allows gets through, both ways.
func TestBigDatagrams(t *testing.T) {
	addresses, port := group(t, 1)
	echo(t, addresses[0], port) // for the health check
	backend, err := net.ListenPacket("udp", hostWithPort(addresses[0], port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	go func() {
		text := make([]byte, bufferSize)
		for {
			n, from, err := backend.ReadFrom(text)
			if err != nil {
				return
			}
			_, _ = backend.WriteTo(text[:n], from)
		}
	}()
	r := newRig(t, rule("udp", 5353, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	conn := dialUDP(t, r.at(5353))
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{65_507, 0, 1, 9_000} {
		if _, err := conn.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, bufferSize)); err != nil || n != size {
			t.Errorf("of %d bytes %d came back, %v", size, n, err)
		}
	}
}
