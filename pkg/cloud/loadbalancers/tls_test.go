package loadbalancers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

var fixedTime = metav1.NewTime(time.Unix(1_800_000_000, 0))

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
		var err error
		w.eventually("the verdict", func() bool { _, err = w.ensure(s); return !isWait(err) })
		wantText(t, err, `there is no Secret "tls" in namespace shop`)

		w.putSecret(certificate(t, time.Now().Add(-time.Hour)))
		_, err = w.ensure(s)
		wantText(t, err, "expired")
		if n := w.writes(); n != 0 {
			t.Fatalf("%d writes without a certificate", n)
		}

		w.putSecret(certificate(t, time.Now().Add(time.Hour)))
		w.settled(s)
		if lb := w.only(); !lb.HasSSL || lb.Rules[0].FrontendProtocol != "https" {
			t.Errorf("%+v", lb)
		}
		first := w.fresh(s).Annotations[string(settings.Fingerprint)]
		before := w.writes()
		w.restart()
		w.settled(s)
		if n := w.writes() - before; n != 0 {
			t.Errorf("the same certificate was sent again, %d writes", n)
		}

		w.putSecret(certificate(t, time.Now().Add(2*time.Hour)))
		w.settled(s)
		if n := w.writes() - before; n != 1 || w.fresh(s).Annotations[string(settings.Fingerprint)] == first {
			t.Errorf("a renewed certificate must be sent once: %d writes", n)
		}

		w.putSecret(certificate(t, time.Now().Add(-time.Hour)))
		w.edit(s, with(settings.Timeout, "30"))
		_, err = w.ensure(s)
		wantText(t, err, "expired")
		if lb := w.only(); !lb.HasSSL || lb.Timeout != 30 {
			t.Errorf("the old certificate must stay, the rest must be changed: %+v", lb)
		}

		w.edit(s, func(s *v1.Service) {
			delete(s.Annotations, string(settings.SSL))
			delete(s.Annotations, string(settings.HTTPSPorts))
			delete(s.Annotations, string(settings.BackendProtocol))
		})
		w.settled(s)
		if lb := w.only(); lb.HasSSL || w.fresh(s).Annotations[string(settings.Fingerprint)] != "" {
			t.Errorf("the certificate must be gone: %+v, %v", lb, w.fresh(s).Annotations)
		}
		for _, event := range w.events() {
			if strings.Contains(event, "PRIVATE KEY") {
				t.Error("an event tells the key")
			}
		}
	})
}
