// Package pending knows which operations have not come to their end, and since when. Each call of a sidecar or of the kubelet
// ends in time and is repeated, so none of them can say for how long the whole goes on; and of a detach that takes long nobody
// else tells people.
package pending

import (
	"context"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// LateAfter is when an operation counts as late: an attach or a detach usually takes some seconds.
	LateAfter = 90 * time.Second
	// givenUpAfter is how long after its last call an operation counts as given up, or as another process's: callers repeat
	// theirs every half a minute, the kubelet every two minutes at most.
	givenUpAfter = 5 * time.Minute
)

// Operation is what all calls of one operation have in common.
type Operation struct {
	Method string
	// Subject is the ID of a volume or of a snapshot, or the name of what is to be made.
	Subject string
	// Place is the ID of a node or a path on it, "" for neither.
	Place string
}

// of returns of which operation a request is a call; ok is false for one that only reads.
func of(req any) (op Operation, ok bool) {
	switch r := req.(type) {
	case *csi.CreateVolumeRequest:
		op = Operation{"CreateVolume", r.GetName(), ""}
	case *csi.DeleteVolumeRequest:
		op = Operation{"DeleteVolume", r.GetVolumeId(), ""}
	case *csi.ControllerPublishVolumeRequest:
		op = Operation{"ControllerPublishVolume", r.GetVolumeId(), r.GetNodeId()}
	case *csi.ControllerUnpublishVolumeRequest:
		op = Operation{"ControllerUnpublishVolume", r.GetVolumeId(), r.GetNodeId()}
	case *csi.ControllerExpandVolumeRequest:
		op = Operation{"ControllerExpandVolume", r.GetVolumeId(), ""}
	case *csi.ControllerModifyVolumeRequest:
		op = Operation{"ControllerModifyVolume", r.GetVolumeId(), ""}
	case *csi.CreateSnapshotRequest:
		op = Operation{"CreateSnapshot", r.GetName(), ""}
	case *csi.DeleteSnapshotRequest:
		op = Operation{"DeleteSnapshot", r.GetSnapshotId(), ""}
	case *csi.NodeStageVolumeRequest:
		op = Operation{"NodeStageVolume", r.GetVolumeId(), r.GetStagingTargetPath()}
	case *csi.NodeUnstageVolumeRequest:
		op = Operation{"NodeUnstageVolume", r.GetVolumeId(), r.GetStagingTargetPath()}
	case *csi.NodePublishVolumeRequest:
		op = Operation{"NodePublishVolume", r.GetVolumeId(), r.GetTargetPath()}
	case *csi.NodeUnpublishVolumeRequest:
		op = Operation{"NodeUnpublishVolume", r.GetVolumeId(), r.GetTargetPath()}
	case *csi.NodeExpandVolumeRequest:
		op = Operation{"NodeExpandVolume", r.GetVolumeId(), r.GetVolumePath()}
	}
	return op, op.Subject != ""
}

// Late is a failure of an operation that is late.
type Late struct {
	Operation

	Code codes.Code
	// Request is that of the call that failed.
	Request any
	// For is how long the operation has been going on.
	For time.Duration
}

// Step returns the last of a few times, ever further apart, that d has reached; the first is LateAfter. It is for what people
// are told again and again: words that change with each call would be an Event for each.
func Step(d time.Duration) time.Duration {
	step := LateAfter
	for _, next := range []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour} {
		if d >= next {
			step = next
		}
	}
	for step >= time.Hour && d/2 >= step {
		step *= 2
	}
	return step
}

// Watch knows the operations of a process. It is safe for concurrent use.
type Watch struct {
	late func(context.Context, Late)

	mu    sync.Mutex
	under map[Operation]*entry
}

type entry struct {
	since, last time.Time
	calls       int // that are running
}

// New returns a Watch. late is told of each failure of an operation that is late; nil tells nobody.
func New(late func(context.Context, Late)) *Watch {
	return &Watch{late: late, under: map[Operation]*entry{}}
}

// Intercept is a grpc.UnaryServerInterceptor. The error of an operation that is late says for how long it goes on.
func (w *Watch) Intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	op, ok := of(req)
	if !ok {
		return next(ctx, req)
	}
	end := w.begin(op)
	resp, err := next(ctx, req)
	s := status.Convert(err)
	since := end(s.Code())
	if isOver(s.Code()) || since < LateAfter {
		return resp, err
	}
	if w.late != nil {
		w.late(ctx, Late{Operation: op, Code: s.Code(), Request: req, For: since})
	}
	return resp, status.Errorf(s.Code(), "%s (this has been tried for %s)", s.Message(), since.Truncate(time.Minute).String())
}

// isOver reports whether an operation that was answered so is over: it is done, or nothing will come of it as it is asked
// for. Whatever else it fails for can pass by itself or be mended, and callers repeat it.
func isOver(code codes.Code) bool {
	switch code { //nolint:exhaustive // all others go on
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.OutOfRange, codes.Unimplemented:
		return true
	}
	return false
}

// begin notes a call, and returns what notes its end and returns for how long the operation has been going on.
func (w *Watch) begin(op Operation) (end func(codes.Code) time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.sweep(now)
	e := w.under[op]
	if e == nil {
		e = &entry{since: now}
		w.under[op] = e
	}
	e.calls++
	return func(code codes.Code) time.Duration {
		w.mu.Lock()
		defer w.mu.Unlock()
		e.calls, e.last = e.calls-1, time.Now()
		if isOver(code) && w.under[op] == e {
			delete(w.under, op)
		}
		return e.last.Sub(e.since)
	}
}

// sweep forgets what was given up. The lock is held.
func (w *Watch) sweep(now time.Time) {
	for op, e := range w.under {
		if e.calls == 0 && now.Sub(e.last) > givenUpAfter {
			delete(w.under, op)
		}
	}
}
