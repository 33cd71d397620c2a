// Package kubeapi is a small client for the apiserver of the cluster that the process runs in.
//
// It is not client-go on purpose: a few calls for small objects are all that is needed, and the program is one binary
// for controller and node. Linking a clientset takes the node plugin from 15 to 26 MB, rest and core/v1 alone to 18 MB;
// this costs nothing that can be measured.
package kubeapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
)

// ErrNotInCluster is returned where the process has no account of a cluster.
var ErrNotInCluster = errors.New("not in a cluster, or without an account there")

const (
	// AccountDir is where a pod finds its account.
	AccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	// answerWithin is how long the apiserver may take for one answer.
	answerWithin = 10 * time.Second
	// maxAnswer is how much of an answer is read.
	maxAnswer = 32 << 20
)

// The content types of bodies.
const (
	JSON       = "application/json"
	MergePatch = "application/merge-patch+json"
)

// userAgent tells the driver from the sidecars, whose account it shares, in the audit log of the apiserver.
var userAgent = version.Get().UserAgent("csi")

// Client calls the apiserver. It is safe for concurrent use.
//
// Calls are rare, so nothing is kept between them, no connection either (the pages of a list share one), and the account is
// read again for each: its token and certificate are replaced while the process runs.
type Client struct {
	host string
	dir  string
}

// InCluster returns the client for the apiserver that the environment names and the account in dir, or ErrNotInCluster.
func InCluster(getenv func(string) string, dir string) (*Client, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, ErrNotInCluster
	}
	if _, err := os.Stat(filepath.Join(dir, "token")); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotInCluster, err)
	}
	return &Client{host: net.JoinHostPort(host, port), dir: dir}, nil
}

// Get reads an object or a list.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.Do(ctx, http.MethodGet, path, "", nil, into)
}

// Do sends a request with a body of the content type, if it is not nil, and decodes the answer, if into is not nil.
// An answer other than success is a *StatusError.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body, into any) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.close()
	return s.do(ctx, method, path, contentType, body, into)
}

// session is calls with one reading of the account. They share a connection, one after the other.
type session struct {
	host   string
	client *http.Client
	token  string
}

func (s *session) close() { s.client.CloseIdleConnections() }

// do is Do.
func (s *session) do(ctx context.Context, method, path, contentType string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	resp, err := s.send(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if into == nil {
		return nil
	}
	answer := io.LimitReader(resp.Body, maxAnswer)
	if err := json.NewDecoder(answer).Decode(into); err != nil {
		return fmt.Errorf("%s %s: the apiserver's answer cannot be decoded: %w", method, path, err)
	}
	_, _ = io.Copy(io.Discard, answer) // a connection is used again once its answer was read to the end
	return nil
}

// send sends a request and returns an answer of success.
func (s *session) send(ctx context.Context, method, path, contentType string, body any) (*http.Response, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+s.host+path, content)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", JSON)
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the apiserver: %w", err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, statusError(method+" "+strings.SplitN(path, "?", 2)[0], resp)
}

// open reads the account and begins a session, which must be closed.
func (c *Client) open() (*session, error) {
	token, err := os.ReadFile(filepath.Join(c.dir, "token"))
	if err != nil {
		return nil, fmt.Errorf("reading the account's token: %w", err)
	}
	pem, err := os.ReadFile(filepath.Join(c.dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the apiserver's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(c.dir, "ca.crt"))
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return &session{
		host: c.host, client: &http.Client{Transport: transport, CheckRedirect: noRedirect}, token: strings.TrimSpace(string(token)),
	}, nil
}

// noRedirect keeps the token from being sent elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// StatusError is an answer of the apiserver other than success.
type StatusError struct {
	// Request is the method and the path.
	Request string
	Code    int
	// Text is the status line and what the apiserver said.
	Text string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: the apiserver answered %s", e.Request, e.Text)
}

func statusError(request string, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		text = []byte(err.Error())
	}
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &answer) == nil && answer.Message != "" {
		text = []byte(answer.Message)
	}
	return &StatusError{Request: request, Code: resp.StatusCode, Text: resp.Status + ": " + string(bytes.TrimSpace(text))}
}

// IsNotFound reports whether the apiserver itself said that there is no such object.
func IsNotFound(err error) bool { return hasCode(err, http.StatusNotFound) }

// IsForbidden reports whether the account has not the right to do that.
func IsForbidden(err error) bool { return hasCode(err, http.StatusForbidden) }

// IsConflict reports whether the object was changed meanwhile, or exists already.
func IsConflict(err error) bool { return hasCode(err, http.StatusConflict) }

// IsGone reports whether the resource version of a list or watch is too old to go on from.
func IsGone(err error) bool { return hasCode(err, http.StatusGone) }

// IsRefused reports whether no repetition of the request helps.
func IsRefused(err error) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Code < http.StatusInternalServerError && e.Code != http.StatusTooManyRequests && e.Code != http.StatusUnauthorized
}

func hasCode(err error, code int) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Code == code
}
