package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// verdict is what the checks so far say of a backend.
type verdict struct {
	checked bool
	healthy bool
	// streak counts the last checks in a row that contradict healthy.
	streak int
	// reason is the last failure in words.
	reason string
}

// next is the verdict after one more check. The first check decides alone: a new backend takes traffic as soon as it
// has answered once, and not before; later ones need as many in a row as the thresholds say.
func (v verdict) next(failure error, healthyAfter, unhealthyAfter int) verdict {
	ok := failure == nil
	if failure != nil {
		v.reason = reasonOf(failure)
	}
	if !v.checked {
		return verdict{checked: true, healthy: ok, reason: v.reason}
	}
	if ok == v.healthy {
		v.streak = 0
		return v
	}
	v.streak++
	needed := healthyAfter
	if v.healthy {
		needed = unhealthyAfter
	}
	if v.streak >= needed {
		v.healthy, v.streak = ok, 0
	}
	return v
}

// words says why a backend is not healthy, "" when it is.
func (v verdict) words() string {
	switch {
	case v.healthy:
		return ""
	case !v.checked:
		return "not checked yet"
	}
	return v.reason
}

// reasonOf shortens the usual failures to what people look for.
func reasonOf(err error) string {
	for _, known := range []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ECONNRESET} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return "no answer in time"
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err.Error()
	}
	return err.Error()
}

// watch checks one backend until ctx ends, at once and then at each interval, and reports every result.
func watch(ctx context.Context, interval time.Duration, check func(context.Context) error, report func(error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if ctx.Err() != nil {
			return
		}
		report(err)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// checker makes the check of one backend address. Checks never carry a PROXY header.
func checker(hc simulator.BalancerHealthCheck, address string, dial dialFunc) func(context.Context) error {
	target := net.JoinHostPort(address, strconv.Itoa(hc.Port))
	check := checkTCP(target, dial)
	if hc.Protocol == "http" || hc.Protocol == "https" {
		check = checkHTTP(hc.Protocol, target, hc.Path, dial)
	}
	return func(ctx context.Context) error {
		timeout := hc.Timeout
		if timeout <= 0 {
			timeout = dialTimeout
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return check(ctx)
	}
}

func checkTCP(target string, dial dialFunc) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := dial(ctx, "tcp", target)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// checkHTTP wants exactly 200. A backend's certificate is not verified, as it is made for another name.
func checkHTTP(scheme, target, path string, dial dialFunc) func(context.Context) error {
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:            dial,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHeaderBytes,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see the function's comment
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if !strings.HasPrefix(path, "/") { // else it would continue the target's name
		path = "/" + path
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+target+path, nil)
		if err != nil {
			return err
		}
		request.Header.Set("User-Agent", "vultr-health-check")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %d, not 200", response.StatusCode)
		}
		return nil
	}
}
