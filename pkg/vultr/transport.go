package vultr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
)

const (
	readTimeout  = 20 * time.Second // a list of 500 takes up to 2 s on the real platform
	writeTimeout = 60 * time.Second
	maxBody      = 64 << 20
)

// errTooLarge is the end of a call whose answer is more than this client takes into memory.
var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)

// transport is everything between govultr and the network: key, rate, repetition, metrics, redaction, typed errors.
type transport struct {
	base    http.RoundTripper
	keys    *keySource
	limiter *limiter
	metrics *metrics
	redact  *redactor
	// standing learns from every answer.
	standing *standing
	// host is the only one that ever gets the key.
	host string
}

// outcome is what one attempt came to.
type outcome struct {
	resp *http.Response // nil when no answer came; its body is in memory, as data
	data []byte
	err  *Error // nil on success
	// made is set when an attempt was made at all; without it there was no turn, or no key, to make it.
	made bool
	// sent is set when the request may have reached the API.
	sent bool
	// key is the one that was used.
	key string
}

// RoundTrip makes the call, with as many attempts as its method and the caller's deadline allow. The typed error is
// left in the request's record.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := recordFrom(req.Context())
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	var last outcome
	uncertain, newKey := false, false
	for n := 1; ; n++ {
		now := t.attempt(req, body, rec)
		if !now.made && last.made {
			// There was no turn for another attempt: what the one before said tells more.
			last.err = withCause(last.err, now.err.Err)
			break
		}
		last = now.after(last, req.Context().Err())
		uncertain = uncertain || isUncertain(req.Method, last)
		if last.err == nil {
			t.standing.learn(rec.op, nil, time.Now())
			rec.done, rec.data = true, last.data
			return last.resp, nil
		}
		if last.err.Status == http.StatusUnauthorized && !newKey && t.keys.changed(last.key) {
			newKey = true
			continue
		}
		if now.made {
			t.standing.learn(rec.op, now.err, time.Now())
		}
		wait, again := nextAttempt(req.Method, last, n)
		if !again {
			break
		}
		if !pause(req.Context(), wait) {
			last.err = withCause(last.err, req.Context().Err())
			break
		}
	}
	last.err.Unknown = uncertain
	rec.err = last.err
	if last.resp == nil {
		return nil, last.err
	}
	return last.resp, nil
}

// attempt waits for its turn and sends the request once.
func (t *transport) attempt(req *http.Request, body []byte, rec *record) outcome {
	ticket, err := t.limiter.wait(req.Context(), priorityOf(req.Context(), req.Method))
	if err != nil {
		return outcome{err: rec.fail(0, "", err)}
	}
	if err := rec.holds(req.Context()); err != nil {
		return outcome{err: err}
	}
	key, err := t.keys.get()
	if err != nil {
		return outcome{err: rec.fail(0, "", err)}
	}
	began := time.Now()
	noteSent(req.Context(), began)
	out := t.send(req, body, rec, key)
	code := "none"
	if out.resp != nil {
		code = strconv.Itoa(out.resp.StatusCode)
		t.limiter.heard(out.resp.Header)
	}
	took := time.Since(began)
	t.metrics.request(rec.op.name, code, took)
	if out.err != nil && out.err.Status == http.StatusTooManyRequests {
		t.limiter.refused(ticket, out.err.RetryAfter)
	}
	klog.FromContext(req.Context()).V(4).Info("Vultr API call", "operation", rec.op.name, "resource", rec.resource,
		"code", code, "duration", took)
	return out
}

func (t *transport) send(req *http.Request, body []byte, rec *record, key string) outcome {
	limit := writeTimeout
	if req.Method == http.MethodGet {
		limit = readTimeout
	}
	ctx, cancel := context.WithTimeout(req.Context(), limit)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// Before there is a connection nothing can have reached the API.
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	resp, data, err := t.exchange(prepare(ctx, req, body, t.host, key)) //nolint:bodyclose // exchange has closed it
	out := outcome{made: true, sent: sent.Load(), key: key}
	switch {
	case err != nil && req.Context().Err() != nil:
		out.err = rec.fail(0, "", req.Context().Err())
	case err != nil && ctx.Err() != nil:
		out.err = rec.fail(0, "", fmt.Errorf("none came within %s", limit))
	case err != nil:
		out.err = rec.fail(0, "", t.redact.err(err))
	default:
		out.resp, out.data, out.sent = resp, data, true
		out.err = t.judge(rec, resp, data)
	}
	return out
}

// exchange sends the request and takes the whole answer into memory: an answer that breaks off is no answer.
func (t *transport) exchange(req *http.Request) (*http.Response, []byte, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	err = errors.Join(err, resp.Body.Close())
	if err == nil && len(data) > maxBody {
		err = errTooLarge
	}
	if err != nil {
		return nil, nil, err
	}
	// The answer is in the record for whoever asked; govultr would make a copy of it for nobody.
	resp.Body, resp.ContentLength = http.NoBody, 0
	return resp, data, nil
}

// prepare makes the request of one attempt. The key is set here, last, so that no layer above ever holds it.
func prepare(ctx context.Context, req *http.Request, body []byte, host, key string) *http.Request {
	r := req.Clone(ctx)
	r.Body, r.GetBody, r.ContentLength = http.NoBody, nil, 0
	if len(body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	} else {
		r.Header.Del("Content-Type")
	}
	if r.URL.Host == host {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return r
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	data, err := io.ReadAll(req.Body)
	return data, errors.Join(err, req.Body.Close())
}

// after adds to an attempt that was cut off by the end of the caller's context what the one before came to: that tells more.
func (o outcome) after(before outcome, end error) outcome {
	if end != nil && before.made && o.err != nil {
		o.err = withCause(o.err, fmt.Errorf("the attempt before: %w", before.err))
	}
	return o
}

// withCause adds a cause to an error that does not have it yet, so that both can be found.
func withCause(e *Error, cause error) *Error {
	if cause == nil || errors.Is(e.Err, cause) {
		return e
	}
	merged := *e
	merged.Err = errors.Join(e.Err, cause)
	return &merged
}

// pause waits, unless the context ends before the wait would.
func pause(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
