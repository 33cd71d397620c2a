package settings_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

func TestUnhandled(t *testing.T) {
	tests := map[string]struct {
		annotations map[string]string
		want        []settings.Key
	}{
		"none":                 {nil, nil},
		"foreign prefix":       {map[string]string{"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}, nil},
		"handled":              {map[string]string{string(settings.Protocol): "tcp", string(settings.ID): "x"}, nil},
		"written by others":    {map[string]string{string(settings.SSLLastUpdated): "now"}, nil},
		"not supported yet":    {map[string]string{string(settings.VPC): "true"}, []settings.Key{settings.VPC}},
		"not supported, off":   {map[string]string{string(settings.VPC): "false", string(settings.PrivateNetwork): ""}, nil},
		"unknown, in an order": {map[string]string{settings.Prefix + "zzz": "", settings.Prefix + "aaa": ""}, []settings.Key{settings.Prefix + "aaa", settings.Prefix + "zzz"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := settings.Unhandled(tt.annotations); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestProtects(t *testing.T) {
	for key, want := range map[settings.Key]bool{
		settings.FirewallRulesCM:             true,
		settings.VPC:                         true,
		settings.PrivateNetwork:              true,
		settings.AutoSSL:                     true,
		settings.Prefix + "ssl-ciphers":      true,
		settings.Prefix + "firewall-rules-2": true,
		settings.Prefix + "vpcs":             false,
		settings.Prefix + "colour":           false,
		settings.HTTP3:                       false,
	} {
		if got := key.Protects(); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}

func TestReaderCollectsEveryFault(t *testing.T) {
	r := settings.NewReader(map[string]string{
		string(settings.ProxyProtocol): "yes please",
		string(settings.Algorithm):     "random",
		string(settings.NodeCount):     "many",
		string(settings.Timeout):       "0",
		string(settings.HTTPSPorts):    "443,https",
		string(settings.HTTP2):         " true ",
		string(settings.Protocol):      "HTTP",
	})
	if r.Bool(settings.ProxyProtocol) {
		t.Error("a faulty switch must read as off")
	}
	if got := r.OneOf(settings.Algorithm, "roundrobin", "roundrobin", "least_connections"); got != "roundrobin" {
		t.Errorf("algorithm: %q", got)
	}
	if got := r.Int(settings.NodeCount, 1, 1, 99); got != 1 {
		t.Errorf("node count: %d", got)
	}
	if got := r.Int(settings.Timeout, 600, 1, 3600); got != 600 {
		t.Errorf("timeout: %d", got)
	}
	if got := r.Ports(settings.HTTPSPorts); got != nil {
		t.Errorf("ports: %v", got)
	}
	if !r.Bool(settings.HTTP2) || r.OneOf(settings.Protocol, "tcp", "http") != "http" {
		t.Error("white space and case must not matter")
	}
	err := r.Err()
	for _, want := range []string{
		string(settings.ProxyProtocol) + `: "yes please" must be true or false`,
		string(settings.Algorithm) + `: "random" must be one of roundrobin, least_connections`,
		string(settings.NodeCount) + `: "many" must be a number from 1 to 99`,
		string(settings.Timeout) + `: "0" must be a number from 1 to 3600`,
		string(settings.HTTPSPorts) + `: "443,https" must be a list of port numbers separated by commas`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if fault, ok := errors.AsType[*settings.ValueError](err); !ok || fault.Key != settings.ProxyProtocol {
		t.Errorf("the first fault is not found in the error: %v", fault)
	}
}
