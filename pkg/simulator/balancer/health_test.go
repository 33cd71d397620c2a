package balancer

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is a backend that answers each health check as its script says and notes what was thought of it when the
// check came: "+" healthy, "-" not.
type script struct {
	mu      sync.Mutex
	answers string
	thought strings.Builder
	paths   map[string]bool
	health  func() bool
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths[r.URL.String()] = true
	at := s.thought.Len()
	if at >= len(s.answers) {
		return
	}
	s.thought.WriteString(map[bool]string{true: "+", false: "-"}[s.health()])
	if s.answers[at] == '-' {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// TestHealthThresholds counts the checks over the wire: three bad ones in a row make a backend sick, two good ones
// healthy, and the first one decides alone.
func TestHealthThresholds(t *testing.T) {
	for _, protocol := range []string{"http", "https"} {
		t.Run(protocol, func(t *testing.T) {
			addresses, port := group(t, 1)
			r := newRig(t, rule("tcp", 8080, port))
			s := &script{answers: "+--+---++-++", paths: map[string]bool{}}
			s.health = func() bool {
				all := r.plane.Health(r.spec.ID)
				return len(all) == 1 && all[0].Healthy // the first check may come before the backend is shown
			}
			listener := listen(t, addresses[0], port)
			if protocol == "https" {
				own := certificate(t, "node.example")
				pair, err := tls.X509KeyPair(own.CertificatePEM, own.PrivateKeyPEM)
				if err != nil {
					t.Fatal(err)
				}
				listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
			}
			server := &http.Server{Handler: s, ReadHeaderTimeout: patience}
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(func() { _ = server.Close() })
			r.spec.HealthCheck.Protocol, r.spec.HealthCheck.Path = protocol, "healthz?a=b" // the slash is missing
			r.spec.HealthCheck.Interval = 5 * time.Millisecond
			r.spec.HealthCheck.UnhealthyThreshold, r.spec.HealthCheck.HealthyThreshold = 3, 2
			r.backends(addresses)
			r.apply()
			await(t, "the script to be played", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.thought.Len() == len(s.answers)
			})
			s.mu.Lock()
			defer s.mu.Unlock()
			//                 answers "+--+---++-++"
			if want := "-++++++--+++"; s.thought.String() != want {
				t.Errorf("answered %s, thought of as %s, want %s", s.answers, s.thought.String(), want)
			}
			if fmt.Sprint(s.paths) != "map[/healthz?a=b:true]" {
				t.Errorf("asked for %v", s.paths)
			}
		})
	}
}
