package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/time/rate"
)

// Web speaks JSON over HTTP, plainly: checks must not go through the code under test.
type Web struct {
	// Base is the URL that paths are appended to.
	Base   string
	key    string
	client *http.Client
	// limit holds requests back; nil for none.
	limit *rate.Limiter
}

// Scenarios that wait side by side, each for lists of its own, would otherwise use up what the cloud serves a source
// address (30 requests a second) and starve one another.
const (
	cloudRate  = 20 // requests a second
	cloudBurst = 5
)

// cloudWeb speaks to the cloud with a key, no faster than the cloud serves one address.
func cloudWeb(key string, client *http.Client) *Web {
	return &Web{Base: CloudURL, key: key, client: client, limit: rate.NewLimiter(cloudRate, cloudBurst)}
}

// StatusError is an answer other than 2xx.
type StatusError struct {
	Status int
	Text   string
}

// Error returns the status and the answer's text.
func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Text) }

// Get reads an object into out, or the text if out is a *string.
func (w *Web) Get(ctx context.Context, path string, out any) error {
	return w.Do(ctx, http.MethodGet, path, nil, out)
}

// Do sends in (nil for nothing) and reads the answer into out (nil for none).
func (w *Web) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		content, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, method, w.Base+path, body)
	if err != nil {
		return err
	}
	if w.key != "" {
		request.Header.Set("Authorization", "Bearer "+w.key)
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if w.limit != nil {
		if err := w.limit.Wait(ctx); err != nil {
			return err
		}
	}
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %w", method, path, &StatusError{Status: response.StatusCode, Text: strings.TrimSpace(string(content))})
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *string:
		*out = string(content)
		return nil
	default:
		return json.Unmarshal(content, out)
	}
}
