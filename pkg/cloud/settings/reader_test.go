package settings_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

func TestReaderCollectsEveryFault(t *testing.T) {
	r := settings.NewReader(map[string]string{
		string(settings.Protocol):      "gopher",
		string(settings.NodeCount):     "many",
		string(settings.Timeout):       "-1",
		string(settings.HTTPSPorts):    "443,https",
		string(settings.FirewallRules): "192.0.2.1,80;cloudflare,443;10.0.0.0/8",
		string(settings.HTTP2):         " true ",
		string(settings.Algorithm):     "Least_Connections\n",
	})
	if got := r.Text(settings.Protocol); got != "tcp" {
		t.Errorf("protocol: %q", got)
	}
	if got := r.Int(settings.NodeCount); got != 1 {
		t.Errorf("node count: %d", got)
	}
	if got := r.Int(settings.Timeout); got != 600 {
		t.Errorf("timeout: %d", got)
	}
	if got := r.Ports(settings.HTTPSPorts); got != nil {
		t.Errorf("ports: %v", got)
	}
	if got := r.Sources(settings.FirewallRules); got != nil {
		t.Errorf("sources: %v", got)
	}
	if !r.Bool(settings.HTTP2) || r.Text(settings.Algorithm) != "least_connections" {
		t.Error("white space and case must not matter")
	}
	_ = r.Text(settings.Protocol) // reading twice reports once
	want := []string{
		`annotation ` + string(settings.Protocol) + `: "gopher" must be one of tcp, udp, http, https`,
		`annotation ` + string(settings.NodeCount) + `: "many" must be an odd number from 1 to 99`,
		`annotation ` + string(settings.Timeout) + `: "-1" must be a number from 1 to 86400`,
		`annotation ` + string(settings.HTTPSPorts) + `: "443,https" must be a list of port numbers separated by commas`,
		`annotation ` + string(settings.FirewallRules) + `: "192.0.2.1,80;cloudflare,443;10.0.0.0/8" must be a list of source,port separated by semicolons, each source a range such as 203.0.113.0/24, or cloudflare; "192.0.2.1,80" is not, "10.0.0.0/8" is not`,
	}
	if got := strings.Split(r.Err().Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if fault, ok := errors.AsType[*settings.ValueError](r.Err()); !ok || fault.Key != settings.Protocol {
		t.Errorf("the first fault is not found in the error: %v", fault)
	}
	if len(r.Warnings()) > 0 || len(r.Refusals()) > 0 {
		t.Errorf("warnings %q, refusals %v", r.Warnings(), r.Refusals())
	}
}

// values is what a test expects of one value of one annotation.
type values struct {
	value string
	want  string
	// fault, warning and refused are parts of what is reported, "" if nothing is.
	fault, warning, refused string
}

// each lists values of every annotation that users set: good ones, spellings that the official controller accepts,
// malformed ones.
// Each theme has a file of its own.
var each = joined(eachPort, eachTLS, eachTraffic, eachHealth, eachAccess, eachNetwork, eachLife)

func joined(themes ...map[settings.Key][]values) map[settings.Key][]values {
	all := map[settings.Key][]values{}
	for _, theme := range themes {
		maps.Copy(all, theme)
	}
	return all
}

func TestEachAnnotation(t *testing.T) {
	for _, s := range settings.All() {
		if s.Support != settings.Supported {
			continue
		}
		if len(each[s.Key]) < 2 {
			t.Errorf("%s is not tested", s.Key)
		}
		for _, tt := range each[s.Key] {
			t.Run(s.Name()+"="+tt.value, func(t *testing.T) {
				r := settings.NewReader(map[string]string{string(s.Key): tt.value})
				if got := r.Text(s.Key); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				fault := ""
				if err := r.Err(); err != nil {
					fault = err.Error()
				}
				refusals := make([]string, 0, 1)
				for _, refusal := range r.Refusals() {
					refusals = append(refusals, refusal.String())
				}
				for what, pair := range map[string][2]string{
					"fault": {fault, tt.fault}, "warning": {strings.Join(r.Warnings(), "\n"), tt.warning}, "refusal": {strings.Join(refusals, "\n"), tt.refused},
				} {
					got, want := pair[0], pair[1]
					if (got == "") != (want == "") || !strings.Contains(got, want) || got != "" && !strings.Contains(got, string(s.Key)) {
						t.Errorf("%s: got %q, want %q", what, got, want)
					}
				}
			})
		}
	}
}

// What the reader returns can be read again without complaint, and what is unset is the default.
func TestValidValuesAreFixedPoints(t *testing.T) {
	for key, list := range each {
		for _, tt := range list {
			r := settings.NewReader(map[string]string{string(key): tt.want})
			if tt.want == "" && key == settings.Label {
				continue
			}
			if got := r.Text(key); got != tt.want && tt.want != "" || r.Err() != nil || len(r.Warnings()) > 0 {
				t.Errorf("%s: %q became %q: %v %q", key, tt.want, got, r.Err(), r.Warnings())
			}
		}
		s, _ := settings.Lookup(key)
		if got := settings.NewReader(nil).Text(key); got != s.Default {
			t.Errorf("%s: unset is %q, the default %q", key, got, s.Default)
		}
	}
}

func TestTableIsComplete(t *testing.T) {
	seen := map[settings.Key]bool{}
	for _, s := range settings.All() {
		if seen[s.Key] {
			t.Errorf("%s has two rows", s.Key)
		}
		seen[s.Key] = true
		if s.Kind == 0 || s.Since == "" || !strings.HasSuffix(s.Doc, ".") || !strings.HasPrefix(string(s.Key), settings.Prefix) {
			t.Errorf("%s lacks something: %+v", s.Key, s)
		}
		if canonical, err := s.Check(s.Default); err != nil && s.Default != "" || canonical != s.Default {
			t.Errorf("%s: the default %q is no value in its own spelling: %q, %v", s.Key, s.Default, canonical, err)
		}
		if s.Lenient && s.Kind != settings.Switch && s.Kind != settings.Choice && s.Kind != settings.VPCReference {
			t.Errorf("%s: only switches and choices can be lenient", s.Key)
		}
		if asks := s.AsksForProtection("true") || s.AsksForProtection("https") || s.AsksForProtection("false"); asks != (s.Protects != settings.Nothing) {
			t.Errorf("%s protects %q, but no value asks for it", s.Key, s.Protects)
		}
	}
	if _, ok := settings.Lookup(settings.Prefix + "colour"); ok {
		t.Error("an unknown key has a row")
	}
}

func FuzzReader(f *testing.F) {
	for key, list := range each {
		for _, tt := range list {
			f.Add(strings.TrimPrefix(string(key), settings.Prefix), tt.value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		annotations := map[string]string{settings.Prefix + name: value, name: value}
		for _, finding := range settings.Inspect(annotations) {
			if finding.Key == "" || finding.Problem == "" {
				t.Fatalf("%+v says nothing", finding)
			}
		}
		r := settings.NewReader(annotations)
		s, known := settings.Lookup(settings.Key(settings.Prefix + name))
		if !known {
			return
		}
		text := r.Text(s.Key)
		r.Bool(s.Key)
		r.Int(s.Key)
		r.Ports(s.Key)
		r.Sources(s.Key)
		r.PortProtocols(s.Key)
		if err := r.Err(); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.Contains(line, string(s.Key)) {
					t.Fatalf("%q does not name its annotation", line)
				}
			}
			return
		}
		if again, err := s.Check(text); err != nil && text != "" || again != text {
			t.Fatalf("%q was read as %q, which is read as %q: %v", value, text, again, err)
		}
	})
}
