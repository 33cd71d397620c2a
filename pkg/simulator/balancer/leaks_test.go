package balancer

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"runtime"
	"testing"
)

// held is what the process holds of what a load balancer could leave behind.
func held(t *testing.T) (goroutines, files int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return runtime.NumGoroutine(), len(entries)
}

// TestNothingIsLeftBehind: rules and load balancers come and go with connections of every kind open; neither a
// goroutine nor a descriptor stays.
func TestNothingIsLeftBehind(t *testing.T) {
	addresses, port := group(t, 2)
	for _, address := range addresses {
		echo(t, address, port)
		echoUDP(t, address, port)
		tunnelServer(t, address, port+1)
	}
	https := rule("https", 8443, port+1)
	https.BackendProtocol = "http"
	r := newRig(t, rule("tcp", 8080, port), rule("udp", 8053, port), rule("http", 8081, port+1), https)
	r.spec.Certificate, r.spec.HTTP2, r.spec.HTTP3 = certificate(t, "x.example"), true, true
	all := r.spec.Rules
	round := func() {
		r.backends(addresses)
		r.spec.Rules, r.spec.HTTP3 = all, true
		r.apply()
		r.await(2)
		var open []io.Closer
		tcp, udp, tunnel := dialTCP(t, r.at(8080)), dialUDP(t, r.at(8053)), openTunnel(t, r.at(8081))
		tcp.mustAsk("hello")
		askUDP(t, udp, "hello")
		tunnel.mustAsk("hello")
		half := dialTCP(t, r.at(8081))
		half.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
		silent, err := tls.Dial("tcp", r.at(8443), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		three := http3Client(t)
		_, _, _ = ask3(three, "https://"+r.at(8443)+"/", "") // a backend that knows upgrades alone: 502 or nothing
		// Rules go one by one, and a backend with them.
		for kept := len(all) - 1; kept > 0; kept-- {
			r.spec.Rules, r.spec.HTTP3 = all[:kept], false
			r.backends(addresses[:1])
			r.apply()
		}
		if err := r.plane.Remove(t.Context(), r.spec.ID); err != nil {
			t.Fatal(err)
		}
		open = append(open, tcp, udp, tunnel, half, silent)
		for _, one := range open {
			_ = one.Close() // most were closed by the other side
		}
		if transport, ok := three.Transport.(io.Closer); ok {
			_ = transport.Close()
		}
		http.DefaultClient.CloseIdleConnections()
	}
	round() // what is made once for the whole process is made now
	var goroutines, files int
	settle := func() bool {
		before, beforeFiles := goroutines, files
		goroutines, files = held(t)
		return goroutines == before && files == beforeFiles
	}
	await(t, "rest", settle)
	firstGoroutines, firstFiles := goroutines, files
	for range 5 {
		round()
	}
	await(t, "everything to be given back", func() bool {
		goroutines, files = held(t)
		return goroutines <= firstGoroutines && files <= firstFiles
	})
}
