package events

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// TestNodeIDs: the nodes of the driver are known by what the kubelets wrote, and what cannot be read is an error.
func TestNodeIDs(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		ids    []string
		fault  string
	}{
		"nodes": {200, `{"items":[{"spec":{"drivers":[{"name":"other","nodeID":"x"},{"name":"block.csi.vultr.com","nodeID":"A"}]}},
			{"spec":{"drivers":null}},{"spec":{"drivers":[{"name":"block.csi.vultr.com","nodeID":"b"}]}}]}`, []string{"a", "b"}, ""},
		"none":      {200, `{"items":[]}`, nil, ""},
		"forbidden": {403, `{"message":"no"}`, nil, "403"},
		"no JSON":   {200, `<html>`, nil, "CSINodes"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/apis/storage.k8s.io/v1/csinodes" || r.Header.Get("Authorization") != "Bearer THETOKEN" {
					t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			t.Cleanup(server.Close)
			dir := t.TempDir()
			for file, content := range map[string][]byte{
				"token": []byte("THETOKEN\n"), "ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			} {
				if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			env := map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
			kube, err := kubeapi.InCluster(func(name string) string { return env[name] }, dir)
			if err != nil {
				t.Fatal(err)
			}
			ids, err := New(kube, "block.csi.vultr.com").NodeIDs(t.Context())
			if !slices.Equal(ids, c.ids) || (err != nil) != (c.fault != "") || (err != nil && !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("got %s, %v", ids, err)
			}
		})
	}
}
