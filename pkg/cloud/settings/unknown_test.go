package settings_test

import (
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

func TestUnhandled(t *testing.T) {
	tests := map[string]struct {
		annotations map[string]string
		want        []settings.Key
	}{
		"none":                 {nil, nil},
		"foreign prefix":       {map[string]string{"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}, nil},
		"handled":              {map[string]string{string(settings.Protocol): "tcp", string(settings.ID): "x"}, nil},
		"written by others":    {map[string]string{string(settings.SSLLastUpdated): "now"}, nil},
		"handled, malformed":   {map[string]string{string(settings.VPC): "maybe", string(settings.PrivateNetwork): ""}, nil},
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
		settings.Prefix + "vpcs":             true,
		settings.Prefix + "lable":            false,
		settings.Prefix + "sslredirect":      true,
		settings.Prefix + "allow-from":       true,
		settings.Prefix + "colour":           false,
		settings.HTTP3:                       false,
	} {
		if got := key.Protects(); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}
