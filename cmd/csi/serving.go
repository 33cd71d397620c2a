package main

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// servingFor is how long a call tells that its sidecar leads: the attacher lists volumes every 10 minutes, and the provisioner
// asks for capacity every 5 (controller.yaml).
const servingFor = 15 * time.Minute

// controllerMethods begins the names of the controller's calls.
var controllerMethods = strings.TrimSuffix(csi.Controller_CreateVolume_FullMethodName, "CreateVolume")

// serving knows whether this is the replica whose sidecars lead, by the calls that it gets: those of a sidecar that does not lead
// end with what the driver can do. Where the leases of different sidecars are with different replicas, it is each of these.
// It is safe for concurrent use.
type serving struct {
	last atomic.Int64 // when such a call came last, in nanoseconds of Unix time
	// begun is called when a sidecar begins to call; nil is nobody. One that loses the lead ends, and is started again.
	begun func()
}

// intercept is a grpc.UnaryServerInterceptor.
func (s *serving) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if isWork(info) {
		s.last.Store(time.Now().UnixNano())
	}
	// Every sidecar asks for these when it begins, before it can lead, and none later: the controller's capabilities are asked for
	// with each snapshot as well, and the name with each probe.
	if info.FullMethod == csi.Identity_GetPluginCapabilities_FullMethodName && s.begun != nil {
		s.begun()
	}
	return next(ctx, req)
}

// isWork reports whether a call is one of the controller's, and more than a question what it can do.
func isWork(info *grpc.UnaryServerInfo) bool {
	return strings.HasPrefix(info.FullMethod, controllerMethods) && info.FullMethod != csi.Controller_ControllerGetCapabilities_FullMethodName
}

// alone is a grpc.UnaryServerInterceptor that refuses the controller's work while the official driver's controller runs. A
// sidecar that has started calls although the driver is not ready any more. Its call is repeated, and what it began before may
// go on: Unavailable says no more than that.
func (p *process) alone(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if p.beside != nil && isWork(info) {
		if err := p.beside.Check(ctx); err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
	}
	return next(ctx, req)
}

// leads reports whether a sidecar that leads has called lately.
func (s *serving) leads() bool { return time.Since(time.Unix(0, s.last.Load())) < servingFor }

// inTurn is interceptors one inside of the other.
func inTurn(outer, inner grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return outer(ctx, req, info, func(ctx context.Context, req any) (any, error) { return inner(ctx, req, info, next) })
	}
}
