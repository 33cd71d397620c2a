package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

type sourceList []netip.Prefix

// SetKeys replaces the API keys that are accepted; with none, every key is.
func (s *Simulator) SetKeys(keys []string) {
	keys = slices.Clone(keys)
	s.keys.Store(&keys)
}

// SetAllowedSources replaces the account's access control list; with none, every address is allowed.
func (s *Simulator) SetAllowedSources(sources []netip.Prefix) {
	list := sourceList(slices.Clone(sources))
	s.sources.Store(&list)
}

// SetRateLimit changes the limit for everybody; 0 turns it off.
func (s *Simulator) SetRateLimit(perSecond float64) { s.limits.set(perSecond) }

func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return strings.TrimSpace(token)
}

// source is the asker's address without port; a request that came over no network has none.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (s *Simulator) authorize(r *http.Request) *wire.Error {
	token := bearer(r)
	if s.keeps(quirkToken) && !s.knowsKey(token) {
		return wire.Errorf(http.StatusUnauthorized, "Invalid API token.")
	}
	if s.keeps(quirkSourceACL) && !s.allowsSource(source(r)) {
		return wire.Errorf(http.StatusUnauthorized, "Unauthorized IP address: %s", source(r))
	}
	return nil
}

func (s *Simulator) knowsKey(token string) bool {
	if token == "" {
		return false
	}
	keys := *s.keys.Load()
	known := 0
	for _, k := range keys {
		known |= subtle.ConstantTimeCompare([]byte(k), []byte(token))
	}
	return known == 1 || len(keys) == 0
}

func (s *Simulator) allowsSource(address string) bool {
	list := *s.sources.Load()
	if len(list) == 0 {
		return true
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// limitUser says whose limit a request takes from. Of a key, which may be as long as a request's head, it has the hash.
func (s *Simulator) limitUser(r *http.Request) string {
	if s.cfg.RateLimitBy == RateLimitByKey {
		if token := bearer(r); token != "" {
			sum := sha256.Sum256([]byte(token))
			return "key " + string(sum[:])
		}
	}
	return "ip " + source(r)
}
