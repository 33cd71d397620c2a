package archive

import (
	"bytes"
	"encoding/pem"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// caPath is where Go's crypto/x509, and much else, looks first.
const caPath = "/etc/ssl/certs/ca-certificates.crt"

// caCertificates renders the public roots as PEM. They come from a Go module
// and not from this machine, whose store may hold roots of its owner. Roots
// that are only trusted under a constraint are left out: PEM can't carry it.
func caCertificates() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
