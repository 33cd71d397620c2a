package vultr

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	testKey = "TESTKEY0123456789ABCDEF"
	idA     = "aaaaaaaa-0000-4000-8000-000000000001"
	idB     = "bbbbbbbb-0000-4000-8000-000000000002"
)

// cloud is a network in memory, for tests with a fake clock: it answers every request by a function.
type cloud struct {
	answer func(r *http.Request) (*http.Response, error)
	// noConnection makes requests fail before a connection exists.
	noConnection bool

	mu   sync.Mutex
	seen []seenRequest
}

type seenRequest struct {
	at     time.Time
	method string
	path   string
	query  string
	body   string
	header http.Header
}

func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	if !c.noConnection {
		connected(r)
	}
	body := []byte(nil)
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body) // it is in memory
	}
	c.mu.Lock()
	c.seen = append(c.seen, seenRequest{time.Now(), r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header.Clone()})
	c.mu.Unlock()
	resp, err := c.answer(r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// connected tells the client that there is a connection: from here on a request may have reached the API.
func connected(r *http.Request) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
}

func (c *cloud) requests() []seenRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]seenRequest(nil), c.seen...)
}

func (c *cloud) count(method, path string) int {
	n := 0
	for _, r := range c.requests() {
		if r.method == method && r.path == path {
			n++
		}
	}
	return n
}

func (c *cloud) client(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{BaseURL: "http://vultr.test", Key: testKey, StartRate: 1000, MaxRate: 1000}
	for _, f := range change {
		f(&cfg)
	}
	client, err := newClient(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// reply makes an answer. A body that is no string is sent as JSON.
func reply(status int, body any) *http.Response {
	data, isText := []byte(nil), false
	switch b := body.(type) {
	case nil:
	case string:
		data, isText = []byte(b), true
	default:
		data, _ = json.Marshal(b) // tests pass what can be marshalled
	}
	resp := &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data)),
		ProtoMajor: 1, ProtoMinor: 1, Proto: "HTTP/1.1",
	}
	if isText && !strings.HasPrefix(string(data), "{") {
		resp.Header.Set("Content-Type", "text/html")
	}
	return resp
}

// refusal is the API's form of an error.
func refusal(status int, text string) *http.Response {
	return reply(status, map[string]any{"error": text, "status": status})
}

func block(id, status, attachedTo string) map[string]any {
	return map[string]any{
		"id": id, "label": "pvc-" + id[:8], "status": status, "size_gb": 10, "region": "EWR", "block_type": "high_perf",
		"attached_to_instance": attachedTo, "mount_id": "ewr-aaaaaaaa000040", "snapshot_id": "0",
		"date_created": "2025-11-14T18:12:48+00:00", "cost": 1, "pending_charges": 0.01,
	}
}

func blocks(list ...map[string]any) map[string]any {
	return map[string]any{"blocks": list, "meta": map[string]any{
		"total": len(list), "links": map[string]string{"next": "", "prev": ""},
	}}
}

// serve runs a real HTTP server and gives a client of it.
func serve(t *testing.T, handler http.HandlerFunc, change ...func(*Config)) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg := Config{BaseURL: server.URL, Key: testKey, StartRate: 1000, MaxRate: 1000, Registerer: prometheus.NewRegistry()}
	for _, f := range change {
		f(&cfg)
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that left is the test's business
}
