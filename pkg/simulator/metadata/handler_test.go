package metadata

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

var worker = simulator.MetadataDoc{
	InstanceID: "cb676a46-66fd-4dfb-b839-443f2e6c0b60",

	InstanceV2ID: "cb676a46-66fd-4dfb-b839-443f2e6c0b60",

	Hostname:   "worker-1",
	Region:     "ewr",
	RegionCode: "EWR",
	MAC:        "56:00:03:1b:4e:ca",
	MainIP:     "127.0.0.7",
	NetmaskV4:  "255.255.254.0",
	GatewayV4:  "127.0.0.1",
	UserData:   "#cloud-config\n",
	SSHKeys:    []string{"ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"},
}

func serve(t *testing.T, log klog.Logger) string {
	t.Helper()
	handler := New(func(ip netip.Addr) (simulator.MetadataDoc, bool) {
		return worker, ip == netip.MustParseAddr(worker.MainIP)
	}, log)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// ask sends a request from the given source address.
func ask(t *testing.T, from, method, url string) (status int, body string, header http.Header) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header
}

func TestDocument(t *testing.T) {
	log, _ := ktesting.NewTestContext(t)
	status, body, header := ask(t, worker.MainIP, http.MethodGet, serve(t, log)+"/v1.json")
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", status, header.Get("Content-Type"))
	}
	var doc struct {
		ID       string   `json:"instance-v2-id"`
		Hostname string   `json:"hostname"`
		Tags     []string `json:"tags"`
		Region   struct {
			RegionCode  string `json:"regioncode"`
			CountryCode string `json:"countrycode"`
		} `json:"region"`
		Interfaces []struct {
			IPv4 struct {
				Address string `json:"address"`
			} `json:"ipv4"`
			Type string `json:"network-type"`
			MAC  string `json:"mac"`
		} `json:"interfaces"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.ID != worker.InstanceID || doc.Hostname != "worker-1" || doc.Region.RegionCode != "EWR" || doc.Region.CountryCode != "US" {
		t.Errorf("%+v", doc)
	}
	if doc.Tags == nil || len(doc.Tags) != 0 {
		t.Errorf("tags are %v, want an empty list", doc.Tags)
	}
	if len(doc.Interfaces) != 1 || doc.Interfaces[0].Type != "public" || doc.Interfaces[0].IPv4.Address != worker.MainIP ||
		!strings.HasPrefix(doc.Interfaces[0].MAC, "56:00:") {
		t.Errorf("interfaces %+v", doc.Interfaces)
	}
}

func TestPaths(t *testing.T) {
	log, _ := ktesting.NewTestContext(t)
	url := serve(t, log)
	tests := map[string]struct {
		status int
		body   string
	}{
		"/v1/instance-v2-id":                     {200, worker.InstanceID},
		"/v1/region/":                            {200, "countrycode\nregioncode"},
		"/v1/region/regioncode":                  {200, "EWR"},
		"/v1/interfaces/":                        {200, "0/"},
		"/v1/interfaces/0/ipv4/address":          {200, worker.MainIP},
		"/v1/interfaces/0/ipv4/routes/0/netmask": {200, "32"},
		"/v1/interfaces/0/ipv4/":                 {200, "additional\naddress\ngateway\nnetmask\nroutes/"},
		"/v1/public-keys":                        {200, strings.Join(worker.SSHKeys, "\n")},
		"/v1/tags":                               {200, ""},
		"/v1/region":                             {404, "Not Found\n"}, // an index ends with a slash
		"/v1/region/regioncode/":                 {404, "Not Found\n"},
		"/v1/interfaces/1/":                      {404, "Not Found\n"},
		"/v1/interfaces/x/":                      {404, "Not Found\n"},
		"/v1/nothing":                            {404, "Not Found\n"},
		"/v2.json":                               {404, "Not Found\n"},
		"/latest/user-data":                      {200, "#cloud-config\n"},
		"/user-data/user-data":                   {200, "#cloud-config\n"},
		"/latest/meta-data/hostname":             {200, "worker-1"},
		"/current/ssh-keys":                      {200, strings.Join(worker.SSHKeys, "\n")},
		"/current/meta-data/ipv6-addr":           {404, "Not Found\n"},
		"/current/ipv6-dns1":                     {404, "Not Found\n"},
		"/latest/startup-script":                 {404, "Not Found\n"},
		"/v1/internal/":                          {404, "Not Found\n"},
	}
	for path, want := range tests {
		if status, body, _ := ask(t, worker.MainIP, http.MethodGet, url+path); status != want.status || body != want.body {
			t.Errorf("%s: %d %q, want %d %q", path, status, body, want.status, want.body)
		}
	}
	if _, body, _ := ask(t, worker.MainIP, http.MethodGet, url+"/v1/"); !strings.Contains(body, "interfaces/\n") || !strings.Contains(body, "hostname\n") {
		t.Errorf("the index of /v1/: %q", body)
	}
	if status, _, header := ask(t, worker.MainIP, http.MethodPut, url+"/v1.json"); status != http.StatusMethodNotAllowed || header.Get("Allow") == "" {
		t.Errorf("PUT: %d", status)
	}
}

// What only some guests have is there when they have it.
func TestPathsOfWhatAGuestMayHave(t *testing.T) {
	log, _ := ktesting.NewTestContext(t)
	guest := worker
	guest.MainIPv6, guest.NetworkV6, guest.StartupScript = "2001:19f0:5:6::7", "2001:19f0:5:6::", "#!/bin/sh\n"
	server := httptest.NewServer(New(func(netip.Addr) (simulator.MetadataDoc, bool) { return guest, true }, log))
	t.Cleanup(server.Close)
	for path, want := range map[string]string{
		"/latest/startup-script": guest.StartupScript, "/v1/startup-script": guest.StartupScript,
		"/current/meta-data/ipv6-addr": guest.MainIPv6, "/current/ipv6-dns1": "2001:19f0:300:1704::6",
		"/v1/interfaces/0/ipv6/network": guest.NetworkV6, "/v1/interfaces/0/ipv6/prefix": "64",
	} {
		if status, body, _ := ask(t, worker.MainIP, http.MethodGet, server.URL+path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", path, status, body, want)
		}
	}
}

func TestStrangersGetNothingButALogLine(t *testing.T) {
	var lines recorder
	status, body, _ := ask(t, "127.0.0.9", http.MethodGet, serve(t, klog.New(&lines))+"/v1.json")
	if status != http.StatusNotFound || strings.Contains(body, worker.InstanceID) {
		t.Errorf("a stranger was told: %d %s", status, body)
	}
	lines.Lock()
	defer lines.Unlock()
	if len(lines.entries) != 1 || !strings.Contains(lines.entries[0], "127.0.0.9") {
		t.Errorf("logged: %v", lines.entries)
	}
}

// recorder is a log sink that keeps messages with their values.
type recorder struct {
	sync.Mutex
	entries []string
}

func (r *recorder) Init(klog.RuntimeInfo)                    {}
func (r *recorder) Enabled(int) bool                         { return true }
func (r *recorder) WithValues(...any) klog.LogSink           { return r }
func (r *recorder) WithName(string) klog.LogSink             { return r }
func (r *recorder) Error(_ error, message string, kv ...any) { r.Info(0, message, kv...) }
func (r *recorder) Info(_ int, message string, values ...any) {
	r.Lock()
	defer r.Unlock()
	for i := 1; i < len(values); i += 2 {
		if text, ok := values[i].(string); ok {
			message += " " + text
		}
	}
	r.entries = append(r.entries, message)
}
