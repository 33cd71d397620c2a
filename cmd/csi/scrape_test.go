package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const scrapeToken = "0123456789abcdefghij"

// writeToken writes a token for metrics into a file of a directory.
func writeToken(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(scrapeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// scraped is what somebody should get who asks for metrics.
type scraped struct {
	code int
	text string
}

// expectScrapes asks for metrics as somebody does who is not on the host: without the token, and with it.
func expectScrapes(t *testing.T, address, want string) {
	t.Helper()
	expectScraped(t, address, map[string]scraped{
		"":                      {http.StatusUnauthorized, "a token is needed"},
		"Bearer " + scrapeToken: {http.StatusOK, want},
	})
}

// expectNoScrapes asks in the same way while there is no token.
func expectNoScrapes(t *testing.T, address string) {
	t.Helper()
	refused := scraped{http.StatusServiceUnavailable, "the token cannot be checked"}
	expectScraped(t, address, map[string]scraped{"": refused, "Bearer": refused, "Bearer " + scrapeToken: refused})
}

// expectScraped asks with each authorization.
func expectScraped(t *testing.T, address string, all map[string]scraped) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the plugin makes its certificate itself, and the token is what is tested
	defer client.CloseIdleConnections()
	for authorization, expected := range all {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
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
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != expected.code || !strings.Contains(string(body), expected.text) {
			t.Errorf("scraped with %q: %d %q, want %d and %q", authorization, resp.StatusCode, body, expected.code, expected.text)
		}
	}
}
