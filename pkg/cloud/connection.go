package cloud

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// The flags of what is between this program and the API.
const (
	proxyFlag = "vultr-api-proxy"
	caFlag    = "vultr-api-ca-file"
)

// proxySchemes are the ways in which a proxy can be spoken to.
var proxySchemes = []string{"http", "https", "socks5"}

// proxy returns the proxy for the API, nil if the environment says it. It may hold no password: flags are shown in logs and
// in lists of processes.
func (o *Options) proxy() (*url.URL, error) {
	if o.APIProxy == "" {
		return nil, nil
	}
	proxy, err := url.Parse(o.APIProxy)
	switch {
	case err == nil && proxy.User != nil:
		return nil, o.fault(source{flag: proxyFlag}, "it must not hold a user or a password: give such an address by the environment variable HTTPS_PROXY, from a Secret")
	case err != nil || proxy.Host == "" || !slices.Contains(proxySchemes, proxy.Scheme):
		return nil, o.fault(source{flag: proxyFlag}, fmt.Sprintf("it is not an address such as http://proxy.example.com:3128 (%s)", strings.Join(proxySchemes, ", ")))
	}
	return proxy, nil
}

// roots returns the authorities that are trusted, nil if these are the system's alone.
func (o *Options) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	of := source{flag: caFlag}
	content, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, o.fault(of, err.Error())
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, o.fault(of, "the system's authorities can't be read: "+err.Error())
	}
	if !roots.AppendCertsFromPEM(content) {
		return nil, o.fault(of, o.CAFile+" holds no certificate in PEM")
	}
	return roots, nil
}
