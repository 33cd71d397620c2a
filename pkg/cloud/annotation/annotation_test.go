package annotation_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/annotation"
)

func TestUnhandled(t *testing.T) {
	tests := map[string]struct {
		annotations map[string]string
		want        []annotation.Key
	}{
		"none":                 {nil, nil},
		"foreign prefix":       {map[string]string{"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}, nil},
		"handled":              {map[string]string{string(annotation.Protocol): "tcp", string(annotation.ID): "x"}, nil},
		"written by others":    {map[string]string{string(annotation.SSLLastUpdated): "now"}, nil},
		"not supported yet":    {map[string]string{string(annotation.VPC): "true"}, []annotation.Key{annotation.VPC}},
		"not supported, off":   {map[string]string{string(annotation.VPC): "false", string(annotation.PrivateNetwork): ""}, nil},
		"unknown, in an order": {map[string]string{annotation.Prefix + "zzz": "", annotation.Prefix + "aaa": ""}, []annotation.Key{annotation.Prefix + "aaa", annotation.Prefix + "zzz"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := annotation.Unhandled(tt.annotations); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestProtects(t *testing.T) {
	for key, want := range map[annotation.Key]bool{
		annotation.FirewallRulesCM:             true,
		annotation.VPC:                         true,
		annotation.PrivateNetwork:              true,
		annotation.AutoSSL:                     true,
		annotation.Prefix + "ssl-ciphers":      true,
		annotation.Prefix + "firewall-rules-2": true,
		annotation.Prefix + "vpcs":             false,
		annotation.Prefix + "colour":           false,
		annotation.HTTP3:                       false,
	} {
		if got := key.Protects(); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}

func TestReaderCollectsEveryFault(t *testing.T) {
	r := annotation.NewReader(map[string]string{
		string(annotation.ProxyProtocol): "yes please",
		string(annotation.Algorithm):     "random",
		string(annotation.NodeCount):     "many",
		string(annotation.Timeout):       "0",
		string(annotation.HTTPSPorts):    "443,https",
		string(annotation.HTTP2):         " true ",
		string(annotation.Protocol):      "HTTP",
	})
	if r.Bool(annotation.ProxyProtocol) {
		t.Error("a faulty switch must read as off")
	}
	if got := r.OneOf(annotation.Algorithm, "roundrobin", "roundrobin", "least_connections"); got != "roundrobin" {
		t.Errorf("algorithm: %q", got)
	}
	if got := r.Int(annotation.NodeCount, 1, 1, 99); got != 1 {
		t.Errorf("node count: %d", got)
	}
	if got := r.Int(annotation.Timeout, 600, 1, 3600); got != 600 {
		t.Errorf("timeout: %d", got)
	}
	if got := r.Ports(annotation.HTTPSPorts); got != nil {
		t.Errorf("ports: %v", got)
	}
	if !r.Bool(annotation.HTTP2) || r.OneOf(annotation.Protocol, "tcp", "http") != "http" {
		t.Error("white space and case must not matter")
	}
	err := r.Err()
	for _, want := range []string{
		string(annotation.ProxyProtocol) + `: "yes please" must be true or false`,
		string(annotation.Algorithm) + `: "random" must be one of roundrobin, least_connections`,
		string(annotation.NodeCount) + `: "many" must be a number from 1 to 99`,
		string(annotation.Timeout) + `: "0" must be a number from 1 to 3600`,
		string(annotation.HTTPSPorts) + `: "443,https" must be a list of port numbers separated by commas`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if fault, ok := errors.AsType[*annotation.ValueError](err); !ok || fault.Key != annotation.ProxyProtocol {
		t.Errorf("the first fault is not found in the error: %v", fault)
	}
}
