package scenario

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// shopName is what the certificates are for.
const shopName = "shop.example.com"

// certificateRenewed replaces a certificate that clients check, and are shown, all the time.
func certificateRenewed(ctx context.Context, w *World) (string, error) {
	trusted := x509.NewCertPool()
	first, err := newCertificate(1, trusted)
	if err != nil {
		return "", err
	}
	second, err := newCertificate(2, trusted)
	if err != nil {
		return "", err
	}
	secrets := w.Kubernetes.CoreV1().Secrets(w.Namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: greeter}, Type: corev1.SecretTypeTLS, Data: first}
	if secret, err = secrets.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	if err := w.greeters(ctx, 2, nil); err != nil {
		return "", err
	}
	address, err := w.balance(ctx, []corev1.ServicePort{tcpPort(443)}, func(s *corev1.Service) {
		s.Annotations[loadBalancer+"https-ports"] = "443"
		s.Annotations[loadBalancer+"backend-protocol"] = "http"
		s.Annotations[loadBalancer+"ssl"] = greeter
	})
	if err != nil {
		return "", err
	}
	ask := func(ctx context.Context) (string, error) { return w.shown(ctx, "https://"+address+"/", trusted) }
	if err := w.answers(ctx, "https answers", ask); err != nil {
		return "", err
	}
	var took time.Duration
	asked, err := under(ctx, ask, func(ctx context.Context, t *traffic) error {
		secret.Data = second
		if _, err := secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
			return err
		}
		began := time.Now()
		err := w.wait(ctx, "clients are shown the second certificate", func(context.Context) error {
			if t.answeredBy("2") == 0 {
				return fmt.Errorf("%d were shown the first one", t.answeredBy("1"))
			}
			return nil
		})
		took = time.Since(began)
		return err
	})
	return fmt.Sprintf("%d requests, none failed; the second certificate was shown after %.1f s", asked, took.Seconds()), err
}

// shown reads a page, whose certificate has to be a trusted one, and returns its serial number.
func (w *World) shown(ctx context.Context, url string, trusted *x509.CertPool) (string, error) {
	client := &http.Client{Timeout: askPatience, Transport: &http.Transport{
		DialContext: w.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: shopName, MinVersion: tls.VersionTLS12},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, answer.Status)
	}
	return answer.TLS.PeerCertificates[0].SerialNumber.String(), nil
}

// newCertificate returns what a TLS Secret has, and adds the certificate to those that clients trust.
func newCertificate(serial int64, trusted *x509.CertPool) (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{shopName}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	trusted.AppendCertsFromPEM(certificate)
	return map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}, nil
}
