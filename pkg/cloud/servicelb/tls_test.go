package servicelb_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// certificate makes a TLS Secret whose certificate is valid until then.
func certificate(t *testing.T, until time.Time) *v1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(until.UnixNano()), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, DNSNames: []string{"web.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "tls"},
		Data: map[string][]byte{
			v1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			v1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		},
	}
}

func (w *world) putSecret(secret *v1.Secret) {
	w.Helper()
	secret.ResourceVersion = strconv.FormatInt(time.Now().UnixNano(), 10) // as the API server does
	secrets := w.client.CoreV1().Secrets(secret.Namespace)
	_, err := secrets.Update(w.Context(), secret, metav1.UpdateOptions{})
	if err != nil {
		_, err = secrets.Create(w.Context(), secret, metav1.CreateOptions{})
	}
	if err != nil {
		w.Fatal(err)
	}
}

func TestCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"), with(settings.BackendProtocol, "http"))
		w.wantEvent(`there is no Secret "tls" in namespace shop`)
		w.putSecret(certificate(t, time.Now().Add(-time.Hour)))
		w.wantEvent("expired")
		if n := w.writes(); n != 0 {
			t.Fatalf("%d writes without a certificate", n)
		}

		w.putSecret(certificate(t, time.Now().Add(100*time.Hour)))
		lb := w.settled(s)
		if !lb.HasSSL || lb.Rules[0].FrontendProtocol != "https" {
			t.Errorf("%+v", lb)
		}
		w.later(time.Minute)
		first := w.entry(s).Certificate
		before := w.writes()
		w.start()
		w.later(20 * time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("the same certificate was sent again, %d writes", n)
		}

		w.putSecret(certificate(t, time.Now().Add(200*time.Hour)))
		w.within(2*time.Second, "the renewed certificate is sent", func() bool { return w.writes()-before == 1 })
		w.later(20 * time.Minute)
		if n := w.writes() - before; n != 1 || w.entry(s).Certificate == first {
			t.Errorf("a renewed certificate is sent once: %d writes", n)
		}

		w.putSecret(certificate(t, time.Now().Add(-time.Hour)))
		w.wantEvent("the old certificate stays")
		w.edit(s, with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the new timeout and its certificate", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 && l.HasSSL })

		w.edit(s, without(settings.SSL), without(settings.HTTPSPorts), without(settings.BackendProtocol))
		w.shows(lb.ID, "has no certificate any more", func(l vultr.LoadBalancer) bool { return !l.HasSSL })
		w.later(time.Minute)
		if c := w.entry(s).Certificate; c != "" {
			t.Errorf("the ledger still knows a certificate: %s", c)
		}
		before = w.writes()
		w.putSecret(certificate(t, time.Now().Add(300*time.Hour)))
		w.later(time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes for a Secret that nobody names", n)
		}
		for _, event := range w.events() {
			if strings.Contains(event, "PRIVATE KEY") {
				t.Error("an Event tells the key")
			}
		}
	})
}

// One Secret of several Services reaches all of them; it is watched as long as one names it.
func TestSharedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.putSecret(certificate(t, time.Now().Add(100*time.Hour)))
		a := w.service("a", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		b := w.service("b", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.settled(a)
		w.settled(b)
		w.later(time.Minute)
		before := w.writes()
		w.putSecret(certificate(t, time.Now().Add(200*time.Hour)))
		w.within(3*time.Second, "both get it", func() bool { return w.writes()-before == 2 })
		w.delete(a)
		before = w.writes()
		w.putSecret(certificate(t, time.Now().Add(300*time.Hour)))
		w.within(3*time.Second, "the other one gets it", func() bool { return w.writes()-before == 1 })
	})
}
