package guard

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOperator(t *testing.T) {
	server := httptest.NewServer(Operator(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	for name, c := range map[string]struct {
		method, host string
		header       map[string]string
		want         int
	}{
		"curl":                     {"POST", "127.0.0.1:" + port, nil, 204},
		"curl localhost":           {"DELETE", "localhost:" + port, nil, 204},
		"curl through a tunnel":    {"GET", "[::1]:9999", nil, 204},
		"HTTP/1.0":                 {"GET", "127.0.0.1", nil, 204},
		"the page itself":          {"POST", "127.0.0.1:" + port, map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:" + port}, 204},
		"a link to it":             {"GET", "127.0.0.1:" + port, map[string]string{"Sec-Fetch-Site": "cross-site"}, 204},
		"a form of another page":   {"POST", "127.0.0.1:" + port, map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		"an old browser's":         {"POST", "127.0.0.1:" + port, map[string]string{"Origin": "https://evil.example"}, 403},
		"a page without an origin": {"DELETE", "127.0.0.1:" + port, map[string]string{"Origin": "null"}, 403},
		"another port's page":      {"PUT", "127.0.0.1:" + port, map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"}, 403},
		"a name that leads here":   {"GET", "evil.example:" + port, map[string]string{"Sec-Fetch-Site": "same-origin"}, 403},
		"a number as a name":       {"GET", "127.0.0.1.evil.example", nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), c.method, server.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = c.host
			for field, value := range c.header {
				request.Header.Set(field, value)
			}
			resp, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if text, _ := io.ReadAll(resp.Body); resp.StatusCode != c.want || strings.Count(string(text), "\n") > 1 {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
	// Where there is no connection, or one from elsewhere, names are none of its business.
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://simulator.lab/", nil)
	Operator(http.NotFoundHandler()).ServeHTTP(recorder, request)
	if recorder.Code != http.StatusNotFound {
		t.Errorf("%d %s", recorder.Code, recorder.Body)
	}
}
