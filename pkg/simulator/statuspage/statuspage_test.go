package statuspage

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// snapshot is a cloud that does not change.
type snapshot struct {
	view     simulator.View
	requests []simulator.Request
	counters map[string]simulator.Counter
}

func (s snapshot) View() simulator.View                   { return s.view }
func (s snapshot) Requests(int) []simulator.Request       { return s.requests }
func (s snapshot) Counters() map[string]simulator.Counter { return s.counters }
func (s snapshot) Changed() <-chan struct{}               { return nil }

func render(t *testing.T, cloud Cloud) (text, plain string, header http.Header) {
	t.Helper()
	recorder := httptest.NewRecorder()
	New(cloud).ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("%d: %s", recorder.Code, recorder.Body)
	}
	text = recorder.Body.String()
	plain = regexp.MustCompile(`(?s)<style>.*</style>|<[^>]*>`).ReplaceAllString(text, " ")
	return text, strings.Join(strings.Fields(plain), " "), recorder.Header()
}

func busyCloud() snapshot {
	return snapshot{
		view: simulator.View{
			TimeScale: 0.5,
			Instances: []simulator.InstanceView{
				{ID: "i-1", Label: "worker-1", MainIP: "192.0.2.11", Status: "active", PowerStatus: "running", ServerStatus: "ok", Reboots: 7},
				{ID: "i-2", Label: "worker-2", Deleting: true},
			},
			Blocks: []simulator.BlockView{
				{ID: "b-1", Label: "pvc-one", MountID: "ewr-one", SizeGB: 10, Active: true, AttachedTo: "i-1", Pending: "detach", PendingInstance: "i-1", Holder: "mounted on /var/lib/kubelet"},
				{ID: "b-2", Label: "pvc-two", MountID: "ewr-two", SizeGB: 40, Active: true, Pending: "attach", PendingInstance: "i-2"},
				{ID: "b-3", Label: "pvc-three", MountID: "ewr-three", SizeGB: 20},
				{ID: "b-4", Label: "pvc-four", MountID: "ewr-four", SizeGB: 20, Active: true, AttachedTo: "i-gone"},
			},
			Snapshots: []simulator.SnapshotView{
				{ID: "s-1", BlockID: "b-1", Description: "nightly", SizeGB: 10, State: "COMPLETE"},
				{ID: "s-2", BlockID: "b-2", Description: "too-much", SizeGB: 40, State: "ERROR", Failure: "no room"},
			},
			FileSystems: []simulator.FileSystemView{{ID: "f-1", Label: "shared", Region: "ewr", SizeGB: 30, Active: true, Attachments: []simulator.VFSAttachmentView{
				{Instance: "i-1", MountTag: 4711, State: "ATTACHED"}, {Instance: "i-2", MountTag: 4712, State: "DETACHING", Holder: "mounted on /data"},
			}}},
			LoadBalancers: []simulator.LoadBalancerView{{
				ID: "lb-1", Label: "web", Active: true, IPv4: "198.51.100.7", Rules: []string{"tcp 80 -> tcp 31080"},
				Backends: []simulator.BackendHealth{
					{InstanceID: "i-1", Address: "192.0.2.11", Healthy: true, Connections: 3},
					{InstanceID: "i-2", Address: "192.0.2.12", Reason: "connection refused"},
				},
			}},
			AccountView: simulator.AccountView{
				VPCs: []simulator.VPCView{{ID: "v-1", Region: "ewr", Description: "inner", Subnet: "10.1.0.0/20", Servers: []string{"192.0.2.11"}}},
				FirewallGroups: []simulator.FirewallGroupView{
					{ID: "g-1", Description: "nodes", Rules: []string{"tcp 22 from 203.0.113.7/32"}, Instances: []string{"i-1"}}, {ID: "g-2"},
				},
				ReservedIPs: []simulator.ReservedIPView{{ID: "r-1", Label: "gate", Region: "ewr", Subnet: "192.0.2.99"}},
				Clusters:    []simulator.ClusterView{{ID: "k-1", Label: "prod", Region: "ewr", Version: "v1.36.1+1", Nodes: []string{"i-1"}}},
				Domains:     []simulator.DomainView{{Name: "example.com", Records: 5}},
			},
			Transitions: []simulator.TransitionView{{Kind: "block-detach", Target: "b-1", Due: time.Now(), Attempts: 4, Error: "still in use"}},
		},
		requests: []simulator.Request{
			{Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Method: "GET", Path: "/v2/blocks", Query: "per_page=500", Status: 200, Took: 1500 * time.Microsecond},
			{Method: "POST", Path: "/v2/blocks", Status: 0},
			{Method: "DELETE", Path: "/v2/blocks/b-1", Status: 400, Error: "detach first"},
		},
		counters: map[string]simulator.Counter{"list_blocks": {Total: 12, Failed: 2, ByStatus: map[int]int{200: 10, 0: 1, 429: 1}}},
	}
}

func TestPageShowsTheCloud(t *testing.T) {
	text, plain, header := render(t, busyCloud())
	for _, part := range []string{
		"Instances (2)", "worker-1 i-1 192.0.2.11", "active / running / ok 7", "being destroyed",
		"ewr-one pvc-one 10 GB detach under way held: mounted on /var/lib/kubelet",
		"ewr-two pvc-two 40 GB attach under way",
		"Disks without an instance (2)", "ewr-three pvc-three 20 GB pending", "ewr-four pvc-four",
		"Block snapshots (2)", "nightly s-1 b-1 10 GB COMPLETE", "too-much s-2 b-2 40 GB ERROR no room",
		"File systems (1)", "shared f-1 ewr 30 GB active i-1 ATTACHED, tag 4711 i-2 DETACHING, tag 4712 held: mounted on /data",
		"web lb-1 198.51.100.7 active tcp 80 -&gt; tcp 31080 1 of 2 healthy 192.0.2.11 healthy 3 open, i-1 192.0.2.12 not healthy: connection refused",
		"VPCs (1)", "inner v-1 ewr 10.1.0.0/20 192.0.2.11",
		"Firewall groups (2)", "nodes g-1 tcp 22 from 203.0.113.7/32 i-1 g-2 nothing none",
		"Reserved IPs (1)", "gate r-1 ewr 192.0.2.99 none",
		"Kubernetes clusters (1)", "prod k-1 ewr v1.36.1&#43;1 pending i-1", "DNS (1)", "example.com 5",
		"block-detach b-1", "4: still in use",
		"list_blocks 12 2 no answer: 1 200: 10 429: 1",
		"03:04:05.000 1.5ms GET /v2/blocks?per_page=500 200",
	} {
		if !strings.Contains(plain, part) {
			t.Errorf("the page does not say %q", part)
		}
	}
	if t.Failed() {
		t.Log(plain)
	}
	newest, oldest := strings.Index(plain, "400 detach first"), strings.Index(plain, "03:04:05.000")
	if newest < 0 || oldest < 0 || newest > oldest {
		t.Error("the newest request is not the first")
	}
	seconds := regexp.MustCompile(`http-equiv="refresh" content="(\d+)"`).FindStringSubmatch(text)
	if seconds == nil {
		t.Fatal("the page does not refresh itself")
	}
	if n, err := strconv.Atoi(seconds[1]); err != nil || n < 1 || n > 5 {
		t.Errorf("refreshed every %q seconds", seconds[1])
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "text/html") || header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", header)
	}
}

// changing is a cloud that changes when the test says so.
type changing struct {
	snapshot
	mu      *sync.Mutex
	changed chan struct{}
}

func (c *changing) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// TestEventsFollowTheCloud: a browser gets the cloud at once and again after a change, and is disconnected at the end.
func TestEventsFollowTheCloud(t *testing.T) {
	cloud := &changing{snapshot: busyCloud(), mu: &sync.Mutex{}, changed: make(chan struct{})}
	page := New(cloud)
	server := httptest.NewServer(page)
	t.Cleanup(server.Close)
	resp, err := http.Get(server.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("headers %v", resp.Header)
	}
	stream := bufio.NewReader(resp.Body)
	next := func() (data string) {
		for {
			line, err := stream.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "\n" {
				return data
			}
			text, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				t.Fatalf("line %q", line)
			}
			data += text
		}
	}
	if data := next(); !strings.Contains(data, "worker-1") || strings.Contains(data, "<html") {
		t.Errorf("event %q", data)
	}
	cloud.mu.Lock()
	close(cloud.changed)
	cloud.changed = make(chan struct{})
	cloud.mu.Unlock()
	if data := next(); !strings.Contains(data, "worker-1") {
		t.Errorf("event %q", data)
	}
	page.Close()
	if _, err := io.ReadAll(stream); err != nil {
		t.Errorf("the end: %v", err)
	}
}

// TestLargeClouds: a table has an end, and says so.
func TestLargeClouds(t *testing.T) {
	var cloud snapshot
	for i := range maxRows + 7 {
		cloud.view.Instances = append(cloud.view.Instances, simulator.InstanceView{Label: fmt.Sprintf("row-%d-", i)})
		cloud.view.Blocks = append(cloud.view.Blocks, simulator.BlockView{Label: fmt.Sprintf("disk-%d-", i)})
	}
	text, plain, _ := render(t, cloud)
	if strings.Count(plain, "row-") != maxRows || strings.Count(plain, "disk-") != maxRows || strings.Count(plain, "and 7 more") != 2 {
		t.Errorf("%d instances and %d disks are shown", strings.Count(plain, "row-"), strings.Count(plain, "disk-"))
	}
	wellFormed(t, text)
}

func TestPageOfAnEmptyCloud(t *testing.T) {
	text, plain, _ := render(t, snapshot{})
	for _, part := range []string{"Instances (0) none", "Load balancers (0) none", "Last requests, newest first none"} {
		if !strings.Contains(plain, part) {
			t.Errorf("the page does not say %q: %s", part, plain)
		}
	}
	wellFormed(t, text)
}

// wellFormed proves that every element is closed where it should be.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	closed := regexp.MustCompile(`<(meta|br)([^>]*)>`).ReplaceAllString(text, "<$1$2/>")
	decoder := xml.NewDecoder(strings.NewReader(closed))
	decoder.Entity = xml.HTMLEntity
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
	}
}

func TestNamesAreTextAndNeverMarkup(t *testing.T) {
	cloud := busyCloud()
	const evil = `<script>alert(1)</script>`
	cloud.view.Instances[0].Label, cloud.view.Blocks[0].Label, cloud.view.LoadBalancers[0].Label = evil, evil, evil
	cloud.view.Blocks[0].Holder, cloud.requests[0].Path, cloud.requests[0].UserAgent = evil, "/"+evil, evil
	text, _, header := render(t, cloud)
	if strings.Count(text, "<script") != 1 { // the page's own
		t.Error("a label became markup")
	}
	if strings.Count(text, "&lt;script&gt;") != 6 {
		t.Errorf("%d labels are shown as text, want 6", strings.Count(text, "&lt;script&gt;"))
	}
	if !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("no content security policy")
	}
	wellFormed(t, text)
}
