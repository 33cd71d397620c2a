package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/stats"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
)

// lastSpans is how long the spans of the last calls may take to be sent when the process ends.
const lastSpans = 5 * time.Second

// tracing makes a span of each CSI call and, below it, of each attempt at a call of the API. The zero value makes none.
type tracing struct{ provider *trace.TracerProvider }

// newTracing sends spans by OTLP over gRPC, to where the standard variables OTEL_EXPORTER_OTLP_* say. One that is not there is
// no fault: spans are lost then.
func newTracing(ctx context.Context, cfg Config) (tracing, error) {
	if !cfg.Tracing {
		return tracing{}, nil
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return tracing{}, fmt.Errorf("--tracing: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { klog.Background().V(2).Info("Traces are lost", "err", err) }))
	about := resource.NewSchemaless(
		attribute.String("service.name", "vultr-csi-"+cfg.Mode), attribute.String("service.version", version.Get().Version))
	return tracing{trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about))}, nil
}

// calls tells the tracer of CSI calls. A span belongs to that of the sidecar, if it sends one.
func (t tracing) calls() stats.Handler {
	if t.provider == nil {
		return nil
	}
	return otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(t.provider), otelgrpc.WithPropagators(propagation.TraceContext{}))
}

// around tells the tracer of what is sent to the API. The platform is told nothing of it.
func (t tracing) around() func(http.RoundTripper) http.RoundTripper {
	if t.provider == nil {
		return nil
	}
	return func(next http.RoundTripper) http.RoundTripper {
		return otelhttp.NewTransport(next, otelhttp.WithTracerProvider(t.provider),
			otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()))
	}
}

// end sends what was not sent yet.
func (t tracing) end(ctx context.Context) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSpans)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // whoever collects them may be away
}
