package server

import (
	"context"
	"fmt"
	"path"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
)

// calls numbers the calls of this process, so that the lines of one can be found together.
var calls atomic.Uint64

// subjectOf is what a request is about, "" for nothing in particular: the ID of a volume or of a snapshot, or the name of what is
// to be made, which has the UID of the claim. The sidecars, the kubelet and the node plugin name the same in their logs.
func subjectOf(req any) string {
	if r, ok := req.(interface{ GetVolumeId() string }); ok && r.GetVolumeId() != "" {
		return r.GetVolumeId()
	}
	if r, ok := req.(interface{ GetSnapshotId() string }); ok && r.GetSnapshotId() != "" {
		return r.GetSnapshotId()
	}
	if r, ok := req.(interface{ GetName() string }); ok {
		return r.GetName()
	}
	return ""
}

// withLogger gives the call a logger that knows its method, its number, what it is about and, if it is traced, its trace, which
// is the sidecar's.
func withLogger(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	logger := klog.Background().WithValues("method", path.Base(info.FullMethod), "call", calls.Add(1))
	if subject := subjectOf(req); subject != "" {
		logger = logger.WithValues("subject", subject)
	}
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		logger = logger.WithValues("traceID", id.String())
	}
	return next(klog.NewContext(ctx, logger), req)
}

// logCall logs failures always, and requests and answers when asked for, both without secrets.
func logCall(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	logger := klog.FromContext(ctx)
	began := time.Now()
	logger.V(5).Info("Called", "request", protosanitizer.StripSecrets(req))
	resp, err := next(ctx, req)
	switch {
	case err == nil:
		logger.V(4).Info("Answered", "request", protosanitizer.StripSecrets(req), "response", protosanitizer.StripSecrets(resp), "took", time.Since(began))
	case status.Code(err) == codes.Internal || status.Code(err) == codes.Unknown:
		logger.Error(err, "Failed", "request", protosanitizer.StripSecrets(req), "took", time.Since(began))
	default:
		logger.Info("Refused", "request", protosanitizer.StripSecrets(req), "code", status.Code(err), "reason", status.Convert(err).Message(), "took", time.Since(began))
	}
	return resp, err
}

// earlier ends the call a little before its caller gives up: an answer with a reason is worth more than the
// caller's bare "deadline exceeded", and what was begun is remembered properly.
func earlier(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return next(ctx, req)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-margin(time.Until(deadline))))
	defer cancel()
	return next(ctx, req)
}

// margin is a tenth of the time there is, at most a second.
func margin(left time.Duration) time.Duration { return min(left/10, time.Second) }

// recovered turns a panic into an error of this one call.
func recovered(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			klog.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "A call panicked", "stack", string(debug.Stack()))
			resp, err = nil, status.Errorf(codes.Internal, "a fault in the driver: %v", p)
		}
	}()
	return next(ctx, req)
}
