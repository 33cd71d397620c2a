package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script answers one request after the other.
type script struct {
	answers []func() (*http.Response, error)
	asked   int
}

func (s *script) RoundTrip(*http.Request) (*http.Response, error) {
	answer := s.answers[min(s.asked, len(s.answers)-1)]
	s.asked++
	return answer()
}

func status(code int) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: io.NopCloser(strings.NewReader("some words"))}, nil
	}
}

func away() (*http.Response, error) { return nil, errors.New("connection refused") }

func ask(ctx context.Context, t *testing.T, p patient, path string) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://apiserver.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// An API server that is away for long, or not well, is waited for; whatever else is asked gets its answer at once.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func() (*http.Response, error){away, away, status(500), status(503), status(200)}}
		p := patient{s, make(chan struct{})}
		began := time.Now()
		if code, err := ask(t.Context(), t, p, "/healthz"); err != nil || code != http.StatusOK || s.asked != 5 {
			t.Errorf("%d, %v after %d questions", code, err, s.asked)
		}
		if took := time.Since(began); took != 4*askAgain {
			t.Errorf("it took %s", took)
		}

		s = &script{answers: []func() (*http.Response, error){status(401)}}
		p.next = s
		if code, err := ask(t.Context(), t, p, "/healthz"); err != nil || code != 401 || s.asked != 1 {
			t.Errorf("a refusal: %d, %v after %d questions", code, err, s.asked)
		}

		s = &script{answers: []func() (*http.Response, error){status(503)}}
		p.next = s
		if code, err := ask(t.Context(), t, p, "/api/v1/nodes"); err != nil || code != 503 || s.asked != 1 {
			t.Errorf("%d, %v after %d questions", code, err, s.asked)
		}
	})
}

// Waiting ends with the process, and with whoever asks.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		p := patient{&script{answers: []func() (*http.Response, error){away}}, stop}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
		defer cancel()
		if _, err := ask(ctx, t, p, "/healthz"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.AfterFunc(time.Hour, func() { close(stop) })
		if _, err := ask(t.Context(), t, p, "/healthz"); !errors.Is(err, errToldToEnd) {
			t.Errorf("got %v", err)
		}
	})
}
