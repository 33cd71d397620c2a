package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
)

// shortestToken is the fewest characters of a token: whoever reaches the port may try as many as they like.
const shortestToken = 16

// ReadToken reads the token of those who may read metrics. It is never part of an error.
func ReadToken(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(content))
	switch {
	case token == "":
		return "", errors.New("it is empty")
	case len(token) < shortestToken:
		return "", fmt.Errorf("it has %d characters, which can be guessed: it must have %d or more", len(token), shortestToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("it has characters that no header can hold")
	}
	return token, nil
}

// tokenFile is the file with the token of those who may read metrics.
type tokenFile struct {
	path string

	mu sync.Mutex
	// problem is what the log says last of why the token can't be used, "" if it can.
	problem string
}

// read reads the token. The log says when it can't be used and when it can again, and not for each request: whoever has no token may
// send as many as they like.
func (f *tokenFile) read(ctx context.Context) (string, error) {
	token, err := ReadToken(f.path)
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if problem == f.problem {
		return token, err
	}
	f.problem = problem
	if err != nil {
		klog.FromContext(ctx).Error(err, "The token for metrics can't be used: requests for them are refused until it can", "file", f.path)
	} else {
		klog.FromContext(ctx).Info("The token for metrics can be used", "file", f.path)
	}
	return token, err
}

// Scrape serves /metrics, and nothing else, to those who have the token that is in a file. The file is read for each request,
// so that another token holds at once; while it can't be read nobody gets anything. It is read at once too: the log says from
// the start that it is missing.
func Scrape(ctx context.Context, gatherer prometheus.Gatherer, file string) http.Handler {
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{})
	tokens := &tokenFile{path: file}
	_, _ = tokens.read(ctx) // the log has it
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		token, err := tokens.read(r.Context())
		if err != nil {
			http.Error(w, "the token cannot be checked", http.StatusServiceUnavailable)
			return
		}
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !same(given, token) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a token is needed", http.StatusUnauthorized)
			return
		}
		metrics.ServeHTTP(w, r)
	})
	return mux
}

// same compares in a time that says nothing of either.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// certificateLife is how long a certificate is good: no process runs that long.
const certificateLife = 10 * 365 * 24 * time.Hour

// SelfSigned returns a configuration for TLS with a certificate that is made for this process. It keeps the token from those
// who listen on the network; it proves nobody's identity.
func SelfSigned(name string, now time.Time) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
