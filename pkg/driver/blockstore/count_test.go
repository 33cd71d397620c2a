package blockstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// miscount has the lists of volumes in pages of one, and counts more volumes than there are while it is wrong.
type miscount struct {
	http.RoundTripper
	wrong atomic.Bool
}

// RoundTrip is that of a platform whose count can be wrong from the first create on.
func (m *miscount) RoundTrip(r *http.Request) (*http.Response, error) {
	isCreate := r.Method == http.MethodPost && r.URL.Path == "/v2/blocks"
	isList := r.Method == http.MethodGet && r.URL.Path == "/v2/blocks"
	if isList {
		r = r.Clone(r.Context())
		query := r.URL.Query()
		query.Set("per_page", "1")
		r.URL.RawQuery = query.Encode()
	}
	resp, err := m.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		return resp, err
	}
	if isCreate {
		m.wrong.Store(true)
	}
	if isList && m.wrong.Load() {
		err = countOneMore(resp)
	}
	return resp, err
}

func countOneMore(resp *http.Response) error {
	var page map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return err
	}
	meta, _ := page["meta"].(map[string]any)
	total, ok := meta["total"].(float64)
	if !ok {
		return errors.New("a list without a count")
	}
	meta["total"] = total + 1
	raw, err := json.Marshal(page)
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	resp.Header.Del("Content-Length")
	return nil
}

// TestCountThatStaysWrong: the platform counts more volumes than it lists, so that no list shows whether the name had an older one.
// A create ends with its call and says so, and one that comes when the count is right finds what the first one made.
func TestCountThatStaysWrong(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.byHand(requestOf("another"))
		time.Sleep(10 * time.Second) // of the fake clock
		platform := &miscount{}
		api, err := vultr.New(vultr.Config{
			BaseURL: r.cloud.URL, Key: simtest.Key, StartRate: 500, MaxRate: 500, DialContext: r.cloud.Dial,
			Around: func(next http.RoundTripper) http.RoundTripper { platform.RoundTripper = next; return platform },
		})
		if err != nil {
			t.Fatal(err)
		}
		store := New(api, Options{})
		const allowed = 30 * time.Second
		call, cancel := context.WithTimeout(t.Context(), allowed)
		defer cancel()
		began := time.Now()
		v, err := store.Create(call, specOf("pvc-1"))
		if took := time.Since(began); took != allowed || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("after %s: %+v, %v", took, v, err)
		}
		if !strings.Contains(err.Error(), "counts 3 but lists 2") {
			t.Errorf("got %v", err)
		}
		platform.wrong.Store(false)
		v, err = store.Create(t.Context(), specOf("pvc-1"))
		if all := r.named("pvc-1"); err != nil || !slices.Equal(all, []string{v.ID}) {
			t.Errorf("afterwards: %+v, %v, the account has %s", v, err, all)
		}
	})
}
