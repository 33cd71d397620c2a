package cluster

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
)

// outerName is the name of the outer box and its directory.
const outerName = "outer"

// apiserverURL is where programs in the cluster's network find the apiserver.
const apiserverURL = "https://" + hostAddress + ":" + apiserverPort

// runConfig is what the hook and the forwarder, which are processes of their
// own, have to know of a run.
type runConfig struct {
	CacheDir  string
	Artifacts cache.Artifacts
	// ProductImages are archives in the run's directory.
	ProductImages []string
}

func (c runConfig) program(name string) string { return filepath.Join(c.Artifacts.Programs, name) }

func (c runConfig) images() []string { return slices.Concat(c.Artifacts.Images, c.ProductImages) }

func (r *Run) writeConfig(c runConfig) error {
	content, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(r.path("config.json"), content, 0o600)
}

// openRun returns a run by its directory and what is to be known of it.
func openRun(dir string) (*Run, runConfig, error) {
	r := &Run{ID: filepath.Base(dir), Dir: dir}
	var config runConfig
	content, err := os.ReadFile(r.path("config.json"))
	if err != nil {
		return nil, config, err
	}
	return r, config, json.Unmarshal(content, &config)
}

// writePKI makes the certificates and kubeconfigs of the control plane.
func (r *Run) writePKI() error {
	dir := r.path("pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	if err := ca.write(dir); err != nil {
		return err
	}
	for file, subject := range map[string]struct {
		user, group string
		names       []string
	}{
		"apiserver":         {"kube-apiserver", "", []string{hostAddress, "127.0.0.1", serviceAddress, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}},
		"apiserver-kubelet": {"kube-apiserver-kubelet-client", "system:masters", nil},
		"service-account":   {"service-accounts", "", nil},
	} {
		id, err := ca.issue(subject.user, subject.group, subject.names...)
		if err != nil {
			return err
		}
		if err := id.write(dir, file); err != nil {
			return err
		}
	}
	for file, subject := range map[string]struct{ user, group string }{
		"admin":                   {"admin", "system:masters"},
		"kube-controller-manager": {"system:kube-controller-manager", ""},
		"kube-scheduler":          {"system:kube-scheduler", ""},
	} {
		id, err := ca.issue(subject.user, subject.group)
		if err != nil {
			return err
		}
		if err := ca.kubeconfig(id, apiserverURL, filepath.Join(dir, file+".kubeconfig")); err != nil {
			return err
		}
	}
	return nil
}

// write saves the authority, for the hook that issues a node's certificates.
func (a *authority) write(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	return identity{certificate: a.pem, key: encode("PRIVATE KEY", key)}.write(dir, "ca")
}

// loadAuthority reads what write saved.
func loadAuthority(dir string) (*authority, error) {
	var der [2][]byte
	for i, name := range []string{"ca.crt", "ca.key"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(content)
		if block == nil {
			return nil, fmt.Errorf("%s in %s is no PEM file", name, dir)
		}
		der[i] = block.Bytes
	}
	certificate, err := x509.ParseCertificate(der[0])
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der[1])
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key in %s is a %T", dir, parsed)
	}
	return &authority{certificate: certificate, key: key, pem: encode("CERTIFICATE", der[0])}, nil
}
