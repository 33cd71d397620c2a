package simulator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/guard"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/reqlog"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// call is one request that passed the gate.
type call struct {
	req  *http.Request
	body []byte
}

// id returns the {id} of the path.
func (c *call) id() string { return c.req.PathValue("id") }

// decode reads the body.
func (c *call) decode(v any) error {
	if err := wire.Decode(c.body, v); err != nil {
		return err
	}
	return nil
}

// answer is what goes back.
type answer struct {
	status      int
	body        []byte
	text        string // of an error, for the log
	retryAfter  int
	contentType string // "" is told by the body
	truncated   bool   // only half of it is sent
}

// ServeHTTP answers one request of the API.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect these; the platform has no such routes.
	if path.Clean(r.URL.Path) != r.URL.Path {
		s.serve(unknownRoute, w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// serve takes a request through the limit, the faults and its handler, and records it whatever becomes of it.
func (s *Simulator) serve(rt route, w http.ResponseWriter, r *http.Request) {
	entry := reqlog.Entry{
		Began: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Operation: rt.operation,
		Source: source(r), UserAgent: r.UserAgent(),
	}
	// Recorded before the first byte goes back: who has an answer finds it in the log.
	record := func() {
		entry.Took = time.Since(entry.Began)
		s.requests.Add(entry)
		s.news.tell()
	}
	// The whole body first: a client that is killed while its request is held has sent it all the same.
	body, release, unread := s.readBody(w, r, rt.maxBody)
	defer release()
	var ans answer
	switch {
	case unread != nil:
		ans = s.failure(unread)
	case s.keeps(quirkRateLimit) && !s.limits.allow(s.limitUser(r)):
		ans = s.failure(&wire.Error{Status: http.StatusTooManyRequests, Text: "rate limit exceeded", RetryAfter: 1})
	default:
		hits := s.faults.Match(r, rt.operation)
		for _, h := range hits {
			entry.Faults = append(entry.Faults, h.Rule.ID)
		}
		var answered bool
		work := func(on *Simulator) answer { return on.work(rt, r, body) }
		if ans, answered = s.throughFaults(r.Context(), rt, hits, work); !answered {
			record()
			reset(w)
			return
		}
	}
	entry.Status, entry.Error = ans.status, ans.text
	if ans.truncated {
		entry.Error = "the answer was cut off"
	}
	record()
	s.write(w, ans)
}

// work runs the handler behind the gate of key and source.
func (s *Simulator) work(rt route, r *http.Request, body []byte) (ans answer) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error(nil, "A handler panicked", "operation", rt.operation, "panic", p)
			ans = s.failure(errors.New("panic"))
		}
	}()
	if !rt.open {
		if err := s.authorize(r); err != nil {
			return s.failure(err)
		}
	}
	if !rt.anyID && s.keeps(quirkUUID) && !namesUUIDs(r) {
		return s.failure(wire.BadRequest("Invalid UUID format."))
	}
	// What the platform began it finishes, whether or not the client still waits.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	status, v, err := rt.handle(s, &call{req: r, body: body})
	if err != nil {
		return s.failure(err)
	}
	if v == nil {
		return answer{status: status}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return s.failure(err)
	}
	return answer{status: status, body: raw}
}

// uuidsInPaths are what routes call those parts of their paths that are UUIDs. Rules have IDs of another form.
var uuidsInPaths = []string{"id", "instance", "pool", "node", "mark", "record"}

// namesUUIDs reports whether all UUIDs in the path of a request are some.
func namesUUIDs(r *http.Request) bool {
	return !slices.ContainsFunc(uuidsInPaths, func(name string) bool {
		id := r.PathValue(name)
		return id != "" && (len(id) != 36 || uuid.Validate(id) != nil)
	})
}

// failure puts an error in the platform's form. What is not an answer of the platform is an internal error; what the platform
// says of its own is unknown.
func (s *Simulator) failure(err error) answer {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		s.log.Error(err, "A request failed inside the simulator")
		e = wire.Errorf(http.StatusInternalServerError, "Internal server error.")
	}
	ans := answer{status: e.Status, body: wire.ErrorBody(e.Status, e.Text), text: e.Text, retryAfter: e.RetryAfter}
	if !s.keeps(quirkEnvelope) {
		ans.body = []byte(`{"message":"error"}`)
	}
	return ans
}

func (s *Simulator) write(w http.ResponseWriter, ans answer) {
	guard.LimitAnswer(w)
	if ans.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(ans.retryAfter))
	}
	if ans.status == http.StatusNoContent || (ans.body == nil && ans.status < 300) {
		w.WriteHeader(ans.status)
		return
	}
	// Exactly this: clients are known that read nothing when a charset follows.
	contentType := cmp.Or(ans.contentType, "application/json")
	if !s.keeps(quirkContentType) {
		contentType += "; charset=utf-8"
	}
	w.Header().Set("Content-Type", contentType)
	if ans.truncated {
		writeHalf(w, ans)
	}
	w.WriteHeader(ans.status)
	// A client that is gone does not matter to the work, which is done.
	_, _ = w.Write(ans.body)
}

func (s *Simulator) notFound(*call) (int, any, error) {
	if !s.keeps(quirkUnknownRoute) {
		return 0, nil, wire.NotFound("404 page not found") // Go's own, unknown to the platform
	}
	return 0, nil, wire.NotFound("Not found.")
}

// reset ends the connection without an answer, by a TCP reset where there is a connection.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// TLS would say goodbye first.
	for wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok; wrapped, ok = conn.(interface{ NetConn() net.Conn }) {
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Linger 0 makes close send RST instead of FIN.
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
