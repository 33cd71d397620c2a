package simulator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/guard"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

const (
	// defaultMaxBody is far above any real request: a load balancer with fifteen rules and a certificate.
	defaultMaxBody = 1 << 20
	// smallBody is what every request may bring. Nearly all real ones stay below.
	smallBody = 64 << 10
	// largeBodies is what all requests together may bring beyond that at one time: else strangers, who are asked for
	// their key only when the body is there, could have any amount of memory.
	largeBodies = 64 << 20
)

// readBody reads a request to its end, within bounds; release gives back its share of what large ones may take, once
// the body is not needed any more. The platform's texts for what is beyond the bounds are unknown.
func (s *Simulator) readBody(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), err error) {
	if limit == 0 {
		limit = defaultMaxBody
	}
	release = func() {}
	done := guard.LimitBody(w)
	rest := http.MaxBytesReader(w, r.Body, limit)
	var buf bytes.Buffer
	_, err = io.CopyN(&buf, rest, smallBody)
	if err == nil { // there may be more
		ctx, cancel := context.WithTimeout(r.Context(), guard.BodyTimeout)
		defer cancel()
		if err := s.bodies.Acquire(ctx, limit); err != nil {
			busy := wire.Errorf(http.StatusServiceUnavailable, "Too many large requests at once.")
			busy.RetryAfter = 1
			return nil, release, busy
		}
		release = func() { s.bodies.Release(limit) }
		_, err = io.Copy(&buf, rest)
	}
	if err == nil || errors.Is(err, io.EOF) {
		done()
		return buf.Bytes(), release, nil
	}
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		return nil, release, wire.Errorf(http.StatusRequestEntityTooLarge, "Request entity too large.")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, release, wire.Errorf(http.StatusRequestTimeout, "Request timeout.")
	}
	return nil, release, wire.BadRequest("Invalid request body.")
}
