package balancer

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// way is one of the ways to a backend that are compared.
type way struct {
	name   string
	target string
	spent  time.Duration
}

// ways are the direct one, the one through a load balancer with this rule, and, if HAPROXY names the program, the one
// through haproxy in the same mode.
func ways(b *testing.B, protocol string, backend string, port int) []*way {
	b.Helper()
	r := newRig(b, rule(protocol, 8080, port))
	r.tighten(func(l *limits) { l.connections = 10_000 })
	r.spec.HealthCheck.Interval = time.Second
	r.backends([]string{backend})
	r.apply()
	r.await(1)
	list := []*way{{name: "direct", target: hostWithPort(backend, port)}, {name: "balancer", target: r.at(8080)}}
	if program := os.Getenv("HAPROXY"); program != "" {
		list = append(list, &way{name: "haproxy", target: startHAProxy(b, program, protocol, hostWithPort(backend, port))})
	} else {
		b.Log("HAPROXY is not set (make bench sets it): nothing to compare with but the direct way")
	}
	return list
}

// startHAProxy starts it with the settings that are best for it and returns its address.
func startHAProxy(b *testing.B, program, mode, backend string) string {
	b.Helper()
	listener := listen(b, "127.0.0.1", 0)
	target := listener.Addr().String()
	if err := listener.Close(); err != nil {
		b.Fatal(err)
	}
	options := "option splice-auto"
	if mode == "http" {
		options = "option forwardfor\n  option http-keep-alive\n  http-reuse always"
	}
	config := filepath.Join(b.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(`global
  maxconn 2000
defaults
  mode %s
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  %s
listen all
  bind %s
  server one %s check inter 1s
`, mode, options, target, backend)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // b's own context ends before its clean-up
	process := exec.CommandContext(ctx, program, "-q", "-db", "-f", config)
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = process.Wait() // it says itself what is wrong
		close(ended)
	}()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("tcp", target)
		if err == nil {
			_ = conn.Close()
			return target
		}
		select {
		case <-ended:
			b.Fatal("haproxy has ended")
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			b.Fatalf("haproxy does not listen: %v", err)
		}
	}
}

// compare runs the same work over every way in turn and reports amount by the time of each, and the load balancer's
// share of the others.
func compare(b *testing.B, list []*way, amount float64, unit string, work func(b *testing.B, target string)) {
	b.Helper()
	for _, w := range list {
		work(b, w.target) // once to warm up
	}
	rounds := 0
	for b.Loop() {
		rounds++
		for _, w := range list {
			began := time.Now()
			work(b, w.target)
			w.spent += time.Since(began)
		}
	}
	rate := func(w *way) float64 { return amount * float64(rounds) / w.spent.Seconds() }
	for _, w := range list {
		b.ReportMetric(rate(w), w.name+"-"+unit+"/s")
		if w.name != "balancer" {
			b.ReportMetric(rate(list[1])/rate(w), "of-"+w.name)
		}
	}
}

// BenchmarkBulkTCP sends 256 MiB over one connection.
func BenchmarkBulkTCP(b *testing.B) {
	const size = 256 << 20
	addresses, port := group(b, 1)
	serveEach(b, addresses[0], port, func(conn net.Conn) {
		n, _ := io.Copy(io.Discard, conn)
		_, _ = io.WriteString(conn, strconv.FormatInt(n, 10))
	})
	chunk := make([]byte, 256<<10)
	compare(b, ways(b, "tcp", addresses[0], port), size>>20, "MiB", func(b *testing.B, target string) {
		b.Helper()
		c := dialTCP(b, target)
		for range size / len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
		if tcp, ok := c.Conn.(*net.TCPConn); !ok || tcp.CloseWrite() != nil {
			b.Fatal("the end cannot be told")
		}
		if answer, err := io.ReadAll(c); err != nil || string(answer) != strconv.Itoa(size) {
			b.Fatalf("%q, %v", answer, err)
		}
		_ = c.Close()
	})
}

// BenchmarkConnections opens and ends short connections, 16 at once.
func BenchmarkConnections(b *testing.B) {
	const each, workers = 125, 16
	addresses, port := group(b, 1)
	serveEach(b, addresses[0], port, func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
			_, _ = conn.Write([]byte{1})
		}
	})
	compare(b, ways(b, "tcp", addresses[0], port), each*workers, "conn", func(b *testing.B, target string) {
		b.Helper()
		parallel(workers, func() {
			for range each {
				if err := touchOnce(target); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// touchOnce sends a byte and waits for one, and for the end.
func touchOnce(target string) error {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && len(answer) != 1 {
		err = fmt.Errorf("%d bytes came back", len(answer))
	}
	return err
}

// BenchmarkHTTPRequests asks for a KiB over connections that stay, 16 at once.
func BenchmarkHTTPRequests(b *testing.B) {
	const each, workers = 125, 16
	addresses, port := group(b, 1)
	page := make([]byte, 1024)
	web(b, addresses[0], port, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	b.Cleanup(client.CloseIdleConnections)
	compare(b, ways(b, "http", addresses[0], port), each*workers, "request", func(b *testing.B, target string) {
		b.Helper()
		parallel(workers, func() {
			for range each {
				response, err := client.Get("http://" + target + "/")
				if err != nil {
					b.Error(err)
					return
				}
				n, err := io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if err != nil || n != int64(len(page)) || response.StatusCode != http.StatusOK {
					b.Errorf("%d, %d bytes, %v", response.StatusCode, n, err)
					return
				}
			}
		})
	})
}

func parallel(workers int, work func()) {
	var all sync.WaitGroup
	for range workers {
		all.Go(work)
	}
	all.Wait()
}

// serveEach handles every connection to the address.
func serveEach(t testing.TB, address string, port int, handle func(net.Conn)) {
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
				handle(conn)
			}()
		}
	}()
}
