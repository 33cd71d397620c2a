package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/server"
)

const scrapeToken = "0123456789abcdefghij"

// Metrics are for those who have the token, over TLS, and nothing else is served there.
func TestScrape(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(scrapeToken + "\n")
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "csi_test"})
	registry.MustRegister(gauge)
	config, err := server.SelfSigned("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := server.ServeHTTP(t.Context(), tls.NewListener(plain, config), server.Scrape(t.Context(), registry, file)); err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the plugin makes its certificate itself, and the token is what is tested
	defer client.CloseIdleConnections()
	ask := func(method, url, authorization string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		resp, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	base := "https://" + plain.Addr().String()
	refused := func(what, method, path, authorization string, status int) {
		t.Helper()
		if got, text := ask(method, base+path, authorization); got != status || strings.Contains(text, "csi_test") || strings.Contains(text, scrapeToken) {
			t.Errorf("%s: %d %q, want %d", what, got, text, status)
		}
	}
	granted := func(what, token string) {
		t.Helper()
		if got, text := ask(http.MethodGet, base+"/metrics", "Bearer "+token); got != http.StatusOK || !strings.Contains(text, "csi_test 0") {
			t.Errorf("%s: %d %q", what, got, text)
		}
	}
	granted("with the token", scrapeToken)
	refused("without one", http.MethodGet, "/metrics", "", http.StatusUnauthorized)
	refused("an empty one", http.MethodGet, "/metrics", "Bearer ", http.StatusUnauthorized)
	for what, token := range map[string]string{
		"another one":         "jihgfedcba9876543210",
		"the beginning of it": scrapeToken[:19],
		"the end of it":       scrapeToken[1:],
		"its first character": scrapeToken[:1],
		"more after it":       scrapeToken + "x",
		"more before it":      "x" + scrapeToken,
		"another beginning":   "x" + scrapeToken[1:],
		"another end":         scrapeToken[:19] + "x",
		"in capitals":         strings.ToUpper(scrapeToken),
		"it twice":            scrapeToken + " " + scrapeToken,
	} {
		refused(what, http.MethodGet, "/metrics", "Bearer "+token, http.StatusUnauthorized)
	}
	refused("as a password", http.MethodGet, "/metrics", "Basic "+scrapeToken, http.StatusUnauthorized)
	refused("what the host may ask", http.MethodGet, "/healthz", "Bearer "+scrapeToken, http.StatusNotFound)
	refused("what the host may change", http.MethodPut, "/debug/flags/v", "Bearer "+scrapeToken, http.StatusNotFound)
	refused("another method", http.MethodPost, "/metrics", "Bearer "+scrapeToken, http.StatusMethodNotAllowed)

	other := "abcdefghij0123456789"
	write(other)
	granted("with another token, which holds at once", other)
	refused("with the old one", http.MethodGet, "/metrics", "Bearer "+scrapeToken, http.StatusUnauthorized)
	write("")
	refused("while there is none", http.MethodGet, "/metrics", "Bearer ", http.StatusServiceUnavailable)
	write("short")
	refused("while it can be guessed", http.MethodGet, "/metrics", "Bearer short", http.StatusServiceUnavailable)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused("while it can't be read", http.MethodGet, "/metrics", "Bearer "+other, http.StatusServiceUnavailable)

	resp, err := http.Get("http://" + plain.Addr().String() + "/metrics")
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS it answers %d", resp.StatusCode)
		}
	}
}

func TestReadToken(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "it is empty",
		"\n":                     "it is empty",
		"short":                  "it has 5 characters",
		"0123456789abcde":        "it has 15 characters",
		"0123456789abcdef":       "",
		"0123456789abcdef\n":     "",
		"0123456789 abcdef":      "no header can hold",
		"0123456789\x00abcdef":   "no header can hold",
		"0123456789abcdef\nmore": "no header can hold",
	} {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := server.ReadToken(file)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if err != nil && len(text) > 5 && strings.Contains(err.Error(), "0123456789") {
			t.Errorf("the token is in %v", err)
		}
	}
}
