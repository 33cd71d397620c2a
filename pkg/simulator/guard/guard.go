// Package guard makes HTTP servers that a hostile or broken client cannot wear out: what a client may send is bounded in
// size, and how long it may take to send it is bounded in time.
package guard

import (
	"net/http"
	"time"
)

const (
	// HeaderTimeout is how long a client may take for the head of a request, and for a TLS handshake.
	HeaderTimeout = 15 * time.Second
	// BodyTimeout is how long a client may take for the body. The largest, 6 MB of user data, takes less over 2 Mbit/s.
	BodyTimeout = 30 * time.Second
	// AnswerTimeout is how long a client may take to read its answer: 4 MB, the largest lists, over 2 Mbit/s.
	AnswerTimeout = 30 * time.Second
	// IdleTimeout is how long a connection may wait for its next request.
	IdleTimeout = 2 * time.Minute
	// MaxHeaderBytes bounds the head of a request, however many fields it has.
	MaxHeaderBytes = 64 << 10
)

// Server returns a server for the handler. A handler that goes on for longer than BodyTimeout, because a request is held or
// its answer has no end, must have read the body under LimitBody, else its connection counts as too slow; and it must
// begin its answer with LimitAnswer, or wait for ever for a client that does not read.
func Server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: HeaderTimeout, ReadTimeout: BodyTimeout, IdleTimeout: IdleTimeout,
		WriteTimeout: HeaderTimeout + BodyTimeout + AnswerTimeout, MaxHeaderBytes: MaxHeaderBytes,
	}
}

// LimitBody bounds the time in which the request's body must have come, on any server. Call done when it was read in
// whole: from then on the request may take as long as it likes, until LimitAnswer. Where it was not, the bound also holds for the rest,
// which the server reads to get at the next request.
func LimitBody(w http.ResponseWriter) (done func()) {
	control := http.NewResponseController(w)
	// A writer without a connection, such as a test's recorder, has nothing to bound.
	_ = control.SetReadDeadline(time.Now().Add(BodyTimeout))
	return func() {
		_ = control.SetReadDeadline(time.Time{})
		_ = control.SetWriteDeadline(time.Time{})
	}
}

// LimitAnswer bounds the time in which the client must have read what is written from now on.
func LimitAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(AnswerTimeout)) // as above
}
