package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
)

// maxVerbosity is how many bytes of a request to change the verbosity are read.
const maxVerbosity = 16

// Handler serves /healthz by running live, /readyz by running ready, and /metrics. What fails live is what a restart
// heals; what fails ready may need something else. What is PUT to /debug/flags/v from this host, or through kubectl
// port-forward, which comes from the pod's own, is the new verbosity of the log.
func Handler(live, ready func(context.Context) error, gatherer prometheus.Gatherer, setVerbosity func(string) error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", answer(live))
	mux.Handle("GET /readyz", answer(ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("PUT /debug/flags/v", func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.RemoteAddr) {
			http.Error(w, "the verbosity can be changed from this host alone: use kubectl port-forward", http.StatusForbidden)
			return
		}
		text, err := io.ReadAll(io.LimitReader(r.Body, maxVerbosity))
		if err == nil {
			err = setVerbosity(strings.TrimSpace(string(text)))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		klog.FromContext(r.Context()).Info("The verbosity of the log was changed", "v", strings.TrimSpace(string(text)))
		_, _ = w.Write([]byte("ok\n")) // who asked sees a lost answer
	})
	return mux
}

// isLocal reports whether an address is of the host itself.
func isLocal(address string) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().IsLoopback()
}

// answer runs the check for each request.
func answer(check func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := check(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // the prober sees a lost answer itself
	})
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
