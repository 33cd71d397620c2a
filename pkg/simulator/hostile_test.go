package simulator_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/guard"
)

// besieged runs a test against the program's server in fake time, with connections that behave as they like.
func besieged(t *testing.T, test func(t *testing.T, sim *simulator.Simulator, dial func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim, err := simulator.New(t.Context(), simulator.Config{})
		if err != nil {
			t.Fatal(err)
		}
		listener := newPipeListener()
		server := guard.Server(sim)
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(listener) // ends by Close
		}()
		t.Cleanup(func() {
			_ = server.Close()
			<-served
			if err := sim.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second) // net/http's own, before it closes a connection whose request it did not read
		})
		test(t, sim, func() net.Conn {
			conn, err := listener.dial(testSource)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		})
	})
}

// trickle sends a byte a second until the other side has had enough, and returns what it said and when.
func trickle(conn net.Conn, head string, drop string) (answer string, after time.Duration) {
	began := time.Now()
	said := make(chan string)
	go func() {
		text, _ := io.ReadAll(conn)
		said <- string(text)
	}()
	go func() {
		_, err := io.WriteString(conn, head)
		for err == nil {
			time.Sleep(time.Second) // fake time
			_, err = io.WriteString(conn, drop)
		}
	}()
	answer = <-said
	return answer, time.Since(began)
}

func TestSlowHeadsAreCutOff(t *testing.T) {
	besieged(t, func(t *testing.T, sim *simulator.Simulator, dial func() net.Conn) {
		for _, c := range []struct{ head, drop string }{
			{"GET /v2/acc", "c"},
			{"GET /v2/account HTTP/1.1\r\nHost: api\r\n", "X: 1\r\n"},
		} {
			if _, after := trickle(dial(), c.head, c.drop); after > guard.HeaderTimeout+time.Second {
				t.Errorf("%q: cut off after %v", c.head, after)
			}
		}
		if n := len(sim.Requests(0)); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestSlowBodiesAreCutOff(t *testing.T) {
	besieged(t, func(t *testing.T, sim *simulator.Simulator, dial func() net.Conn) {
		const head = "POST /v2/blocks HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer k\r\n"
		for _, rest := range []string{"Content-Length: 1000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
			drop := " "
			if strings.Contains(rest, "chunked") {
				drop = "1\r\n \r\n"
			}
			answer, after := trickle(dial(), head+rest, drop)
			if after > guard.BodyTimeout+2*time.Second || !strings.HasPrefix(answer, "HTTP/1.1 408") {
				t.Errorf("%q: after %v %q", rest, after, answer)
			}
		}
		// A request without a body of its own that sends one all the same.
		if _, after := trickle(dial(), "GET /v2/account HTTP/1.1\r\nHost: api\r\nContent-Length: 1000\r\n\r\n", " "); after > guard.BodyTimeout+2*time.Second {
			t.Errorf("GET: after %v", after)
		}
		if n := len(sim.View().Blocks); n != 0 {
			t.Errorf("%d volumes came out of it", n)
		}
	})
}

// TestHeldRequestsMayTakeLong: who has sent everything in time is not cut off, however long the answer takes.
// TestManyLargeBodies: strangers who begin any number of large bodies get a bounded amount of memory for a bounded time,
// and hold up no ordinary request.
func TestManyLargeBodies(t *testing.T) {
	besieged(t, func(t *testing.T, _ *simulator.Simulator, dial func() net.Conn) {
		const strangers, size = 50, 6 << 20
		var taken atomic.Int64
		var answers sync.WaitGroup
		for range strangers {
			conn := dial()
			go func() {
				_, err := fmt.Fprintf(conn, "POST /v2/instances HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n", size+1)
				for sent := 0; err == nil && sent < size; sent += 1 << 10 { // all but the last byte
					if _, err = conn.Write(make([]byte, 1<<10)); err == nil {
						taken.Add(1 << 10)
					}
				}
			}()
			answers.Go(func() {
				answer, _ := bufio.NewReader(conn).ReadString('\n')
				if !strings.Contains(answer, " 408 ") && !strings.Contains(answer, " 503 ") {
					t.Errorf("answered %q", answer)
				}
			})
		}
		synctest.Wait()
		if got := taken.Load(); got < 8*size || got > 64<<20+strangers*(72<<10) {
			t.Errorf("%d MB of large bodies are in memory", got>>20)
		}
		began := time.Now()
		conn := dial()
		_, _ = io.WriteString(conn, "POST /v2/ssh-keys HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer any\r\nContent-Length: 2\r\n\r\n{}")
		if answer, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(answer, " 400 ") || time.Since(began) > 0 {
			t.Errorf("an ordinary request: %q after %v", answer, time.Since(began))
		}
		answers.Wait()
		if took := time.Since(began); took > 2*guard.BodyTimeout+time.Second {
			t.Errorf("they were there for %v", took)
		}
		conn = dial()
		go func() {
			_, _ = fmt.Fprintf(conn, "POST /v2/instances HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer any\r\nContent-Length: %d\r\n\r\n{%s}", size, strings.Repeat(" ", size-2))
		}()
		if answer, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(answer, " 400 Bad") {
			t.Errorf("a large request after them: %q", answer)
		}
	})
}

func TestHeldRequestsMayTakeLong(t *testing.T) {
	besieged(t, func(t *testing.T, sim *simulator.Simulator, dial func() net.Conn) {
		id, err := sim.AddFault(simulator.Fault{Action: simulator.FaultHoldBefore})
		if err != nil {
			t.Fatal(err)
		}
		conn := dial()
		go func() {
			_, _ = fmt.Fprintf(conn, "POST /v2/blocks HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer k\r\nContent-Length: %d\r\n\r\n%s", len(newVolume), newVolume)
		}()
		if err := sim.WaitHeld(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * guard.BodyTimeout) // fake time
		sim.RemoveFault(id)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%v, %v", resp, err)
		}
		_ = resp.Body.Close()
	})
}

// TestUnreadAnswersAreCutOff: who asks and does not read holds nothing for long, also after a request that was held.
func TestUnreadAnswersAreCutOff(t *testing.T) {
	besieged(t, func(t *testing.T, sim *simulator.Simulator, dial func() net.Conn) {
		for _, held := range []time.Duration{0, 10 * guard.BodyTimeout} {
			if held > 0 {
				if _, err := sim.AddFault(simulator.Fault{Action: simulator.FaultLatency, LatencyMS: int(held.Milliseconds())}); err != nil {
					t.Fatal(err)
				}
			}
			conn := dial()
			if _, err := io.WriteString(conn, "GET /v2/regions HTTP/1.1\r\nHost: api\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(held + guard.AnswerTimeout + time.Second) // fake time
			if text, _ := io.ReadAll(conn); len(text) > 0 {
				t.Errorf("held for %v: there was still an answer of %d bytes", held, len(text))
			}
		}
	})
}

func TestLargeHeadsAreRefused(t *testing.T) {
	besieged(t, func(t *testing.T, sim *simulator.Simulator, dial func() net.Conn) {
		for name, head := range map[string]string{
			"one field":   "X: " + strings.Repeat("x", 2*guard.MaxHeaderBytes) + "\r\n",
			"many fields": strings.Repeat("A: b\r\n", guard.MaxHeaderBytes/3),
		} {
			conn := dial()
			go func() { _, _ = io.WriteString(conn, "GET /v2/account HTTP/1.1\r\nHost: api\r\n"+head+"\r\n") }()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: %v, %v", name, resp, err)
				continue
			}
			_ = resp.Body.Close()
		}
		if n := len(sim.Requests(0)); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestHugeNames are kept as they came, and a request with more than fits is refused before it is read to its end.
func TestHugeNames(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		label := strings.Repeat("\u2603", 100<<10) // 300 KB
		id := w.newBlock(`{"region":"ewr","size_gb":10,"label":"` + label + `"}`)
		if got := w.block(id).text("block.label"); got != label {
			t.Errorf("a label of %d bytes came back with %d", len(label), len(got))
		}
		w.post("/v2/blocks", `{"region":"ewr","size_gb":10,"label":"`+strings.Repeat("x", 1<<20)+`"}`).is(http.StatusRequestEntityTooLarge)
		w.post("/v2/blocks", `{"region":"ewr","size_gb":10,"label":"a\u0000b","x":`+strings.Repeat("9", 400)+`}`).is(202)
		w.get("/v2/blocks/" + strings.Repeat("a", 4000)).is(400)
	})
}

// FuzzRequests sends anything to every operation. The answer is always one of the API, and never that something broke.
func FuzzRequests(f *testing.F) {
	routes := simulator.Routes()
	for i, route := range routes {
		f.Add(uint16(i), `{"region":"ewr","size_gb":10,"label":"a","plan":"vc2-1c-1gb","os_id":2136}`, "per_page=1&cursor=bmV4dF9fMQ==")
		if route.Method != "GET" {
			f.Add(uint16(i), `{"instances":[null],"forwarding_rules":[{}],"health_check":null,"size_gb":-1,"live":"yes","ssl":{}}`, "")
			f.Add(uint16(i), `[[[[`, "%zz")
		}
	}
	var sim *simulator.Simulator
	var known []string
	count := 0
	fresh := func(t *testing.T) {
		if sim != nil {
			if err := sim.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if sim, err = simulator.New(t.Context(), simulator.Config{TimeScale: 1e-6}); err != nil {
			t.Fatal(err)
		}
		known = []string{nobody}
		for range 2 {
			id, err := sim.AddInstance(simulator.NewServer{Label: "worker"})
			if err != nil {
				t.Fatal(err)
			}
			known = append(known, id)
		}
	}
	f.Fuzz(func(t *testing.T, n uint16, body, query string) {
		if count%1000 == 0 { // a small cloud, or the list of what was made takes most of the time
			fresh(t)
		}
		count++
		route := routes[int(n)%len(routes)]
		path := route.Path
		for strings.Contains(path, "{") {
			before, rest, _ := strings.Cut(path, "{")
			_, after, _ := strings.Cut(rest, "}")
			path = before + known[(count+len(after))%len(known)] + after
		}
		request := httptest.NewRequestWithContext(t.Context(), route.Method, path, strings.NewReader(body))
		request.URL.RawQuery = query
		request.Header.Set("Authorization", "Bearer k")
		answer := httptest.NewRecorder()
		sim.ServeHTTP(answer, request)
		if answer.Code >= 500 {
			t.Fatalf("%s %s?%s %q: %d %s", route.Method, path, query, body, answer.Code, answer.Body)
		}
		var made map[string]any
		if answer.Body.Len() > 0 {
			if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil {
				t.Fatalf("%s %s: %v: %s", route.Method, path, err, answer.Body)
			}
		}
		if text, ok := made["error"].(string); answer.Code >= 400 && (!ok || text == "") {
			t.Fatalf("%s %s: %d without a text: %s", route.Method, path, answer.Code, answer.Body)
		}
		if id := idOf(made); id != "" && route.Method == http.MethodPost && answer.Code < 300 {
			known = append(known, id)
		}
	})
}

// idOf finds the ID in the answer to a create.
func idOf(answer map[string]any) string {
	if id, ok := answer["id"].(string); ok {
		return id
	}
	for _, v := range answer {
		if one, ok := v.(map[string]any); ok {
			if id, ok := one["id"].(string); ok {
				return id
			}
		}
	}
	return ""
}
