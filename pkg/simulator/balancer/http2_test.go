package balancer

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"
)

// field is a header field of HTTP/2; those whose name begins with a colon say what a request line says in HTTP/1.
type field struct{ name, value string }

// The frames of HTTP/2 that the test needs.
const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	frameGoAway   = 7
	endStream     = 1
	endHeaders    = 4
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

func frame(kind, flags byte, stream uint32, payload string) string {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind)) //nolint:gosec // short
	head = binary.BigEndian.AppendUint32(append(head, flags), stream)
	return string(head) + payload
}

// literal writes fields without any compression. Nothing is longer than a length of one byte can say.
func literal(fields ...field) string {
	var out strings.Builder
	for _, f := range fields {
		out.WriteByte(0)
		for _, text := range []string{f.name, f.value} {
			out.WriteByte(byte(len(text))) //nolint:gosec // short
			out.WriteString(text)
		}
	}
	return out.String()
}

// ended reads frames until the first request is answered or refused.
func ended(t *testing.T, in io.Reader) {
	t.Helper()
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, in, int64(binary.BigEndian.Uint32(head)>>8)); err != nil {
			return
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		if kind == frameGoAway || stream == 1 && (kind == frameReset || kind <= frameHeaders && flags&endStream != 0) {
			return
		}
	}
}

// strictRig is a load balancer for HTTP/2 with a strict backend. Each test has its own: a request whose client was refused
// half-way may come to its backend after the client's next one was answered.
func strictRig(t *testing.T) (*rig, *strictBackend) {
	t.Helper()
	addresses, port := group(t, 1)
	backend := serveStrictly(t, addresses[0], port, 8443)
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, https)
	r.tighten(func(l *limits) { l.header, l.keepAlive, l.grace = time.Second, time.Second, 100*time.Millisecond })
	r.spec.Certificate, r.spec.HTTP2, r.spec.Timeout = certificate(t, "x.example"), true, time.Second
	r.spec.HealthCheck.Interval = time.Hour
	r.backends(addresses)
	r.apply()
	r.await(1)
	return r, backend
}

// TestSmuggledOverHTTP2: what is harmless in a field of HTTP/2 is a line of its own when it is written as HTTP/1.
func TestSmuggledOverHTTP2(t *testing.T) {
	get := []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "x"}, {":path", "/"}}
	with := func(at int, value string) []field {
		out := append([]field(nil), get...)
		out[at].value = value
		return out
	}
	and := func(name, value string) []field { return append(append([]field(nil), get...), field{name, value}) }
	for name, test := range map[string]struct {
		fields []field
		body   string
		passes bool // to the backend
	}{
		"plain":                        {get, "", true},
		"high bytes":                   {and("x-a", "\x80\xff"), "", true},
		"a method with a line":         {with(0, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"), "", false},
		"a method with spaces":         {with(0, "GET /hidden HTTP/1.1"), "", false},
		"CONNECT with a path":          {with(0, "CONNECT"), "", false},
		"a path with a line":           {with(3, "/ HTTP/1.1\r\nHost: x\r\n\r\nGET /hidden"), "", false},
		"a path without a slash":       {with(3, "hidden"), "", false},
		"no path":                      {with(3, ""), "", false},
		"an authority with a line":     {with(2, "x\r\nX-A: b"), "", false},
		"an authority with a path":     {with(2, "x/y z"), "", true}, // without the path
		"two paths":                    {and(":path", "/hidden"), "", false},
		"an unknown pseudo-header":     {append([]field{{":protocol2", "x"}}, get...), "", false},
		"a pseudo-header at the end":   {append([]field{{"x-a", "b"}}, get...), "", false},
		"another host":                 {and("host", "evil"), "", true},
		"a value with a line":          {and("x-a", "b\r\n\r\n"+hidden), "", false},
		"a value with a NUL":           {and("x-a", "b\x00c"), "", false},
		"a name with a line":           {and("x-a: b\r\nx-b", "c"), "", false},
		"a name with a colon":          {and("x-a:b", "c"), "", false},
		"a name with a space":          {and("content-length ", "5"), "", false},
		"a name in capitals":           {and("X-Forwarded-Port", "1"), "", false},
		"our header":                   {and("x-forwarded-port", "1"), "", true},
		"a coding":                     {and("transfer-encoding", "chunked"), "0\r\n\r\n" + hidden, false},
		"a connection":                 {and("connection", "x-forwarded-port"), "", false},
		"an upgrade":                   {and("upgrade", "h2c"), "", false},
		"a length that is too short":   {and("content-length", "2"), hidden, false},
		"a length that is no number":   {and("content-length", "+5"), hidden, false},
		"two lengths":                  {append(and("content-length", "0"), field{"content-length", "50"}), hidden, false},
		"a body that is no other's":    {get, hidden, true},
		"a body with its right length": {and("content-length", "33"), hidden, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, backend := strictRig(t)
			c, err := tls.Dial("tcp", r.at(8443), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			flags := byte(endHeaders)
			if test.body == "" {
				flags |= endStream
			}
			text := preface + frame(frameSettings, 0, 0, "") + frame(frameHeaders, flags, 1, literal(test.fields...))
			if test.body != "" {
				text += frame(frameData, endStream, 1, test.body)
			}
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			ended(t, c)
			requests, faults := backend.take()
			if len(faults) > 0 || requests > 1 || test.passes != (requests == 1) && !strings.Contains(name, "length") {
				t.Errorf("the backend saw %d requests, and: %s", requests, strings.Join(faults, "; "))
			}
		})
	}
}
