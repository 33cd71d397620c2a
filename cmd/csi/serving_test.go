package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
)

// TestServing: a replica leads while sidecars call it for more than what it can do.
func TestServing(t *testing.T) {
	for method, leads := range map[string]bool{
		csi.Identity_Probe_FullMethodName: false, csi.Identity_GetPluginInfo_FullMethodName: false,
		csi.Controller_ControllerGetCapabilities_FullMethodName: false, csi.Node_NodeGetInfo_FullMethodName: false,
		csi.Controller_ListVolumes_FullMethodName: true, csi.Controller_GetCapacity_FullMethodName: true, csi.Controller_CreateVolume_FullMethodName: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, counted := &serving{}, 0
			count := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				counted++
				return next(ctx, req)
			}
			answer, err := inTurn(s.intercept, count)(t.Context(), "question", &grpc.UnaryServerInfo{FullMethod: method}, func(_ context.Context, req any) (any, error) {
				return req, nil
			})
			if answer != "question" || err != nil || counted != 1 {
				t.Errorf("%s: got %v, %v after %d", method, answer, err, counted)
			}
			time.Sleep(10 * time.Minute) // of the fake clock
			if s.leads() != leads {
				t.Errorf("%s: it leads: %t", method, s.leads())
			}
			time.Sleep(10 * time.Minute) // of the fake clock
			if s.leads() {
				t.Errorf("%s: it leads although nobody calls", method)
			}
		})
	}
}

// TestServingToldOfSidecars: a sidecar that begins is told of, whichever other calls there are.
func TestServingToldOfSidecars(t *testing.T) {
	for method, begins := range map[string]int{
		csi.Identity_GetPluginCapabilities_FullMethodName: 1, csi.Identity_Probe_FullMethodName: 0, csi.Identity_GetPluginInfo_FullMethodName: 0,
		csi.Controller_ControllerGetCapabilities_FullMethodName: 0, csi.Controller_CreateVolume_FullMethodName: 0,
	} {
		begun := 0
		s := &serving{begun: func() { begun++ }}
		answer := func(context.Context, any) (any, error) { return "answer", nil }
		if _, err := s.intercept(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, answer); err != nil || begun != begins {
			t.Errorf("%s: told of %d, want %d, %v", method, begun, begins, err)
		}
		if _, err := (&serving{}).intercept(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, answer); err != nil {
			t.Errorf("%s, told nobody: %v", method, err)
		}
	}
}
