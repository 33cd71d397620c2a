package connect

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestAuthorityVouchesForNothingElse signs what a thief of the key would like to have, and nobody believes it.
func TestAuthorityVouchesForNothingElse(t *testing.T) {
	a, err := OpenAuthority(filepath.Join(t.TempDir(), "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	good, err := a.serverCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := good.Leaf.Verify(x509.VerifyOptions{DNSName: Host, Roots: roots}); err != nil {
		t.Errorf("its own certificate: %v", err)
	}
	forge := func(change func(template *x509.Certificate)) error {
		template := *good.Leaf
		template.DNSNames = nil
		change(&template)
		raw, err := x509.CreateCertificate(rand.Reader, &template, a.cert, good.Leaf.PublicKey, a.key)
		if err != nil {
			t.Fatal(err)
		}
		forged, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = forged.Verify(x509.VerifyOptions{Roots: roots})
		return err
	}
	if err := forge(func(c *x509.Certificate) { c.DNSNames = []string{Host} }); err != nil {
		t.Errorf("the forger's method does not work: %v", err)
	}
	if err := forge(func(c *x509.Certificate) { c.DNSNames = []string{"www.example.com"} }); err == nil {
		t.Error("a certificate for another name is believed")
	}
	if err := forge(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }); err == nil {
		t.Error("a certificate for an address is believed")
	}
}

// TestCertificatesAreRenewed: a simulator that runs for years, or is started after them, still has valid ones.
func TestCertificatesAreRenewed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.key")
	synctest.Test(t, func(t *testing.T) {
		a, err := OpenAuthority(path)
		if err != nil {
			t.Fatal(err)
		}
		leaf := func(a *Authority) *tls.Certificate {
			c, err := a.serverCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			if now := time.Now(); now.Before(c.Leaf.NotBefore) || now.After(c.Leaf.NotAfter) {
				t.Errorf("at %v the certificate is valid from %v to %v", now, c.Leaf.NotBefore, c.Leaf.NotAfter)
			}
			return c
		}
		first := leaf(a)
		if leaf(a) != first {
			t.Error("made anew without need")
		}
		time.Sleep(leafLife - leafReserve + time.Hour) // fake time
		if leaf(a) == first {
			t.Error("not renewed in time")
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(authorityLife) // fake time
		if a, err = OpenAuthority(path); err != nil {
			t.Fatal(err)
		}
		leaf(a)
		if after, err := os.ReadFile(path); err != nil || bytes.Equal(after, before) {
			t.Errorf("an authority that has expired is used: %v", err)
		}
	})
}
