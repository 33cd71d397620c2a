package plan

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Certificate is a checked certificate.
type Certificate struct {
	// PEM is what is sent; it holds the private key.
	PEM vultr.Certificate
	// NotAfter is when it expires.
	NotAfter time.Time

	digest []byte
}

// ReadCertificate checks the pair in a TLS Secret, so that the platform is never sent one that it or every client
// would refuse. Its errors contain nothing of the private key.
func ReadCertificate(secret *v1.Secret, now time.Time) (*Certificate, error) {
	certPEM, keyPEM := secret.Data[v1.TLSCertKey], secret.Data[v1.TLSPrivateKeyKey]
	if len(certPEM) == 0 || len(keyPEM) == 0 {
		return nil, fmt.Errorf("Secret %s/%s lacks %s or %s: it must be of type %s", //nolint:staticcheck // a Kubernetes kind
			secret.Namespace, secret.Name, v1.TLSCertKey, v1.TLSPrivateKeyKey, v1.SecretTypeTLS)
	}
	cert, err := checkPair(certPEM, keyPEM, now)
	if err != nil {
		return nil, fmt.Errorf("Secret %s/%s cannot be used: %w", secret.Namespace, secret.Name, err) //nolint:staticcheck // a Kubernetes kind
	}
	return cert, nil
}

func checkPair(certPEM, keyPEM []byte, now time.Time) (*Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate and private key: %w", err)
	}
	chain := make([]*x509.Certificate, 0, len(pair.Certificate))
	for _, der := range pair.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, parsed)
	}
	if err := checkChain(chain, now); err != nil {
		return nil, err
	}
	digest := sha256.New()
	for _, der := range pair.Certificate {
		digest.Write(der)
	}
	return &Certificate{
		PEM:      vultr.Certificate{PrivateKey: string(keyPEM), Certificate: encode(chain[:1]), Chain: encode(chain[1:])},
		NotAfter: chain[0].NotAfter,
		digest:   digest.Sum(nil),
	}, nil
}

// checkChain checks that each certificate is valid and was issued by the one after it. A root at the end may have expired:
// clients trust their own copy, or none.
func checkChain(chain []*x509.Certificate, now time.Time) error {
	for i, cert := range chain {
		which := "the certificate"
		if i > 0 {
			which = fmt.Sprintf("certificate %d of the chain, %q,", i+1, cert.Subject.CommonName)
		}
		isRoot := i > 0 && i == len(chain)-1 && bytes.Equal(cert.RawIssuer, cert.RawSubject)
		switch {
		case now.After(cert.NotAfter) && !isRoot:
			return fmt.Errorf("%s expired at %s", which, cert.NotAfter.UTC().Format(time.RFC3339))
		case now.Before(cert.NotBefore):
			return fmt.Errorf("%s is not valid before %s", which, cert.NotBefore.UTC().Format(time.RFC3339))
		case i+1 < len(chain) && cert.CheckSignatureFrom(chain[i+1]) != nil:
			return fmt.Errorf("the certificates are not in order: certificate %d did not issue certificate %d", i+2, i+1)
		}
	}
	return nil
}

func encode(certs []*x509.Certificate) string {
	var b bytes.Buffer
	for _, cert := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	return b.String()
}

// Fingerprint identifies a certificate on a load balancer. It is computed from public parts alone: the private key
// belongs to the certificate, since the pair was checked.
func (c *Certificate) Fingerprint(loadBalancerID string) string {
	digest := sha256.Sum256(append([]byte(loadBalancerID+"\n"), c.digest...))
	return hex.EncodeToString(digest[:])
}

// TLS is what is known about the certificate of a Service's load balancer.
type TLS struct {
	// Certificate is the one that the Service names, nil if it names none or it cannot be used.
	Certificate *Certificate
	// Err says why the named certificate cannot be used.
	Err error
	// Sent is the fingerprint of the certificate that was sent to the load balancer for this Service, "" for none. A
	// certificate that somebody else gave it is not this Service's to replace or remove.
	Sent string
}

// DiffTLS compares a load balancer and its certificate with what is desired, and reports whether the certificate has to
// be removed once the change is applied. A certificate that cannot be used keeps the old one in place. Where there is no
// old one, https ports would be refused and everything else with them, so that only the backends are brought up to date.
func DiffTLS(current vultr.LoadBalancer, want Desired, t TLS) (change Change, remove bool) {
	if t.Err != nil && !current.HasSSL {
		return DiffBackends(current, want), false
	}
	change = Diff(current, want)
	if t.Certificate != nil && (!current.HasSSL || t.Sent != t.Certificate.Fingerprint(current.ID)) {
		change.Settings.Certificate = &t.Certificate.PEM
		change.Fields = append(change.Fields, "ssl")
	}
	return change, current.HasSSL && t.Sent != "" && want.TLSSecret == "" && want.AutoSSL == nil && !want.KeepTLS
}
