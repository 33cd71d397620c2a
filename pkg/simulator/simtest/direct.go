package simtest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"syscall"
)

// Direct brings requests straight into the cloud, without connections, which take most of the time of a test that asks for
// much. It fits vultr.Config.Around.
func (c *Cloud) Direct(http.RoundTripper) http.RoundTripper { return direct{c.Sim} }

type direct struct{ cloud http.Handler }

// RoundTrip has the cloud answer. What the cloud has begun goes on when nobody waits for it any more.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	Connected(req)
	asked := req.Clone(req.Context())
	asked.RemoteAddr = "127.0.0.1:40000"
	if asked.Body == nil {
		asked.Body = http.NoBody // as a server has it
	}
	answers := make(chan *http.Response, 1)
	go func() { answers <- answerTo(asked, d.cloud) }() //nolint:bodyclose // whoever asked closes it
	select {
	case answer := <-answers:
		if answer == nil {
			return nil, syscall.ECONNRESET
		}
		answer.Request = req
		return answer, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// Connected tells whoever follows the request that there is a connection: from now on it may have an effect.
func Connected(req *http.Request) {
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
}

// answerTo returns nil if the connection was reset.
func answerTo(req *http.Request, cloud http.Handler) (answer *http.Response) {
	recorder := httptest.NewRecorder()
	defer func() {
		failure := recover()
		aborted, isError := failure.(error)
		switch {
		case failure == nil:
			answer = recorder.Result()
		case !isError || !errors.Is(aborted, http.ErrAbortHandler):
			panic(failure)
		case recorder.Body.Len() > 0:
			answer = recorder.Result()
			answer.Body = BrokenOff(recorder.Body.Bytes())
		}
	}()
	cloud.ServeHTTP(recorder, req)
	return nil
}

// BrokenOff is a body that breaks off after this much.
func BrokenOff(part []byte) io.ReadCloser {
	return io.NopCloser(io.MultiReader(bytes.NewReader(part), cut{}))
}

type cut struct{}

// Read fails as that of a connection that ended too early.
func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
