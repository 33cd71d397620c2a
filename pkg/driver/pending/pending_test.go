package pending

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// rig is a Watch in fake time.
type rig struct {
	*Watch
	t    *testing.T
	told []Operation
}

func bubble(t *testing.T, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t}
		r.Watch = New(func(_ context.Context, late Late) {
			if late.Code != codes.Unavailable || late.For < LateAfter || late.Request == nil {
				t.Errorf("told is %+v", late)
			}
			r.told = append(r.told, late.Operation)
		})
		test(r)
	})
}

// call is a call that takes the time.
func (r *rig) call(req any, takes time.Duration, result error) error {
	_, err := r.Intercept(r.t.Context(), req, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) {
		time.Sleep(takes) // of the fake clock
		return nil, result
	})
	return err
}

// shown is what the metrics say of a method.
func (r *rig) shown(method string) (count, oldest float64) {
	r.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.Watch)
	families, err := registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() != method {
				continue
			}
			if strings.HasSuffix(f.GetName(), "_seconds") {
				oldest = m.GetGauge().GetValue()
			} else {
				count = m.GetGauge().GetValue()
			}
		}
	}
	return count, oldest
}

var (
	errBusy  = status.Error(codes.Unavailable, "the instance is locked")
	toDetach = &csi.ControllerUnpublishVolumeRequest{VolumeId: "volume", NodeId: "node"}
)

// TestLate: calls that fail are one operation from the first on, which is told, and says so itself, when it is late. What is
// done is forgotten, and the next one begins at its own begin.
func TestLate(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 4 { // at 40, 80, 120 and 160 s
			err := r.call(toDetach, 10*time.Second, errBusy)
			if late := i >= 2; late != (len(r.told) == i-1 && i >= 2) || late != strings.Contains(err.Error(), "tried for") || status.Code(err) != codes.Unavailable {
				t.Errorf("call %d: %v, told were %v", i, err, r.told)
			}
			time.Sleep(30 * time.Second) // of the fake clock
		}
		if count, oldest := r.shown("ControllerUnpublishVolume"); count != 1 || oldest != 160 {
			t.Errorf("%v are pending, the oldest for %v s", count, oldest)
		}
		if err := r.call(toDetach, time.Second, errBusy); !strings.Contains(err.Error(), "the instance is locked (this has been tried for 2m0s)") {
			t.Errorf("got %v", err)
		}
		if err := r.call(toDetach, 10*time.Second, nil); err != nil || len(r.told) != 3 {
			t.Errorf("got %v, told were %v", err, r.told)
		}
		if count, _ := r.shown("ControllerUnpublishVolume"); count != 0 {
			t.Errorf("%v are pending when it is done", count)
		}
		if err := r.call(toDetach, 10*time.Second, errBusy); !errors.Is(err, errBusy) {
			t.Errorf("the next one: %v", err)
		}
		if r.told[0] != (Operation{"ControllerUnpublishVolume", "volume", "node"}) {
			t.Errorf("told is %v", r.told[0])
		}
	})
}

// TestRunning: a call that is running is pending, also one that is never answered; one after which nobody asks again is not for
// long.
func TestRunning(t *testing.T) {
	bubble(t, func(r *rig) {
		ended := make(chan error)
		go func() { ended <- r.call(toDetach, 10*time.Minute, errBusy) }()
		other := &csi.ControllerUnpublishVolumeRequest{VolumeId: "volume", NodeId: "other"}
		go func() { ended <- r.call(other, time.Minute, errBusy) }()
		time.Sleep(30 * time.Second) // of the fake clock
		if count, oldest := r.shown("ControllerUnpublishVolume"); count != 2 || oldest != 30 {
			t.Errorf("%v are pending, the oldest for %v s", count, oldest)
		}
		if err := <-ended; !errors.Is(err, errBusy) {
			t.Errorf("the shorter one ended with %v", err)
		}
		time.Sleep(givenUpAfter + time.Second) // of the fake clock
		if count, oldest := r.shown("ControllerUnpublishVolume"); count != 1 || oldest < 300 {
			t.Errorf("%v are pending, the oldest for %v s", count, oldest)
		}
		if err := r.call(other, time.Second, errBusy); !errors.Is(err, errBusy) {
			t.Errorf("what was given up goes on: %v", err)
		}
		if err := <-ended; err == nil {
			t.Error("the longer one did not fail")
		}
	})
}

// TestOver: what can never succeed as it is asked for is over, and what only reads is nobody's operation.
func TestOver(t *testing.T) {
	bubble(t, func(r *rig) {
		for code, over := range map[codes.Code]bool{
			codes.OK: true, codes.InvalidArgument: true, codes.NotFound: true, codes.AlreadyExists: true, codes.OutOfRange: true,
			codes.Unavailable: false, codes.Aborted: false, codes.DeadlineExceeded: false, codes.FailedPrecondition: false,
			codes.ResourceExhausted: false, codes.Internal: false, codes.Unauthenticated: false,
		} {
			_ = r.call(&csi.DeleteVolumeRequest{VolumeId: code.String()}, 0, status.Error(code, "it"))
			if _, pends := r.under[Operation{"DeleteVolume", code.String(), ""}]; pends == over {
				t.Errorf("%s: pending is %t", code, pends)
			}
		}
		_ = r.call(&csi.ListVolumesRequest{}, time.Hour, errBusy)
		if count, _ := r.shown("ListVolumes"); count != 0 {
			t.Error("a list is pending")
		}
	})
}

// TestOperations: each request that does something is an operation of its method, volume and place.
func TestOperations(t *testing.T) {
	for want, req := range map[Operation]proto.Message{
		{"CreateVolume", "n", ""}:               &csi.CreateVolumeRequest{Name: "n"},
		{"DeleteVolume", "v", ""}:               &csi.DeleteVolumeRequest{VolumeId: "v"},
		{"ControllerPublishVolume", "v", "i"}:   &csi.ControllerPublishVolumeRequest{VolumeId: "v", NodeId: "i"},
		{"ControllerUnpublishVolume", "v", "i"}: &csi.ControllerUnpublishVolumeRequest{VolumeId: "v", NodeId: "i"},
		{"ControllerExpandVolume", "v", ""}:     &csi.ControllerExpandVolumeRequest{VolumeId: "v"},
		{"ControllerModifyVolume", "v", ""}:     &csi.ControllerModifyVolumeRequest{VolumeId: "v"},
		{"CreateSnapshot", "n", ""}:             &csi.CreateSnapshotRequest{Name: "n", SourceVolumeId: "v"},
		{"DeleteSnapshot", "s", ""}:             &csi.DeleteSnapshotRequest{SnapshotId: "s"},
		{"NodeStageVolume", "v", "/s"}:          &csi.NodeStageVolumeRequest{VolumeId: "v", StagingTargetPath: "/s"},
		{"NodeUnstageVolume", "v", "/s"}:        &csi.NodeUnstageVolumeRequest{VolumeId: "v", StagingTargetPath: "/s"},
		{"NodePublishVolume", "v", "/t"}:        &csi.NodePublishVolumeRequest{VolumeId: "v", StagingTargetPath: "/s", TargetPath: "/t"},
		{"NodeUnpublishVolume", "v", "/t"}:      &csi.NodeUnpublishVolumeRequest{VolumeId: "v", TargetPath: "/t"},
		{"NodeExpandVolume", "v", "/p"}:         &csi.NodeExpandVolumeRequest{VolumeId: "v", VolumePath: "/p"},
	} {
		if got, ok := of(req); got != want || !ok {
			t.Errorf("%T is of %+v", req, got)
		}
	}
	for _, req := range []proto.Message{&csi.ProbeRequest{}, &csi.NodeGetVolumeStatsRequest{VolumeId: "v"}, &csi.ControllerGetVolumeRequest{VolumeId: "v"}, &csi.DeleteVolumeRequest{}} {
		if got, ok := of(req); ok {
			t.Errorf("%T is of %+v", req, got)
		}
	}
}

// TestStep: what people are told of a time changes seldom, and never says more than is true.
func TestStep(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		LateAfter: LateAfter, 299 * time.Second: LateAfter, 5 * time.Minute: 5 * time.Minute, 16 * time.Minute: 15 * time.Minute,
		59 * time.Minute: 30 * time.Minute, time.Hour: time.Hour, 119 * time.Minute: time.Hour, 2 * time.Hour: 2 * time.Hour,
		7 * time.Hour: 4 * time.Hour, 100 * time.Hour: 64 * time.Hour, math.MaxInt64: (1 << 21) * time.Hour,
	} {
		if got := Step(d); got != want {
			t.Errorf("%s is told as %s, not %s", d, got, want)
		}
	}
}
