package settings_test

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

func TestParseDefaults(t *testing.T) {
	d, err := settings.ParseDefaults(map[string]string{"timeout": " 30 ", string(settings.Algorithm): "LEASTCONN", "http2": "T"})
	if err != nil {
		t.Fatal(err)
	}
	r := settings.NewReader(map[string]string{string(settings.HTTP2): "false", string(settings.Timeout): " "}).WithDefaults(d)
	if r.Int(settings.Timeout) != 30 || r.Text(settings.Algorithm) != "least_connections" || r.Bool(settings.HTTP2) {
		t.Errorf("timeout %d, algorithm %q, http2 %v", r.Int(settings.Timeout), r.Text(settings.Algorithm), r.Bool(settings.HTTP2))
	}
	if r.Says(settings.Algorithm) || r.Says(settings.Timeout) || !r.States(settings.Timeout) || !r.Says(settings.HTTP2) {
		t.Error("what the Service says and what the defaults say must be told apart")
	}
	r.WithoutDefaults(settings.Timeout)
	if r.Int(settings.Timeout) != 600 || r.Text(settings.Algorithm) != "least_connections" {
		t.Error("only the named default must go")
	}
	if again := settings.NewReader(nil).WithDefaults(d); again.Int(settings.Timeout) != 30 {
		t.Error("one reader changes the defaults of all")
	}
	if none, err := settings.ParseDefaults(nil); err != nil || settings.NewReader(nil).WithDefaults(none).Int(settings.Timeout) != 600 {
		t.Error("no defaults are fine", err)
	}
}

func TestParseDefaultsNamesEveryFault(t *testing.T) {
	values := map[string]string{
		"timeout": "0", "algorithm": "round_robin", "node-count": "2", "protocol": "", "colour": "blue", "tiemout": "3",
		"label": "x", "id": "x", "hostname": "x", "create": "false", "ssl": "x", "https-ports": "443",
		"vpc": "maybe", "private-network": "true", "hand-over": "x", "ssl-last-updated": "x", "healthcheck-port": "80", "firewall-rules": "10.0.0.0,80",
		"http2": "true", string(settings.HTTP2): "true",
	}
	d, err := settings.ParseDefaults(values)
	if err == nil {
		t.Fatal("all of them are faulty")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(values)-1 {
		t.Errorf("%d faults of %d:\n%v", len(lines), len(values)-1, err)
	}
	for _, want := range []string{
		`timeout: "0" must be a number`, `algorithm: "round_robin" must be one of`, `node-count: "2" must be an odd`, `protocol: "" must not be empty`,
		"colour is unknown", "tiemout is unknown: did you mean timeout?", "label can have no default: it is about a single", "id can have no default", "hostname can have no default",
		"create can have no default", "ssl can have no default", "https-ports can have no default", `vpc: "maybe" must be true, false or the UUID of a VPC`, "private-network can have no default",
		"hand-over can have no default", "ssl-last-updated can have no default", `healthcheck-port: "80" must be 10256`, `firewall-rules: "10.0.0.0,80" must be`, "http2 is given twice",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q in\n%v", want, err)
		}
	}
	if settings.NewReader(nil).WithDefaults(d).Bool(settings.HTTP2) {
		t.Error("faulty defaults must not be used in part")
	}
}
