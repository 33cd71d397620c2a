package simulator

import (
	"encoding/base64"
	"slices"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// balancerRequest is the body of a create or an update. What is left out or null keeps its value.
type balancerRequest struct {
	Region        string                  `json:"region"`
	Label         *string                 `json:"label"`
	Nodes         *int                    `json:"nodes"`
	Algorithm     *string                 `json:"balancing_algorithm"`
	Timeout       *int                    `json:"timeout"`
	SSLRedirect   *bool                   `json:"ssl_redirect"`
	ProxyProtocol *bool                   `json:"proxy_protocol"`
	HTTP2         *bool                   `json:"http2"`
	HTTP3         *bool                   `json:"http3"`
	Sticky        *stickyRequest          `json:"sticky_session"`
	HealthCheck   *healthRequest          `json:"health_check"`
	Rules         *[]forwardingRule       `json:"forwarding_rules"`
	Firewall      *[]balancerFirewallRule `json:"firewall_rules"`
	Instances     *[]string               `json:"instances"`
	SSL           *sslRequest             `json:"ssl"`
	AutoSSL       *autoSSLRequest         `json:"auto_ssl"`
	VPC           *string                 `json:"vpc"`
	GlobalRegions *[]globalRegion         `json:"global_regions"`
}

type stickyRequest struct {
	CookieName *string `json:"cookie_name"`
}

type autoSSLRequest struct {
	Zone string `json:"domain_zone"`
	Sub  string `json:"domain_sub"`
}

type healthRequest struct {
	Protocol           *string `json:"protocol"`
	Port               *int    `json:"port"`
	Path               *string `json:"path"`
	CheckInterval      *int    `json:"check_interval"`
	ResponseTimeout    *int    `json:"response_timeout"`
	UnhealthyThreshold *int    `json:"unhealthy_threshold"`
	HealthyThreshold   *int    `json:"healthy_threshold"`
}

type sslRequest struct {
	PrivateKey     string `json:"private_key"`
	Certificate    string `json:"certificate"`
	Chain          string `json:"chain"`
	PrivateKeyB64  string `json:"private_key_b64"`
	CertificateB64 string `json:"certificate_b64"`
	ChainB64       string `json:"chain_b64"`
}

// certificate is a load balancer's certificate with its key. It is in the state file, which only its owner reads.
type certificate struct {
	Key  string `json:"key"`
	Cert string `json:"cert"` // with the chain
}

// set stores what a request gives.
func set[T any](target *T, given *T) {
	if given != nil {
		*target = *given
	}
}

// applyRequest returns the settings after a request, or why it is refused. It changes nothing.
func (s *Simulator) applyRequest(tx *store.Tx, region string, b balancerSettings, req balancerRequest) (balancerSettings, *wire.Error) {
	set(&b.Label, req.Label)
	set(&b.Nodes, req.Nodes)
	set(&b.Algorithm, req.Algorithm)
	set(&b.Timeout, req.Timeout)
	set(&b.SSLRedirect, req.SSLRedirect)
	set(&b.ProxyProtocol, req.ProxyProtocol)
	set(&b.HTTP2, req.HTTP2)
	set(&b.HTTP3, req.HTTP3)
	if req.Sticky != nil {
		set(&b.StickyCookie, req.Sticky.CookieName)
	}
	if req.HealthCheck != nil {
		b.HealthCheck = s.applyHealth(b.HealthCheck, *req.HealthCheck)
	}
	if req.Rules != nil {
		b.Rules = s.replaceRules(b.Rules, *req.Rules)
	}
	if req.Firewall != nil {
		b.Firewall = s.replaceFirewall(b.Firewall, *req.Firewall)
	}
	if req.Instances != nil {
		b.Instances = s.replaceInstances(b.Instances, *req.Instances)
	}
	if req.SSL != nil {
		cert, bad := req.SSL.parse()
		if bad != nil {
			return b, bad
		}
		b.Certificate, b.AutoSSL = cert, autoSSL{}
	}
	if req.AutoSSL != nil {
		var bad *wire.Error
		if b, bad = s.applyAutoSSL(tx, b, req); bad != nil {
			return b, bad
		}
	}
	set(&b.Global, req.GlobalRegions)
	if bad := s.checkGlobal(tx, region, b.Global); bad != nil {
		return b, bad
	}
	set(&b.VPC, req.VPC)
	if bad := s.checkVPCIn(tx, region, b.VPC); bad != nil {
		return b, bad
	}
	if bad := s.checkBackends(tx, region, b.Instances); bad != nil {
		return b, bad
	}
	return b, s.checkBalancer(b)
}

func (s *Simulator) applyHealth(h balancerHealth, req healthRequest) balancerHealth {
	set(&h.Protocol, req.Protocol)
	set(&h.Port, req.Port)
	set(&h.Path, req.Path)
	set(&h.CheckInterval, req.CheckInterval)
	set(&h.ResponseTimeout, req.ResponseTimeout)
	set(&h.UnhealthyThreshold, req.UnhealthyThreshold)
	set(&h.HealthyThreshold, req.HealthyThreshold)
	switch {
	case h.Protocol == "tcp" && s.keeps(quirkLBTCPPath):
		h.Path = ""
	case h.Path == "":
		h.Path = "/"
	}
	return h
}

// replaceRules returns the new set of rules. One that was there keeps its ID, so that its listener stays up.
func (s *Simulator) replaceRules(old, wanted []forwardingRule) []forwardingRule {
	out := make([]forwardingRule, 0, len(wanted))
	if !s.keeps(quirkLBReplace) {
		out = append(out, old...)
	}
	for _, r := range wanted {
		out = append(out, r.withID(old))
	}
	return out
}

func (r forwardingRule) withID(old []forwardingRule) forwardingRule {
	if r.BackendProtocol == "" {
		r.BackendProtocol = r.FrontendProtocol
	}
	for _, o := range old {
		r.ID = o.ID
		if r == o {
			return r
		}
	}
	r.ID = newRuleID()
	return r
}

func (s *Simulator) replaceFirewall(old, wanted []balancerFirewallRule) []balancerFirewallRule {
	out := make([]balancerFirewallRule, 0, len(wanted))
	if !s.keeps(quirkLBReplace) {
		out = append(out, old...)
	}
	for _, r := range wanted {
		out = append(out, r.withID(old))
	}
	return out
}

func (r balancerFirewallRule) withID(old []balancerFirewallRule) balancerFirewallRule {
	if r.IPType == "" {
		r.IPType = "v4"
	}
	for _, o := range old {
		r.ID = o.ID
		if r == o {
			return r
		}
	}
	r.ID = newRuleID()
	return r
}

func (s *Simulator) replaceInstances(old, wanted []string) []string {
	out := slices.Clone(wanted)
	if !s.keeps(quirkLBReplace) {
		out = append(out, old...)
	}
	if s.keeps(quirkLBSorted) {
		slices.Sort(out)
		return slices.Compact(out)
	}
	return out
}

// newRuleID makes an ID of the form that rules have: 16 hex digits.
func newRuleID() string {
	id := uuid.New()
	return uuidHex(id)[:16]
}

func uuidHex(id uuid.UUID) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 32)
	for _, b := range id {
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}

// parse reads the two forms of a certificate, which must not be mixed.
func (r sslRequest) parse() (*certificate, *wire.Error) {
	plain := r.PrivateKey != "" || r.Certificate != "" || r.Chain != ""
	encoded := r.PrivateKeyB64 != "" || r.CertificateB64 != "" || r.ChainB64 != ""
	if plain && encoded {
		return nil, ours("SSL: plain and base64 fields can not be mixed.")
	}
	fields := []string{r.PrivateKey, r.Certificate, r.Chain}
	if encoded {
		for i, text := range []string{r.PrivateKeyB64, r.CertificateB64, r.ChainB64} {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, ours("SSL: invalid base64.")
			}
			fields[i] = string(raw)
		}
	}
	cert := &certificate{Key: fields[0], Cert: fields[1]}
	if fields[2] != "" {
		if !isChain(fields[2]) {
			return nil, ours("SSL: invalid chain.")
		}
		cert.Cert += "\n" + fields[2]
	}
	return cert, cert.check()
}
