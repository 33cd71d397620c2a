package blockstore

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// unlike is a platform that makes something else of each create, as long as change is set.
func unlike(t *testing.T, change *atomic.Pointer[func(body map[string]any)]) *rig {
	t.Helper()
	cloud := simtest.Start(t, simtest.Options{})
	target, err := url.Parse(cloud.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		alter := change.Load()
		if alter == nil || r.In.Method != http.MethodPost || r.In.URL.Path != "/v2/blocks" {
			return
		}
		var body map[string]any
		if err := json.NewDecoder(r.In.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		(*alter)(body)
		raw, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
		}
		r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	}}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return newRigOn(t, cloud, server.URL)
}

// TestWhatIsMadeWronglyIsTakenBack: a volume that is not what its claim asked for must not stand in the claim's way.
func TestWhatIsMadeWronglyIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(body map[string]any)
		reason volume.Reason
		words  string
	}{
		"a shortened name": {func(b map[string]any) { b["label"] = "pvc" }, volume.Invalid, `"pvc" of "pvc-1"`},
		"a rounded size":   {func(b map[string]any) { b["size_gb"] = 20 }, 0, "21474836480 bytes"},
		"another type":     {func(b map[string]any) { b["block_type"], b["size_gb"] = "storage_opt", 40 }, 0, "type hdd"},
		"another region":   {func(b map[string]any) { b["region"] = "lax" }, 0, "region lax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var change atomic.Pointer[func(map[string]any)]
			r := unlike(t, &change)
			change.Store(&c.change)
			spec := specOf("pvc-1")
			spec.Capacity = volume.Capacity{Required: 10 * volume.GiB, Limit: 15 * volume.GiB}
			for range 2 { // the second time it is not even tried
				_, err := r.Create(t.Context(), spec)
				if err == nil || volume.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.words) {
					t.Fatalf("got %v", err)
				}
			}
			if left, n := r.cloud.Sim.View().Blocks, r.cloud.Count("create_block"); len(left) != 0 || n != 1 {
				t.Errorf("after %d creates the account has %+v", n, left)
			}
			change.Store(nil)
			m, _ := r.names.get("pvc-1")
			m.deleted = m.deleted.Add(-10 * time.Minute)
			r.names.put("pvc-1", m)
			if _, err := r.Create(t.Context(), spec); err != nil {
				t.Errorf("when the platform does it right: %v", err)
			}
		})
	}
}

// TestTakingBackIsRepeated: as long as the wrong volume could not be deleted nothing else is made.
func TestTakingBackIsRepeated(t *testing.T) {
	t.Parallel()
	var change atomic.Pointer[func(map[string]any)]
	r := unlike(t, &change)
	shorten := func(b map[string]any) { b["label"] = "pvc" }
	change.Store(&shorten)
	fault := r.cloud.Fault(simulator.Fault{Operation: "delete_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest})
	for range 2 {
		if _, err := r.Create(t.Context(), specOf("pvc-1")); volume.ReasonOf(err) != volume.Busy {
			t.Fatalf("got %v", err)
		}
	}
	if left := r.cloud.Sim.View().Blocks; len(left) != 1 {
		t.Errorf("the account has %+v", left)
	}
	r.cloud.Sim.RemoveFault(fault)
	if _, err := r.Create(t.Context(), specOf("pvc-1")); volume.ReasonOf(err) != volume.Invalid {
		t.Errorf("got %v", err)
	}
	if left := r.cloud.Sim.View().Blocks; len(left) != 0 {
		t.Errorf("the account has %+v", left)
	}
}
