package balancer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// strictBackend reads HTTP/1.1 by the letter of RFC 9112 and notes everything that two readers could understand in two
// ways: those are what smuggled requests are made of. It also notes requests without the load balancer's own header:
// such a request was never judged by the load balancer, it was hidden in another one.
type strictBackend struct {
	port string // of the rule, which no client guesses

	mu       sync.Mutex
	requests int
	faults   []string
}

func serveStrictly(t testing.TB, address string, port, rulePort int) *strictBackend {
	t.Helper()
	s := &strictBackend{port: strconv.Itoa(rulePort)}
	listener := listen(t, address, port)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// take returns what was noted since it was asked last.
func (s *strictBackend) take() (requests int, faults []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests, faults = s.requests, s.faults
	s.requests, s.faults = 0, nil
	return requests, faults
}

func (s *strictBackend) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		err := s.request(in)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			if _, isNet := errors.AsType[*net.OpError](err); !isNet {
				s.mu.Lock()
				s.faults = append(s.faults, err.Error())
				s.mu.Unlock()
			}
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

var (
	requestLine = regexp.MustCompile(`^[!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+ [^\x00-\x20\x7f]+ HTTP/1\.1$`)
	fieldLine   = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)$`)
)

// request reads one request to its end.
func (s *strictBackend) request(in *bufio.Reader) error {
	line, err := strictLine(in)
	if err != nil {
		return err
	}
	if !requestLine.MatchString(line) {
		return fmt.Errorf("request line %q", line)
	}
	fields := map[string][]string{}
	for {
		line, err := strictLine(in)
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		m := fieldLine.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("field line %q", line)
		}
		name := strings.ToLower(m[1])
		fields[name] = append(fields[name], m[2])
	}
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	if len(fields["host"]) != 1 || !slices.Equal(fields["x-forwarded-port"], []string{s.port}) {
		return fmt.Errorf("hosts %q, and the load balancer's header is %q: %s", fields["host"], fields["x-forwarded-port"], line)
	}
	return strictBody(in, fields["content-length"], fields["transfer-encoding"])
}

func strictBody(in *bufio.Reader, lengths, codings []string) error {
	switch {
	case len(lengths)+len(codings) > 1, len(codings) == 1 && codings[0] != "chunked":
		return fmt.Errorf("content-length %q with transfer-encoding %q", lengths, codings)
	case len(codings) == 1:
		return strictChunks(in)
	case len(lengths) == 0:
		return nil
	}
	if !regexp.MustCompile(`^\d+$`).MatchString(lengths[0]) {
		return fmt.Errorf("content-length %q", lengths[0])
	}
	n, err := strconv.ParseInt(lengths[0], 10, 64)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, in, n)
	return err
}

func strictChunks(in *bufio.Reader) error {
	for {
		line, err := strictLine(in)
		if err != nil {
			return err
		}
		if !regexp.MustCompile(`^[0-9a-fA-F]+$`).MatchString(line) {
			return fmt.Errorf("chunk size %q", line)
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if _, err := io.CopyN(io.Discard, in, size); err != nil {
			return err
		}
		if line, err := strictLine(in); err != nil || line != "" {
			return errors.Join(fmt.Errorf("after a chunk: %q", line), err)
		}
	}
	for { // trailers
		line, err := strictLine(in)
		if err != nil || line == "" {
			return err
		}
		if !fieldLine.MatchString(line) {
			return fmt.Errorf("trailer %q", line)
		}
	}
}

// strictLine reads a line that ends with CR LF and has neither inside.
func strictLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("line %q", line)
	}
	return text, nil
}

// hidden is a request that must never reach a backend as one of its own.
const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"

// smuggled are requests, each with the status that answers the first one, 0 for any.
var smuggled = map[string]struct {
	text   string
	status int
}{
	"plain":                            {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	"length and chunked":               {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(5+len(hidden)) + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 0},
	"chunked and length":               {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + hidden + "\r\n0\r\n\r\n", 0},
	"two lengths":                      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 400},
	"two lengths in one":               {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 400},
	"the same length twice":            {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 0},
	"high bytes":                       {"GET / HTTP/1.1\r\nHost: x\r\nX-A: \x80\xff\r\n\r\n", 200},
	"length with a sign":               {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nhi", 400},
	"negative length":                  {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + hidden, 400},
	"length in hex":                    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n" + hidden, 400},
	"endless length":                   {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n" + hidden, 400},
	"unknown coding":                   {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, 501},
	"chunked not last":                 {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden, 501},
	"two codings":                      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden, 501},
	"coding with a vertical tab":       {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + hidden, 0},
	"space before the colon":           {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden, 400},
	"folded coding":                    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 0},
	"folded header":                    {"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n Content-Length: 30\r\n\r\n", 0},
	"fold at the start":                {"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
	"bare line feeds":                  {"GET / HTTP/1.1\nHost: x\n\n", 0},
	"bare carriage return":             {"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rContent-Length: 30\r\n\r\n", 400},
	"NUL in a value":                   {"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n", 400},
	"two hosts":                        {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
	"no host":                          {"GET / HTTP/1.1\r\n\r\n", 400},
	"host with a path":                 {"GET / HTTP/1.1\r\nHost: x/y z\r\n\r\n", 400},
	"absolute target":                  {"GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	"target with a space":              {"GET /a HTTP/1.1 /b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	"target with an encoded line":      {"GET /a%0d%0aX-Forwarded-Port:%201%0d%0a%0d%0aGET%20/hidden HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	"chunk with an extension":          {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"\n\"\r\nhi\r\n0\r\n\r\n", 0},
	"chunk that is shorter":            {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n", 0},
	"chunk size beyond 64 bits":        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nhi\r\n0\r\n\r\n", 0},
	"forbidden trailers":               {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 30\r\nX-Forwarded-Port: 1\r\n\r\n", 0},
	"length named as hop by hop":       {"POST / HTTP/1.1\r\nHost: x\r\nConnection: Content-Length\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 200},
	"host named as hop by hop":         {"GET / HTTP/1.1\r\nHost: x\r\nConnection: Host\r\n\r\n", 200},
	"our header named as hop by hop":   {"GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Forwarded-Port\r\n\r\n", 200},
	"upgrade with a body":              {"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 200},
	"body of a GET":                    {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 200},
	"expectation":                      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", 0},
	"HTTP/1.0 with chunks":             {"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 0},
	"options of the whole server":      {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	"HTTP/0.9":                         {"GET /\r\n\r\n", 400},
	"HTTP/2 by prior knowledge":        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
	"method with a line":               {"GET\r\nX: /\r\n\r\n", 400},
	"two requests, the second is torn": {"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHo", 200},
}

func TestSmuggledRequests(t *testing.T) {
	addresses, port := group(t, 1)
	backend := serveStrictly(t, addresses[0], port, 8080)
	r := smugglingRig(t, addresses, port)
	for name, test := range smuggled {
		t.Run(name, func(t *testing.T) {
			answer := raw(t, r.at(8080), test.text)
			if want := fmt.Sprintf("HTTP/1.1 %d ", test.status); test.status != 0 && !strings.Contains(answer, want) {
				t.Errorf("answered %.60q, want %s", answer, want)
			}
			requests, faults := backend.take()
			if len(faults) > 0 {
				t.Errorf("the backend saw %d requests, and: %s", requests, strings.Join(faults, "; "))
			}
			if answered := strings.Count(answer, "HTTP/1.1 200 ") + strings.Count(answer, "HTTP/1.0 200 "); answered > requests {
				t.Errorf("%d requests were answered, the backend saw %d", answered, requests)
			}
		})
	}
}

// smugglingRig ends connections soon: half of the requests never end by themselves.
func smugglingRig(t testing.TB, addresses []string, port int) *rig {
	t.Helper()
	r := newRig(t, rule("http", 8080, port))
	r.tighten(func(l *limits) {
		l.header, l.keepAlive, l.grace = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	})
	r.spec.Timeout = 200 * time.Millisecond
	r.spec.HealthCheck.Interval = time.Hour
	r.backends(addresses)
	r.apply()
	r.await(1)
	return r
}

// FuzzSmuggledRequests sends anything: what reaches the backend must be well-formed by the letter, and nothing that
// the load balancer did not see as a request of its own. The port in its header is one that no client guesses.
func FuzzSmuggledRequests(f *testing.F) {
	for _, test := range smuggled {
		f.Add([]byte(test.text))
	}
	addresses, port := group(f, 1)
	const rulePort = 39751
	backend := serveStrictly(f, addresses[0], port, rulePort)
	r := newRig(f, rule("http", rulePort, port))
	r.tighten(func(l *limits) {
		l.header, l.keepAlive, l.grace = 20*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
	})
	r.spec.Timeout = 40 * time.Millisecond
	r.spec.HealthCheck.Interval = time.Hour
	r.backends(addresses)
	r.apply()
	r.await(1)
	f.Fuzz(func(t *testing.T, text []byte) {
		c := dialTCP(t, r.at(rulePort))
		if _, err := c.Write(append(text, "\r\n\r\nGET /end HTTP/1.1\r\nHost: end\r\nConnection: close\r\n\r\n"...)); err == nil {
			_, _ = io.Copy(io.Discard, c) // how it ends does not matter
		}
		_ = c.Close()
		if _, faults := backend.take(); len(faults) > 0 {
			t.Errorf("the backend saw: %s", strings.Join(faults, "; "))
		}
	})
}
