package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestVerbosity: it is changed from the host itself only, by a PUT only, and a refusal says why.
func TestVerbosity(t *testing.T) {
	var set []string
	h := Handler(nil, nil, prometheus.NewRegistry(), func(text string) error {
		if set = append(set, text); text == "loud" {
			return fmt.Errorf("the verbosity %q is none", text)
		}
		return nil
	})
	for _, c := range []struct {
		method, from, body string
		code               int
		says               string
	}{
		{http.MethodPut, "127.0.0.1:5000", "5\n", http.StatusOK, "ok"},
		{http.MethodPut, "[::1]:5000", "4", http.StatusOK, "ok"},
		{http.MethodPut, "[::ffff:127.0.0.1]:5000", "3", http.StatusOK, "ok"},
		{http.MethodPut, "127.0.0.1:5000", "loud", http.StatusBadRequest, `"loud" is none`},
		{http.MethodPut, "10.0.0.7:5000", "5", http.StatusForbidden, "port-forward"},
		{http.MethodPut, "", "5", http.StatusForbidden, "port-forward"},
		{http.MethodPost, "127.0.0.1:5000", "5", http.StatusMethodNotAllowed, ""},
	} {
		before := len(set)
		req := httptest.NewRequest(c.method, "/debug/flags/v", strings.NewReader(c.body))
		req.RemoteAddr = c.from
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, req)
		if answer.Code != c.code || !strings.Contains(answer.Body.String(), c.says) {
			t.Errorf("%s of %q from %s: %d, %s", c.method, c.body, c.from, answer.Code, answer.Body)
		}
		if called := len(set) > before; called != (c.code == http.StatusOK || c.code == http.StatusBadRequest) || called && set[before] != strings.TrimSpace(c.body) {
			t.Errorf("%s of %q from %s sets %q", c.method, c.body, c.from, set[before:])
		}
	}
}
