package blockstore

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// statuses is a platform whose volumes all have the status that is set, in reads.
type statuses struct {
	*rig

	now   atomic.Pointer[string]
	cloud *simtest.Cloud
	url   string
}

func newStatuses(t *testing.T) *statuses {
	t.Helper()
	return newStatusesOn(t, simtest.Start(t, simtest.Options{}))
}

func newStatusesOn(t *testing.T, cloud *simtest.Cloud) *statuses {
	t.Helper()
	s := &statuses{cloud: cloud}
	target, err := url.Parse(s.cloud.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ModifyResponse: s.rewrite,
	})
	t.Cleanup(server.Close)
	s.url = server.URL
	s.rig = newRigOn(t, s.cloud, s.url)
	return s
}

func (s *statuses) set(status string) { s.now.Store(&status) }

func (s *statuses) rewrite(resp *http.Response) error {
	status := s.now.Load()
	if status == nil || resp.Request.Method != http.MethodGet || !strings.HasPrefix(resp.Request.URL.Path, "/v2/blocks") {
		return nil
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	for _, usual := range []string{"pending", "active"} {
		raw = bytes.ReplaceAll(raw, []byte(`"status":"`+usual+`"`), []byte(`"status":"`+*status+`"`))
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	resp.Header.Set("Content-Length", strconv.Itoa(len(raw)))
	return nil
}

// TestFailedCreate: what the platform says of a volume that it could not make is answered at once, the volume is deleted
// again, and after a pause the name is created again.
func TestFailedCreate(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"error", "Failed"} {
		s := newStatuses(t)
		s.set(status)
		for range 2 { // made and deleted, then not made again for a while
			_, err := s.Create(t.Context(), specOf("pvc-1"))
			if volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), strconv.Quote(status)) || !strings.Contains(err.Error(), "deleted again") {
				t.Errorf("%s: got %v", status, err)
			}
		}
		if left := s.named("pvc-1"); len(left) != 0 || s.cloud.Count("create_block") != 1 {
			t.Errorf("%s: %d were created, left are %s", status, s.cloud.Count("create_block"), left)
		}
		s.set("active")
		m, _ := s.names.get("pvc-1")
		m.deleted = m.deleted.Add(-failedFor)
		s.names.put("pvc-1", m)
		if v := s.create("pvc-1"); !slices.Equal(s.named("pvc-1"), []string{v.ID}) {
			t.Errorf("%s: got %s, the account has %s", status, v.ID, s.named("pvc-1"))
		}
	}
}

// TestUnknownStatus: a status that nobody knows is answered at once as well. The volume may become active yet, and stays.
func TestUnknownStatus(t *testing.T) {
	t.Parallel()
	s := newStatuses(t)
	s.set("rebalancing")
	for range 2 {
		_, err := s.Create(t.Context(), specOf("pvc-1"))
		if volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), `"rebalancing"`) {
			t.Errorf("got %v", err)
		}
	}
	made := s.named("pvc-1")
	s.set("active")
	if v := s.create("pvc-1"); !slices.Equal(made, []string{v.ID}) || !slices.Equal(s.named("pvc-1"), made) {
		t.Errorf("got %s, made was %s, the account has %s", v.ID, made, s.named("pvc-1"))
	}
}

// TestPendingIsWaitedFor: the status of a volume that is being made is no failure, in whatever case it is written.
func TestPendingIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStatuses(t)
	for _, status := range []string{"pending", "Pending", ""} {
		s.set(status)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := s.Create(ctx, specOf("pvc-1"))
		cancel()
		if err == nil || volume.ReasonOf(err) != 0 {
			t.Errorf("%q: got %v", status, err)
		}
	}
}

// TestFailedVolumeOfAnother: this process did not make the failed volume, so it is not its to delete: it may have data.
func TestFailedVolumeOfAnother(t *testing.T) {
	t.Parallel()
	s := newStatuses(t)
	v, instance := s.create("pvc-1"), s.instance("node-1")
	s.set("error")
	other := newRigOn(t, s.cloud, s.url)
	_, err := other.Create(t.Context(), specOf("pvc-1"))
	if volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), v.ID) || !strings.Contains(err.Error(), `"error"`) {
		t.Errorf("create: %v", err)
	}
	if _, err := s.Create(t.Context(), specOf("pvc-1")); volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), `"error"`) {
		t.Errorf("create by who made it: %v", err)
	}
	if left := s.named("pvc-1"); !slices.Equal(left, []string{v.ID}) {
		t.Errorf("left are %s, it was %s", left, v.ID)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := s.Expand(ctx, v.ID, volume.Capacity{Required: 20 * volume.GiB}); err != nil {
		t.Errorf("the platform grew it all the same, and the answer is %v", err)
	}
	if _, err := s.Attach(ctx, v.ID, instance); err != nil && !strings.Contains(err.Error(), `"error"`) {
		t.Errorf("attach: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("that took %s", took)
	}
}

// TestFailedIsNotWaitedFor: an order was accepted, and the volume fails before it is carried out.
func TestFailedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	delays := simulator.DefaultDelays()
	delays.Attach = time.Hour
	s := newStatusesOn(t, simtest.Start(t, simtest.Options{Config: simulator.Config{Delays: delays}}))
	v, instance := s.create("pvc-1"), s.instance("node-1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.set("Error")
	for what, call := range map[string]func() error{
		"attach": func() error {
			_, err := s.Attach(ctx, v.ID, instance)
			return err
		},
		"expand": func() error {
			s.cloud.AwaitReads()
			for _, operation := range []string{"list_blocks", "get_block"} { // reads stay as they are now
				s.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStale})
			}
			_, _, err := s.Expand(ctx, v.ID, volume.Capacity{Required: 20 * volume.GiB})
			return err
		},
	} {
		if err := call(); volume.ReasonOf(err) != volume.Busy || !strings.Contains(err.Error(), `"Error"`) || ctx.Err() != nil {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
