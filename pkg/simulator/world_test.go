package simulator_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	testKey    = "TESTKEY"
	testSource = "203.0.113.9"
)

// world is a cloud at the platform's own pace in a bubble of fake time, with an HTTP server and clients on pipes.
type world struct {
	checks
	sim      *simulator.Simulator
	listener *pipeListener
	client   *http.Client
	key      string
	ctx      context.Context   // of the test in the bubble
	made     map[string]string // what {names} in paths stand for
	lag      time.Duration     // of reads
	wrote    *atomic.Int64     // when the last write was answered
}

func newWorld(t *testing.T, c checks, cfg simulator.Config) *world {
	t.Helper()
	cfg.Keys = []string{testKey}
	if d, ok := cfg.Disks.(*memoryDisks); ok {
		d.reset()
	}
	sim, err := simulator.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{checks: c, sim: sim, listener: newPipeListener(), key: testKey, ctx: t.Context(), wrote: new(atomic.Int64)}
	w.lag = time.Duration(float64(sim.ReadLags()["all"]) * cmp.Or(cfg.TimeScale, 1))
	server := &http.Server{Handler: sim, ReadHeaderTimeout: time.Hour}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(w.listener) // ends by Close
	}()
	w.client = w.clientAt(t, testSource)
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
		_ = server.Close()
		<-served
		time.Sleep(time.Second) // net/http's own, before it closes a connection whose request it did not read
	})
	return w
}

// clientAt returns a client that the cloud sees at an address.
func (w *world) clientAt(t *testing.T, address string) *http.Client {
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return w.listener.dial(address) },
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// from returns a client of the same cloud at another address.
func (w *world) from(address string) *world {
	other := *w
	other.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return w.listener.dial(address) },
	}}
	return &other
}

// pass lets time go by, and what is due then happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

// catchUp lets reads come to show what the test wrote.
func (w *world) catchUp() {
	if wait := time.Until(time.Unix(0, w.wrote.Load()).Add(w.lag)); wait > 0 {
		w.pass(wait)
	}
}

// exactReads makes a cloud whose reads show the truth, for tests of the moment at which the platform does something: a
// read that lags would show all of it later, and how much later reads are has tests of its own.
func exactReads() simulator.Config { return simulator.Config{ReadLags: simulator.NoReadLag()} }

// reply is an answer of the API.
type reply struct {
	w      *world
	what   string
	status int
	header http.Header
	raw    string
	body   any
	err    error
}

func (w *world) do(method, path, body string) reply { return w.doWith(w.client, method, path, body) }

func (w *world) doWith(client *http.Client, method, path, body string) reply {
	w.Helper()
	for name, id := range w.made {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	req, err := http.NewRequestWithContext(w.ctx, method, "http://api"+path, strings.NewReader(body))
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	if w.key != "" {
		req.Header.Set("Authorization", "Bearer "+w.key)
	}
	out := reply{w: w, what: method + " " + path}
	resp, err := client.Do(req)
	if err != nil {
		out.err = err
		return out
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if method != http.MethodGet {
		w.wrote.Store(time.Now().UnixNano())
	}
	out.status, out.header, out.raw, out.err = resp.StatusCode, resp.Header, string(raw), err
	if len(raw) > 0 && resp.Header.Get("Content-Type") != "text/html" {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			w.Errorf("%s: body %q: %v", out.what, raw, err)
		}
	}
	return out
}

// get reads what the test wrote; getNow reads at once, and may be behind.
func (w *world) get(path string) reply         { w.Helper(); w.catchUp(); return w.do("GET", path, "") }
func (w *world) getNow(path string) reply      { w.Helper(); return w.do("GET", path, "") }
func (w *world) post(path, body string) reply  { w.Helper(); return w.do("POST", path, body) }
func (w *world) patch(path, body string) reply { w.Helper(); return w.do("PATCH", path, body) }
func (w *world) delete(path string) reply      { w.Helper(); return w.do("DELETE", path, "") }
func (w *world) block(id string) reply         { w.Helper(); return w.get("/v2/blocks/" + id).is(200) }

func (w *world) instance(id string) reply { w.Helper(); return w.get("/v2/instances/" + id).is(200) }

func (w *world) balancer(id string) reply {
	w.Helper()
	return w.get("/v2/load-balancers/" + id).is(200)
}

func (w *world) reboots(instanceID string) int {
	for _, i := range w.sim.View().Instances {
		if i.ID == instanceID {
			return i.Reboots
		}
	}
	return -1
}

// is demands a status.
func (r reply) is(status int) reply {
	r.w.Helper()
	if r.err != nil {
		r.w.Fatalf("%s: %v", r.what, r.err)
	}
	if r.status != status {
		r.w.Fatalf("%s: status %d %s, want %d", r.what, r.status, r.raw, status)
	}
	return r
}

// refused demands an error in the platform's form, with this text.
func (r reply) refused(status int, text string) {
	r.w.Helper()
	r.is(status)
	if got := r.at("error"); got != text {
		r.w.Errorf("%s: error %v, want %q", r.what, got, text)
	}
	if got := r.at("status"); got != float64(status) {
		r.w.Errorf("%s: status in the body %v, want %d", r.what, got, status)
	}
}

// refusedSaying demands an error whose text contains words.
func (r reply) refusedSaying(status int, words string) {
	r.w.Helper()
	r.is(status)
	if got, _ := r.at("error").(string); !strings.Contains(strings.ToLower(got), strings.ToLower(words)) {
		r.w.Errorf("%s: error %q does not speak of %q", r.what, got, words)
	}
}

// at returns the value at a path of names: "block.status".
func (r reply) at(path string) any {
	v := r.body
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		if v, ok = m[name]; !ok {
			return missing
		}
	}
	return v
}

const missing = "<missing>"

func (r reply) text(path string) string {
	r.w.Helper()
	s, ok := r.at(path).(string)
	if !ok {
		r.w.Fatalf("%s: %s is %v, want a string (%s)", r.what, path, r.at(path), r.raw)
	}
	return s
}

// object returns the whole answer.
func (r reply) object() map[string]any {
	m, _ := r.body.(map[string]any)
	return m
}

// items returns a list of the answer.
func (r reply) items(path string) []any {
	r.w.Helper()
	list, ok := r.at(path).([]any)
	if !ok {
		r.w.Fatalf("%s: %s is %v, want a list (%s)", r.what, path, r.at(path), r.raw)
	}
	return list
}

// has demands a value at a path.
func (r reply) has(path string, want any) reply {
	r.w.Helper()
	if n, ok := want.(int); ok {
		want = float64(n)
	}
	if got := r.at(path); !reflect.DeepEqual(got, want) {
		r.w.Errorf("%s: %s is %v, want %v", r.what, path, got, want)
	}
	return r
}

// newBlock makes a volume and waits until it is active.
func (w *world) newBlock(body string) string {
	w.Helper()
	id := w.post("/v2/blocks", body).is(202).text("block.id")
	w.pass(5 * time.Second)
	return id
}

func (w *world) nvme() string {
	w.Helper()
	return w.newBlock(`{"region":"ewr","size_gb":10,"label":"v"}`)
}

func (w *world) server(n simulator.NewServer) string {
	w.Helper()
	id, err := w.sim.AddInstance(n)
	if err != nil {
		w.Fatalf("add an instance: %v", err)
	}
	return id
}

func (w *world) attach(block, instance string) reply {
	w.Helper()
	return w.post("/v2/blocks/"+block+"/attach", `{"instance_id":"`+instance+`","live":true}`)
}

func (w *world) detach(block string) reply {
	w.Helper()
	return w.post("/v2/blocks/"+block+"/detach", `{"live":true}`)
}

// pipeListener is a network of pipes: real connections would stop the fake time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial(from string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- pipeConn{server, from}:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// pipeConn is a pipe whose other end has an address.
type pipeConn struct {
	net.Conn
	from string
}

func (c pipeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.from), Port: 40000} }

// bubble runs a test with a cloud in fake time.
func bubble(t *testing.T, cfg simulator.Config, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t, t, cfg)) })
}
