package events

import (
	"net/http"
	"slices"
	"strings"
	"testing"
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
			api := listing(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/apis/storage.k8s.io/v1/csinodes" || r.Header.Get("Authorization") != "Bearer THETOKEN" {
					t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			ids, err := api.NodeIDs(t.Context())
			if !slices.Equal(ids, c.ids) || (err != nil) != (c.fault != "") || (err != nil && !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("got %s, %v", ids, err)
			}
		})
	}
}
