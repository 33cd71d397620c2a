package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// probeFor is how long one health check may take.
const probeFor = 5 * time.Second

// Prober asks a driver for its health over its own socket, so that a server that no longer answers shows too.
type Prober struct{ conn *grpc.ClientConn }

// NewProber makes a prober of the socket.
func NewProber(socket string) (*Prober, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("preparing health checks: %w", err)
	}
	return &Prober{conn: conn}, nil
}

// Close ends the prober's connection.
func (p *Prober) Close() error { return p.conn.Close() }

// Probe asks once.
func (p *Prober) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	resp, err := csi.NewIdentityClient(p.conn).Probe(ctx, &csi.ProbeRequest{})
	if err != nil {
		return err
	}
	if ready := resp.GetReady(); ready != nil && !ready.GetValue() {
		return errors.New("the driver answers that it is not ready, its log says why")
	}
	return nil
}

// Handler serves /healthz by running the check, and /metrics.
func Handler(check func(context.Context) error, gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := check(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // the prober sees a lost answer itself
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	return mux
}

// ServeHTTP answers on the listener until the context ends.
func ServeHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // nothing here is worth waiting for
	defer stop()
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
