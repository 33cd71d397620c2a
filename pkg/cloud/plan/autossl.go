package plan

import (
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The keys of a Secret that names the domain of a certificate which the platform issues.
const (
	AutoSSLZoneKey = "domainZone"
	AutoSSLSubKey  = "subDomain"
)

// WithAutoSSL passes on what the Secret says that the Service names for a certificate of the platform, or why that is not known. It
// is not looked at if the Service names none.
func WithAutoSSL(zone, sub string, err error) Option {
	return func(r *reader) { r.issued = &issued{vultr.AutoSSL{Zone: zone, Sub: sub}, err} }
}

// WithAutoSSLSecret is WithAutoSSL for a Secret that was read.
func WithAutoSSLSecret(found *v1.Secret, err error) Option {
	if err != nil {
		return WithAutoSSL("", "", err)
	}
	return WithAutoSSL(string(found.Data[AutoSSLZoneKey]), string(found.Data[AutoSSLSubKey]), nil)
}

// issued is what somebody else has read for the reader.
type issued struct {
	domain vultr.AutoSSL
	err    error
}

// autoSSL reads for which domain the platform is to issue the certificate. As long as that is asked for and not known, the
// load balancer keeps the certificate that it has.
func (r *reader) autoSSL() {
	d := &r.out.Desired
	d.AutoSSLSecret = r.Text(settings.AutoSSL)
	zone, sub := r.Text(settings.AutoSSLDomain), r.Text(settings.AutoSSLSubdomain)
	named, plain := r.Says(settings.AutoSSL), r.Says(settings.AutoSSLDomain)
	switch {
	case named && (plain || r.Says(settings.AutoSSLSubdomain)):
		r.Fail(fmt.Errorf("annotation %s names a Secret with the domain of the certificate, and %s or %s says it too: keep one way",
			settings.AutoSSL, settings.AutoSSLDomain, settings.AutoSSLSubdomain))
	case named:
		d.AutoSSL = r.domainOfSecret()
	case zone != "":
		d.AutoSSL = &vultr.AutoSSL{Zone: zone, Sub: sub}
	case !plain && sub != "":
		r.Reject(settings.AutoSSLSubdomain, "needs %s too", settings.AutoSSLDomain)
	}
	d.KeepTLS = d.KeepTLS || (named || plain) && d.AutoSSL == nil
	if d.AutoSSL != nil && r.Says(settings.SSL) {
		r.Fail(fmt.Errorf("annotation %s names a certificate, and the platform is to issue one as well: remove it, or what asks for the other one", settings.SSL))
	}
}

// domainOfSecret returns the domain that a Secret names, nil if it is not known.
func (r *reader) domainOfSecret() *vultr.AutoSSL {
	name := r.out.Desired.AutoSSLSecret
	if name == "" {
		return nil // it is malformed, which is a fault of its own
	}
	if r.issued == nil {
		if !r.unread {
			r.Refuse(settings.AutoSSL, "names a Secret that was not read")
		}
		return nil
	}
	found, err := r.issued.domain, r.issued.err
	if err == nil && found.Zone == "" {
		err = fmt.Errorf("it has no key %s", AutoSSLZoneKey)
	}
	if err == nil {
		found.Zone, err = domainIn(AutoSSLZoneKey, settings.AutoSSLDomain, found.Zone)
	}
	if err == nil {
		found.Sub, err = domainIn(AutoSSLSubKey, settings.AutoSSLSubdomain, found.Sub)
	}
	if err != nil {
		r.Fail(fmt.Errorf("annotation %s: Secret %q: %w", settings.AutoSSL, name, err))
		return nil
	}
	r.out.Inputs += "\n" + found.Zone + "\n" + found.Sub
	return &found
}

// domainIn checks the value of a Secret's key as the annotation of the same meaning is.
func domainIn(key string, same settings.Key, value string) (string, error) {
	setting, known := settings.Lookup(same)
	if !known {
		return "", fmt.Errorf("there is no annotation %s", same)
	}
	domain, err := setting.Check(value)
	if fault, ok := errors.AsType[*settings.ValueError](err); ok {
		return "", fmt.Errorf("key %s: %q %s", key, fault.Value, fault.Problem)
	}
	return domain, err
}
