package main

import (
	"context"
	"encoding/hex"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// collected collects spans.
type collected struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans []*trace.Span
}

// Export takes spans.
func (c *collected) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// TestTracing: with the flag the span of a call belongs to that of its caller, and what is sent to the API to that of the call.
// Without it nothing is sent. The key is in none.
func TestTracing(t *testing.T) {
	for flag, traced := range map[string]bool{"--tracing": true, "--tracing=false": false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		all, server := &collected{}, grpc.NewServer()
		collector.RegisterTraceServiceServer(server, all)
		go server.Serve(l) //nolint:errcheck // it ends with the test
		cloud := simtest.Start(t, simtest.Options{})
		socket := filepath.Join(t.TempDir(), "csi.sock")
		cmd, out := program(t, []string{"VULTR_API_KEY=" + cloud.Key, "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + l.Addr().String()},
			"--mode=controller", "--region=ewr", "--http-endpoint=", "--endpoint="+socket, "--api-key-file=/none", "--api-url="+cloud.URL, "--v=4", flag)
		const traceID, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		ctx := metadata.AppendToOutgoingContext(starting(t), "traceparent", "00-"+traceID+"-"+caller+"-01")
		if _, err := csi.NewControllerClient(dial(t, socket)).ListVolumes(ctx, &csi.ListVolumesRequest{}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		end(t, cmd, out)
		server.Stop()
		for _, line := range []string{`"Answered"`, `"Vultr API call"`} {
			if lines := linesWith(out.String(), line, `method="ListVolumes"`); len(lines) == 0 || strings.Contains(lines[0], traceID) != traced {
				t.Errorf("%s: the log has %q", flag, lines)
			}
		}
		if traced {
			all.check(t, traceID, caller, cloud.Key)
		} else if len(all.spans) > 0 {
			t.Errorf("%s: spans are sent: %v", flag, all.spans)
		}
	}
}

// linesWith are the lines of a log that have all the texts.
func linesWith(log string, texts ...string) (lines []string) {
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// check looks for the call of ListVolumes, and for what it asked the API.
func (c *collected) check(t *testing.T, traceID, caller, key string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	call, asked := "", 0
	for _, s := range c.spans {
		if strings.Contains(s.GetName(), "ListVolumes") && hex.EncodeToString(s.GetTraceId()) == traceID && hex.EncodeToString(s.GetParentSpanId()) == caller {
			call = hex.EncodeToString(s.GetSpanId())
		}
		if strings.Contains(s.String(), key) {
			t.Errorf("the key is in a span: %v", s)
		}
	}
	for _, s := range c.spans {
		if call != "" && hex.EncodeToString(s.GetParentSpanId()) == call && strings.Contains(s.String(), "/v2/blocks") {
			asked++
		}
	}
	if call == "" || asked == 0 {
		t.Errorf("the call has span %q, and asked the API %d times: %v", call, asked, c.spans)
	}
}
