package connect

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/durable"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	// leafReserve is how long before its end a server certificate is replaced.
	leafReserve = 30 * 24 * time.Hour
	// backdate forgives clients whose clocks are behind.
	backdate = time.Hour
)

// Authority is the certificate authority that vouches for the simulated api.vultr.com, and for nothing else: its
// certificate is constrained to that name, so who trusts it gives away no more.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer

	mu   sync.Mutex
	leaf *tls.Certificate
}

// OpenAuthority reads the authority from a file, which holds its key too and is readable by the owner only, or makes it
// and writes the file. One that has expired is made again.
func OpenAuthority(path string) (*Authority, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		a, err := parseAuthority(text)
		if err != nil {
			return nil, fmt.Errorf("the proxy's certificate authority %s: %w", path, err)
		}
		if time.Now().Before(a.cert.NotAfter.Add(-leafLife)) {
			return a, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the proxy's certificate authority: %w", err)
	}
	a, text, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("make the proxy's certificate authority: %w", err)
	}
	if err := replaceFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("keep the proxy's certificate authority: %w", err)
	}
	return a, nil
}

// CertificatePEM is what clients have to trust, for SSL_CERT_FILE.
func (a *Authority) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Publish writes the certificate, without the key, where clients find it.
func (a *Authority) Publish(path string) error {
	if err := replaceFile(path, a.CertificatePEM(), 0o644); err != nil {
		return fmt.Errorf("publish the proxy's certificate: %w", err)
	}
	return nil
}

func parseAuthority(text []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("it is not a certificate authority")
	}
	return &Authority{cert: pair.Leaf, key: key}, nil
}

// newAuthority makes an authority and the text of its file.
func newAuthority() (*Authority, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template, err := certificateFor(pkix.Name{CommonName: "Vultr simulator CA, not trusted by anybody else"}, authorityLife)
	if err != nil {
		return nil, nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	template.PermittedDNSDomainsCritical, template.PermittedDNSDomains = true, []string{Host}
	// A constraint on names says nothing of addresses.
	template.ExcludedIPRanges = []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	a, err := parseAuthority(text)
	return a, text, err
}

func certificateFor(name pkix.Name, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: name, NotBefore: now.Add(-backdate), NotAfter: now.Add(life)}, nil
}

// serverCertificate returns the certificate of api.vultr.com; it lives in memory only and is renewed in time.
func (a *Authority) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaf != nil && time.Now().Before(a.leaf.Leaf.NotAfter.Add(-leafReserve)) {
		return a.leaf, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := certificateFor(pkix.Name{CommonName: Host}, leafLife)
	if err != nil {
		return nil, err
	}
	template.DNSNames = []string{Host}
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	a.leaf = &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: parsed}
	return a.leaf, nil
}

// replaceFile writes a file whole or not at all, in a directory that may have to be made.
func replaceFile(path string, text []byte, mode fs.FileMode) error {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(filepath.Clean(dir), 0o755); err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, "."+name+".new"), path, text, mode)
}
