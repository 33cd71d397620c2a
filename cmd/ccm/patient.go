package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// askAgain is the pause between two questions whether the API server is well.
const askAgain = time.Second

var errToldToEnd = errors.New("this process was told to end")

// patient has the library wait for an API server that is away. It asks whether that is well, for ten seconds and before this
// process takes part in the election, and ends the process then: a restart would not help, and the pauses between restarts
// grow to minutes. So the question is asked here until there is an answer.
type patient struct {
	next http.RoundTripper
	stop <-chan struct{}
}

// RoundTrip passes everything on, that question until an API server answers that works.
func (p patient) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/healthz") {
		return p.next.RoundTrip(r)
	}
	for told := false; ; told = true {
		resp, err := p.next.RoundTrip(r)
		if err == nil && resp.StatusCode < http.StatusInternalServerError {
			return resp, nil // also a refusal, which does not pass
		}
		if err == nil {
			err = errors.Join(errors.New("the API server answers "+resp.Status), drop(resp.Body))
		}
		if !told {
			klog.FromContext(r.Context()).Error(err, "The API server is not ready yet, waiting for it")
		}
		select {
		case <-time.After(askAgain):
		case <-p.stop:
			return nil, errToldToEnd
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// drop reads the rest of an answer, so that its connection can be used again.
func drop(body io.ReadCloser) error {
	_, err := io.Copy(io.Discard, io.LimitReader(body, 1<<16))
	return errors.Join(err, body.Close())
}
