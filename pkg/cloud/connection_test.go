package cloud_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
)

// account answers as the API does when it is asked whose key it is, and counts who came.
func account(calls *atomic.Int64, host *atomic.Pointer[string]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		host.Store(&r.URL.Host)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"account":{"name":"Example","email":"ops@example.com","acls":[]}}`)) // whoever asked has left
	})
}

// ask asks the API with these options for a moment, and returns its error.
func ask(t *testing.T, o *cloud.Options) error {
	t.Helper()
	t.Setenv("VULTR_API_KEY", "KEY0123456789ABCDEF0123456789ABCDEF0")
	o.KeyFile = "/nonexistent"
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	client, err := o.NewClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = client.Account(ctx)
	return err
}

// An API whose certificate an authority of one's own has issued is believed if that authority is named, and else gets no key.
func TestCAFile(t *testing.T) {
	var calls atomic.Int64
	var host atomic.Pointer[string]
	server := httptest.NewTLSServer(account(&calls, &host))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := cloud.NewOptions()
	o.APIURL = server.URL
	if err := ask(t, o); err == nil || calls.Load() > 0 {
		t.Errorf("an unknown authority: %v, %d requests", err, calls.Load())
	}
	o.CAFile = file
	if err := ask(t, o); err != nil || calls.Load() == 0 {
		t.Errorf("an authority that is named: %v, %d requests", err, calls.Load())
	}
}

// What is asked of the API goes to the proxy, with the API's name.
func TestProxy(t *testing.T) {
	var calls atomic.Int64
	var host atomic.Pointer[string]
	server := httptest.NewServer(account(&calls, &host))
	defer server.Close()
	o := cloud.NewOptions()
	o.APIURL, o.APIProxy = "http://api.example.com", server.URL
	if err := ask(t, o); err != nil || calls.Load() == 0 || *host.Load() != "api.example.com" {
		t.Errorf("%v, %d requests", err, calls.Load())
	}
}

func TestConnectionFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		proxy, file string
		want        string
	}{
		"nothing":           {"", "", ""},
		"a proxy":           {"http://proxy.example.com:3128", "", ""},
		"by SOCKS":          {"socks5://192.0.2.1:1080", "", ""},
		"no address":        {"proxy.example.com:3128", "", "--vultr-api-proxy: it is not an address"},
		"another scheme":    {"ftp://proxy.example.com", "", "--vultr-api-proxy: it is not an address"},
		"with a password":   {"http://user:SECRET@proxy.example.com", "", "--vultr-api-proxy: it must not hold a user or a password"},
		"no file":           {"", "/nonexistent/ca.crt", "--vultr-api-ca-file: open /nonexistent/ca.crt"},
		"not a certificate": {"", empty, "--vultr-api-ca-file: " + empty + " holds no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := cloud.NewOptions()
			o.APIURL, o.APIProxy, o.CAFile = "", tt.proxy, tt.file
			err := o.Validate()
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "SECRET")) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
