package plan_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate that is valid for a day around noon, signed by the issuer or by itself.
func issue(t *testing.T, name string, by *issuer) (issuer, []byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: noon.Add(-12 * time.Hour), NotAfter: noon.Add(12 * time.Hour), IsCA: by == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	parent := issuer{cert: template, key: key}
	if by != nil {
		parent = *by
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{cert: cert, key: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func secret(cert, key []byte) *v1.Secret {
	return &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "tls"}, Data: map[string][]byte{v1.TLSCertKey: cert, v1.TLSPrivateKeyKey: key}}
}

func TestReadCertificate(t *testing.T) {
	ca, caPEM, _ := issue(t, "ca.example.com", nil)
	_, leafPEM, keyPEM := issue(t, "web.example.com", &ca)
	_, otherPEM, otherKey := issue(t, "other.example.com", nil)
	chain := append(append([]byte{}, leafPEM...), caPEM...)
	tests := map[string]struct {
		secret *v1.Secret
		now    time.Time
		fault  string
	}{
		"leaf alone":     {secret(leafPEM, keyPEM), noon, ""},
		"chain":          {secret(chain, keyPEM), noon, ""},
		"expired":        {secret(leafPEM, keyPEM), noon.Add(24 * time.Hour), "expired at 2026-11-24T00:00:00Z"},
		"not yet valid":  {secret(leafPEM, keyPEM), noon.Add(-24 * time.Hour), "not valid before"},
		"other key":      {secret(leafPEM, otherKey), noon, "private key does not match"},
		"wrong chain":    {secret(append(append([]byte{}, leafPEM...), otherPEM...), keyPEM), noon, "not in order"},
		"no certificate": {secret(nil, keyPEM), noon, "lacks tls.crt"},
		"garbage":        {secret([]byte("garbage"), keyPEM), noon, "cannot be used"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cert, err := plan.ReadCertificate(tt.secret, tt.now)
			if (tt.fault == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Fatalf("got %v, want %q", err, tt.fault)
			}
			if err != nil {
				if strings.Contains(err.Error(), "PRIVATE KEY-----") {
					t.Error("the error tells the key")
				}
				return
			}
			if cert.PEM.Certificate != string(leafPEM) || cert.PEM.PrivateKey != string(keyPEM) {
				t.Error("leaf and key must be sent as they are")
			}
			if hasChain := cert.PEM.Chain == string(caPEM); hasChain != (name == "chain") {
				t.Errorf("chain %q", cert.PEM.Chain)
			}
		})
	}
}

// authority makes a certificate that may issue others, valid until then.
func authority(t *testing.T, name string, by *issuer, until time.Time) (issuer, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: noon.Add(-48 * time.Hour), NotAfter: until,
	}
	parent := issuer{cert: template, key: key}
	if by != nil {
		parent = *by
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{cert: cert, key: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Every link of a chain is checked, and that no certificate in it has expired but for a root, which clients have themselves.
func TestReadChain(t *testing.T) {
	later, before := noon.Add(48*time.Hour), noon.Add(-time.Hour)
	root, rootPEM := authority(t, "root", nil, later)
	_, staleRootPEM := authority(t, "stale root", nil, before)
	middle, middlePEM := authority(t, "middle", &root, later)
	stale, stalePEM := authority(t, "stale", &root, before)
	_, leafPEM, keyPEM := issue(t, "web.example.com", &middle)
	_, staleLeafPEM, staleKeyPEM := issue(t, "web.example.com", &stale)
	expired, expiredPEM := authority(t, "expired root", nil, before)
	under, underPEM := authority(t, "under", &expired, later)
	_, underLeafPEM, underKeyPEM := issue(t, "web.example.com", &under)
	for name, tt := range map[string]struct {
		chain [][]byte
		key   []byte
		fault string
	}{
		"without the root":     {[][]byte{leafPEM, middlePEM}, keyPEM, ""},
		"with the root":        {[][]byte{leafPEM, middlePEM, rootPEM}, keyPEM, ""},
		"the root is stale":    {[][]byte{underLeafPEM, underPEM, expiredPEM}, underKeyPEM, ""},
		"another root":         {[][]byte{leafPEM, middlePEM, staleRootPEM}, keyPEM, "certificate 3 did not issue certificate 2"},
		"in the wrong order":   {[][]byte{leafPEM, rootPEM, middlePEM}, keyPEM, "certificate 2 did not issue certificate 1"},
		"the middle is stale":  {[][]byte{staleLeafPEM, stalePEM, rootPEM}, staleKeyPEM, `certificate 2 of the chain, "stale", expired at 2026-11-23T11:00:00Z`},
		"something at its end": {[][]byte{leafPEM, middlePEM, rootPEM, stalePEM}, keyPEM, "certificate 4 did not issue certificate 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plan.ReadCertificate(secret(slices.Concat(tt.chain...), tt.key), noon)
			if (tt.fault == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %v, want %q", err, tt.fault)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	_, a, aKey := issue(t, "web.example.com", nil)
	_, b, bKey := issue(t, "web.example.com", nil)
	first, err := plan.ReadCertificate(secret(a, aKey), noon)
	if err != nil {
		t.Fatal(err)
	}
	second, err := plan.ReadCertificate(secret(b, bKey), noon)
	if err != nil {
		t.Fatal(err)
	}
	again, err := plan.ReadCertificate(secret(a, aKey), noon)
	if err != nil {
		t.Fatal(err)
	}
	if first.Fingerprint("x") != again.Fingerprint("x") || first.Fingerprint("x") == second.Fingerprint("x") || first.Fingerprint("x") == first.Fingerprint("y") {
		t.Error("a fingerprint must tell certificates and load balancers apart, and nothing else")
	}
}

func TestDiffTLS(t *testing.T) {
	_, certPEM, keyPEM := issue(t, "web.example.com", nil)
	cert, err := plan.ReadCertificate(secret(certPEM, keyPEM), noon)
	if err != nil {
		t.Fatal(err)
	}
	named := plan.Read(https()).Desired
	named.Instances = []string{idA}
	unnamed, kept := named, named
	unnamed.TLSSecret, kept.TLSSecret, kept.KeepTLS = "", "", true
	issued := unnamed
	issued.AutoSSL = &vultr.AutoSSL{Zone: "example.com"}
	bad := errors.New("expired")
	tests := map[string]struct {
		hasSSL bool
		want   plan.Desired
		tls    plan.TLS
		fields []string
		remove bool
	}{
		"first":                       {false, named, plan.TLS{Certificate: cert}, []string{"ssl"}, false},
		"there already":               {true, named, plan.TLS{Certificate: cert, Sent: cert.Fingerprint(idA)}, nil, false},
		"renewed":                     {true, named, plan.TLS{Certificate: cert, Sent: "older"}, []string{"ssl"}, false},
		"sent to another one":         {true, named, plan.TLS{Certificate: cert, Sent: cert.Fingerprint(idB)}, []string{"ssl"}, false},
		"lost by the platform":        {false, named, plan.TLS{Certificate: cert, Sent: cert.Fingerprint(idA)}, []string{"ssl"}, false},
		"somebody else's is replaced": {true, named, plan.TLS{Certificate: cert}, []string{"ssl"}, false},
		"bad, an old one there":       {true, named, plan.TLS{Err: bad, Sent: "older"}, nil, false},
		"no longer named":             {true, unnamed, plan.TLS{Sent: "older"}, nil, true},
		"not named, somebody else's":  {true, unnamed, plan.TLS{}, nil, false},
		"not named, none there":       {false, unnamed, plan.TLS{Sent: "older"}, nil, false},
		"the platform issues one":     {true, issued, plan.TLS{Sent: "older"}, nil, false},
		"asked for in other words":    {true, kept, plan.TLS{Sent: "older"}, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lb := applied(vultr.LoadBalancer{ID: idA, HasSSL: tt.hasSSL}, plan.Creation(tt.want))
			change, remove := plan.DiffTLS(lb, tt.want, tt.tls)
			if !slices.Equal(change.Fields, tt.fields) || remove != tt.remove {
				t.Errorf("changes %v, removes %v", change.Fields, remove)
			}
			if sent := change.Settings.Certificate; (sent != nil) != (len(tt.fields) > 0) || sent != nil && *sent != cert.PEM {
				t.Errorf("sends %v", sent)
			}
		})
	}
	t.Run("bad, none there", func(t *testing.T) {
		change, remove := plan.DiffTLS(vultr.LoadBalancer{ID: idA}, named, plan.TLS{Err: bad})
		if !slices.Equal(change.Fields, []string{"instances"}) || remove {
			t.Errorf("without a certificate the platform refuses https, and all that is sent with it: %v", change.Fields)
		}
		change, _ = plan.DiffTLS(vultr.LoadBalancer{ID: idA, HasSSL: true}, named, plan.TLS{Err: bad})
		if !slices.Contains(change.Fields, "forwarding_rules") || change.Settings.Certificate != nil {
			t.Errorf("the rest must be brought up to date: %v", change.Fields)
		}
	})
}
