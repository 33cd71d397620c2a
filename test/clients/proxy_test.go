package clients

import (
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/semver"
)

// TestGovultr leads a volume and a load balancer through their lives with the newest official library.
func TestGovultr(t *testing.T) {
	c := start(t)
	var found govultrFound
	c.client("govultr", &found)
	library, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "github.com/vultr/govultr/v3").Output()
	if err != nil || semver.Compare(strings.TrimSpace(string(library)), "v3.34.0") < 0 {
		t.Errorf("the library is %q (%v), no newer than those that the product avoids", library, err)
	}
	if found.Email == "" || found.Attached == "" || found.Balancer != "active" || !strings.HasPrefix(found.MountID, "ewr-") {
		t.Errorf("it found %+v", found)
	}
	if !strings.Contains(found.Missing, "Invalid block storage ID.") {
		t.Errorf("of what is not there it says %q", found.Missing)
	}
	var state struct {
		Blocks []struct {
			ID         string `json:"id"`
			AttachedTo string `json:"attached_to"`
		} `json:"blocks"`
	}
	c.operator(http.MethodGet, "/state", nil, &state)
	if len(state.Blocks) != 1 || state.Blocks[0].ID != found.Volume || state.Blocks[0].AttachedTo != found.Attached {
		t.Errorf("the cloud has %+v, the client found %+v", state.Blocks, found)
	}
	for _, r := range c.requests() {
		if r.Source != "127.0.0.1" || !strings.Contains(r.UserAgent, "govultr") {
			t.Errorf("request %+v is not the library's", r)
		}
	}
}

// TestPrometheus finds machines by Prometheus' service discovery.
func TestPrometheus(t *testing.T) {
	c := start(t)
	for _, label := range []string{"node-1", "node-2"} {
		c.operator(http.MethodPost, "/instances", map[string]any{"label": label, "Tags": []string{"blue"}}, nil)
	}
	var targets []map[string]string
	c.client("prometheus", &targets)
	found := map[string]string{}
	for _, target := range targets {
		found[target["__meta_vultr_instance_label"]] = target["__address__"]
		if target["__meta_vultr_instance_tags"] != ",blue," || target["__meta_vultr_instance_region"] != "ewr" {
			t.Errorf("target %v", target)
		}
	}
	if want := map[string]string{"node-1": "198.18.0.11:9100", "node-2": "198.18.0.12:9100"}; !maps.Equal(found, want) {
		t.Errorf("targets %v, want %v", found, want)
	}
	if log := c.requests(); len(log) != 1 || !strings.HasPrefix(log[0].UserAgent, "Prometheus/") {
		t.Errorf("requests %+v", log)
	}
}

// TestCurl speaks both versions of HTTP, and is told why it gets nowhere else.
func TestCurl(t *testing.T) {
	c := start(t)
	curl := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "curl", append([]string{"--silent", "--show-error", "--max-time", "60"}, args...)...)
		cmd.Env = c.environment()
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, version := range []string{"1.1", "2"} {
		out, err := curl("--http"+version, "--write-out", " %{http_version} %{content_type}", "-H", "Authorization: Bearer secret", "https://api.vultr.com/v2/account")
		if err != nil || !strings.HasPrefix(out, `{"account":`) || !strings.HasSuffix(out, " "+version+" application/json") {
			t.Errorf("HTTP/%s: %v: %s", version, err, out)
		}
	}
	if out, err := curl("https://www.vultr.com/"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("another host: %v: %s", err, out)
	}
	// Without the certificate nobody is fooled.
	cmd := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "https://api.vultr.com/v2/regions")
	cmd.Env = slices.DeleteFunc(c.environment(), func(v string) bool { return strings.HasPrefix(v, "SSL_CERT_FILE") })
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "certificate") {
		t.Errorf("without the certificate: %v: %s", err, out)
	}
}
