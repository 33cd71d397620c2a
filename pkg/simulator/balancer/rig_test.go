package balancer

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// patience is generous: the machine that tests run on is shared.
const patience = 60 * time.Second

// rig is a plane with one load balancer.
type rig struct {
	t     testing.TB
	plane *Plane
	spec  simulator.BalancerSpec
}

// newRig makes a load balancer whose backends' health is checked every few milliseconds at the port of the first rule.
func newRig(t testing.TB, rules ...simulator.BalancerRule) *rig {
	t.Helper()
	plane, err := New(Config{Logger: logger(t), MaxConnections: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Close(); err != nil {
			t.Error(err)
		}
	})
	id := uuid.NewString()
	address, _, err := plane.Addresses(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, plane: plane, spec: simulator.BalancerSpec{
		ID: id, Address: address, Algorithm: roundRobin, Rules: rules,
		HealthCheck: simulator.BalancerHealthCheck{
			Protocol: "tcp", Port: rules[0].BackendPort, Interval: 20 * time.Millisecond, Timeout: 10 * time.Second,
			UnhealthyThreshold: 2, HealthyThreshold: 2,
		},
	}}
}

// logger logs to the test. A fuzz test's own log may not be written to while it runs its target, and health checks log at
// any time.
func logger(t testing.TB) klog.Logger {
	if _, fuzzing := t.(*testing.F); fuzzing {
		return logr.Discard()
	}
	log, _ := ktesting.NewTestContext(t)
	return log
}

func rule(protocol string, port, backendPort int) simulator.BalancerRule {
	return simulator.BalancerRule{
		ID: fmt.Sprint(protocol, port), FrontendProtocol: protocol, FrontendPort: port, BackendProtocol: protocol, BackendPort: backendPort,
	}
}

func (r *rig) apply() {
	r.t.Helper()
	if err := r.plane.Apply(r.t.Context(), r.spec); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) at(port int) string { return net.JoinHostPort(r.spec.Address, strconv.Itoa(port)) }

// tighten gives the load balancer, which must not exist yet, other limits.
func (r *rig) tighten(change func(*limits)) { change(&r.plane.limits) }

// await waits until so many backends are healthy.
func (r *rig) await(healthy int) {
	r.t.Helper()
	await(r.t, fmt.Sprintf("%d healthy backends", healthy), func() bool {
		n := 0
		for _, h := range r.plane.Health(r.spec.ID) {
			if h.Healthy {
				n++
			}
		}
		return n == healthy
	})
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond) // between two looks; only what is waited for ends the wait
	}
}

// group returns loopback addresses that no other test uses, with a port that is free on all of them.
func group(t testing.TB, n int) (addresses []string, port int) {
	t.Helper()
	third, fourth := rand.IntN(250), 1+rand.IntN(200)
	for i := range n {
		addresses = append(addresses, fmt.Sprintf("127.80.%d.%d", third, fourth+i))
	}
	return addresses, 8000 + rand.IntN(20000)
}

func (r *rig) backends(addresses []string) {
	r.spec.Backends = nil
	for i, address := range addresses {
		r.spec.Backends = append(r.spec.Backends, simulator.BalancerBackend{InstanceID: fmt.Sprint("instance-", i), Address: address})
	}
}

func listen(t testing.TB, address string, port int) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // some tests close it themselves
	return listener
}

// echo answers every line with its own address, the client's as it sees it, and the line.
func echo(t testing.TB, address string, port int) net.Listener {
	t.Helper()
	listener := listen(t, address, port)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					if _, err := fmt.Fprintf(conn, "%s %s %s\n", address, host, lines.Text()); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener
}

// client is a line-wise TCP client.
type client struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dialTCP(t testing.TB, target string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // some tests close it themselves
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t, conn, bufio.NewReader(conn)}
}

// ask sends a line and returns the answer's fields.
func (c *client) ask(line string) ([]string, error) {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return nil, err
	}
	answer, err := c.in.ReadString('\n')
	return strings.Fields(answer), err
}

// askOnce sends a line over a connection of its own. A refusal may already be seen by connect, or by what follows.
func askOnce(target, line string) ([]string, error) {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return (&client{Conn: conn, in: bufio.NewReader(conn)}).ask(line)
}

func (c *client) mustAsk(line string) []string {
	c.t.Helper()
	fields, err := c.ask(line)
	if err != nil {
		c.t.Fatal(err)
	}
	return fields
}

// web serves HTTP on the address and says in headers what it saw.
func web(t testing.TB, address string, port int, handler http.HandlerFunc) *http.Server {
	t.Helper()
	if handler == nil {
		handler = func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Backend", address)
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Host"} {
				w.Header().Set("Saw-"+name, strings.Join(r.Header[name], ","))
			}
			w.Header().Set("Saw-Host", r.Host)
			w.Header().Set("Saw-Query", r.URL.RawQuery)
			_, _ = w.Write(body)
		}
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	listener := listen(t, address, port)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return server
}
