package blockstore

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// TestIncompleteAnswer: the answer to a create has only an ID, or fields that are not filled in yet. What was made is
// judged by what reads show, so nothing is taken for a mistake and deleted.
func TestIncompleteAnswer(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]map[string]any{
		"an ID alone":     {},
		"unfilled fields": {"label": "", "size_gb": 0, "region": "", "block_type": "", "status": "pending"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := simtest.Start(t, simtest.Options{})
			target, err := url.Parse(cloud.URL)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
				ModifyResponse: func(resp *http.Response) error { return shorten(resp, left) },
			})
			t.Cleanup(server.Close)
			r := newRigOn(t, cloud, server.URL)
			v := r.create("pvc-1")
			if all := r.named("pvc-1"); !slices.Equal(all, []string{v.ID}) || v.SizeGiB != 10 || v.Region != "ewr" {
				t.Errorf("got %+v, the account has %s", v, all)
			}
		})
	}
}

// shorten leaves of the answer to a create the volume's ID and the given fields.
func shorten(resp *http.Response, left map[string]any) error {
	if resp.Request.Method != http.MethodPost || resp.Request.URL.Path != "/v2/blocks" {
		return nil
	}
	var answer struct{ Block map[string]any }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	short := map[string]any{"id": answer.Block["id"]}
	maps.Copy(short, left)
	raw, err := json.Marshal(map[string]any{"block": short})
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	resp.Header.Set("Content-Length", strconv.Itoa(len(raw)))
	return nil
}
