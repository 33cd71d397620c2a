package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// autoSSL is the name that the platform keeps a certificate for, in the API's own form. It is empty when it does not.
type autoSSL struct {
	Zone   string `json:"domain_zone"`
	Sub    string `json:"domain_sub"`
	Domain string `json:"domain"` // the two together
}

// globalRegion is a further region of a load balancer, in the API's own form.
type globalRegion struct {
	RegionID string `json:"region_id"`
	VPCID    string `json:"vpc_id"`
}

// reverseDNS is the names of the load balancer's addresses. Nobody resolves them.
type reverseDNS struct {
	V4 string         `json:"v4,omitempty"`
	V6 []reverseEntry `json:"v6,omitempty"`
}

type reverseEntry struct {
	Domain string `json:"domain"`
	IP     string `json:"ip"`
}

var balancerExtraRoutes = []route{
	{method: "DELETE", path: "/v2/load-balancers/{id}/auto_ssl", operation: "delete_load_balancer_auto_ssl", handle: (*Simulator).deleteBalancerAutoSSL},
	{method: "GET", path: "/v2/load-balancers/{id}/reverse-dns", operation: "get_load_balancer_reverse_dns", handle: (*Simulator).getBalancerReverse},
	{method: "PUT", path: "/v2/load-balancers/{id}/reverse-dns", operation: "set_load_balancer_reverse_ipv4", handle: (*Simulator).setBalancerReverseV4},
	{method: "POST", path: "/v2/load-balancers/{id}/reverse-dns", operation: "create_load_balancer_reverse_ipv6", handle: (*Simulator).createBalancerReverseV6},
	{method: "DELETE", path: "/v2/load-balancers/{id}/reverse-dns", operation: "delete_load_balancer_reverse_ipv6", handle: (*Simulator).deleteBalancerReverseV6},
}

// The platform's texts are unknown.
var (
	errNotHosted  = ours("auto_ssl: the domain is not hosted on Vultr DNS.")
	errTwoSources = ours("auto_ssl and ssl can not be combined.")
	errNoReverse  = ours("Invalid reverse DNS entry: a domain and an address of the load balancer are needed.")
)

// applyAutoSSL gives the settings with a certificate for the name. The platform fetches one from a public authority
// within minutes; this one is there at once and signed by itself.
func (s *Simulator) applyAutoSSL(tx *store.Tx, b balancerSettings, req balancerRequest) (balancerSettings, *wire.Error) {
	wanted := autoSSL{Zone: strings.ToLower(req.AutoSSL.Zone), Sub: strings.ToLower(req.AutoSSL.Sub)}
	if wanted.Zone == "" {
		b.AutoSSL = autoSSL{}
		return b, nil
	}
	if req.SSL != nil {
		return b, errTwoSources
	}
	if _, hosted := s.domains.GetIn(tx, wanted.Zone); !hosted {
		return b, errNotHosted
	}
	wanted.Domain = strings.TrimPrefix(wanted.Sub+"."+wanted.Zone, ".")
	if !domainName.MatchString(wanted.Domain) {
		return b, errNotHosted
	}
	if wanted == b.AutoSSL && b.Certificate != nil {
		return b, nil
	}
	cert, err := selfSigned(wanted.Domain)
	if err != nil {
		return b, ours("auto_ssl: %v", err)
	}
	b.AutoSSL, b.Certificate = wanted, cert
	return b, nil
}

// certificateLife is long, for nobody renews it.
const certificateLife = 10 * 365 * 24 * time.Hour

func selfSigned(name string) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &certificate{
		Cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}, nil
}

// deleteBalancerAutoSSL ends the renewal. The certificate stays, as the API's description says.
func (s *Simulator) deleteBalancerAutoSSL(c *call) (int, any, error) {
	err := s.changeBalancer(c.id(), func(_ *store.Tx, l *loadBalancer) error {
		l.AutoSSL = autoSSL{}
		return nil
	})
	return s.noContent(), nil, err
}

// checkGlobal demands further regions that sell load balancers, each once, with VPCs of their own.
func (s *Simulator) checkGlobal(tx *store.Tx, home string, regions []globalRegion) *wire.Error {
	seen := []string{home}
	for _, g := range regions {
		if bad := s.mayBalanceIn(g.RegionID); bad != nil {
			return bad
		}
		if slices.Contains(seen, g.RegionID) {
			return ours("global_regions: %s is in the list twice, or the load balancer's own region.", g.RegionID)
		}
		seen = append(seen, g.RegionID)
		if bad := s.checkVPCIn(tx, g.RegionID, g.VPCID); bad != nil {
			return bad
		}
	}
	return nil
}

func (s *Simulator) getBalancerReverse(c *call) (int, any, error) {
	l, ok := s.balancers.Get(c.id())
	if !ok {
		return 0, nil, errNoBalancer
	}
	v4 := []reverseEntry{}
	if l.Reverse.V4 != "" {
		v4 = append(v4, reverseEntry{Domain: l.Reverse.V4, IP: l.Address})
	}
	// The shape of the platform's answer is unknown; this one follows those of its requests.
	return http.StatusOK, map[string]any{"reverse_dns": map[string]any{"v4": v4, "v6": orEmpty(l.Reverse.V6)}}, nil
}

func (s *Simulator) setBalancerReverseV4(c *call) (int, any, error) {
	var req struct {
		V4 string `json:"v4"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	return s.changeReverse(c, func(l *loadBalancer) error {
		if !domainName.MatchString(strings.ToLower(req.V4)) {
			return errNoReverse
		}
		l.Reverse.V4 = req.V4
		return nil
	})
}

func (s *Simulator) createBalancerReverseV6(c *call) (int, any, error) {
	var req struct {
		V6 []reverseEntry `json:"v6"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	return s.changeReverse(c, func(l *loadBalancer) error {
		for _, entry := range req.V6 {
			address, err := netip.ParseAddr(entry.IP)
			if err != nil || l.AddressV6 == "" || address.String() != l.AddressV6 || !domainName.MatchString(strings.ToLower(entry.Domain)) {
				return errNoReverse
			}
			l.Reverse.V6 = []reverseEntry{{Domain: entry.Domain, IP: address.String()}}
		}
		return nil
	})
}

func (s *Simulator) deleteBalancerReverseV6(c *call) (int, any, error) {
	return s.changeReverse(c, func(l *loadBalancer) error {
		l.Reverse.V6 = nil
		return nil
	})
}

// changeReverse changes the names alone; the data plane has nothing to do with them.
func (s *Simulator) changeReverse(c *call, change func(l *loadBalancer) error) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		l, ok := s.balancers.GetIn(tx, c.id())
		if !ok {
			return errNoBalancer
		}
		if err := change(&l); err != nil {
			return err
		}
		s.balancers.Put(tx, l.ID, l)
		return nil
	})
	return s.noContent(), nil, err
}
