package vultr

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Each test here is named after a trap of govultr and shows, over a real connection, that this package closes it.

// everyCreate makes one object of every kind that can be created.
func everyCreate() map[string]func(ctx context.Context, c *Client) error {
	label := "x"
	return map[string]func(ctx context.Context, c *Client) error{
		"volume": func(ctx context.Context, c *Client) error {
			_, err := c.CreateVolume(ctx, VolumeRequest{Label: "x", Region: "ewr", SizeGB: 10, Type: HighPerf})
			return err
		},
		"snapshot": func(ctx context.Context, c *Client) error { _, err := c.CreateSnapshot(ctx, idB, "x"); return err },
		"file system": func(ctx context.Context, c *Client) error {
			_, err := c.CreateFileSystem(ctx, FileSystemRequest{Label: "x"})
			return err
		},
		"load balancer": func(ctx context.Context, c *Client) error {
			_, err := c.CreateLoadBalancer(ctx, "ewr", LoadBalancerSettings{Label: &label})
			return err
		},
		"vpc": func(ctx context.Context, c *Client) error {
			_, err := c.CreateVPC(ctx, VPCRequest{Region: "ewr"})
			return err
		},
		"reserved ip": func(ctx context.Context, c *Client) error {
			_, err := c.CreateReservedIP(ctx, "ewr", "v4", "x")
			return err
		},
		"firewall group": func(ctx context.Context, c *Client) error { _, err := c.CreateFirewallGroup(ctx, "x"); return err },
		"firewall rule": func(ctx context.Context, c *Client) error {
			_, err := c.CreateFirewallGroupRule(ctx, idA, GroupRule{Protocol: "tcp", Port: "22", Subnet: netip.MustParsePrefix("192.0.2.0/24")})
			return err
		},
	}
}

// everyRead reads and lists every kind of object.
func everyRead() map[string]func(ctx context.Context, c *Client) error {
	return map[string]func(ctx context.Context, c *Client) error{
		"account":      func(ctx context.Context, c *Client) error { _, err := c.Account(ctx); return err },
		"regions":      func(ctx context.Context, c *Client) error { _, err := c.Regions(ctx); return err },
		"plans":        func(ctx context.Context, c *Client) error { _, err := c.Plans(ctx); return err },
		"volume":       func(ctx context.Context, c *Client) error { _, err := c.Volume(ctx, idA); return err },
		"volumes":      func(ctx context.Context, c *Client) error { _, err := c.Volumes(ctx, 0); return err },
		"snapshot":     func(ctx context.Context, c *Client) error { _, err := c.Snapshot(ctx, idA); return err },
		"snapshots":    func(ctx context.Context, c *Client) error { _, err := c.Snapshots(ctx, 0); return err },
		"file system":  func(ctx context.Context, c *Client) error { _, err := c.FileSystem(ctx, idA); return err },
		"file systems": func(ctx context.Context, c *Client) error { _, err := c.FileSystems(ctx, 0); return err },
		"attachment": func(ctx context.Context, c *Client) error {
			_, err := c.FileSystemAttachment(ctx, idA, idB)
			return err
		},
		"attachments":     func(ctx context.Context, c *Client) error { _, err := c.FileSystemAttachments(ctx, idA, 0); return err },
		"server":          func(ctx context.Context, c *Client) error { _, err := c.Instance(ctx, idA); return err },
		"servers":         func(ctx context.Context, c *Client) error { _, err := c.Instances(ctx, 0); return err },
		"load balancer":   func(ctx context.Context, c *Client) error { _, err := c.LoadBalancer(ctx, idA); return err },
		"load balancers":  func(ctx context.Context, c *Client) error { _, err := c.LoadBalancers(ctx, 0); return err },
		"vpc":             func(ctx context.Context, c *Client) error { _, err := c.VPC(ctx, idA); return err },
		"vpcs":            func(ctx context.Context, c *Client) error { _, err := c.VPCs(ctx, 0); return err },
		"reserved ip":     func(ctx context.Context, c *Client) error { _, err := c.ReservedIP(ctx, idA); return err },
		"reserved ips":    func(ctx context.Context, c *Client) error { _, err := c.ReservedIPs(ctx, 0); return err },
		"firewall group":  func(ctx context.Context, c *Client) error { _, err := c.FirewallGroup(ctx, idA); return err },
		"firewall groups": func(ctx context.Context, c *Client) error { _, err := c.FirewallGroups(ctx, 0); return err },
		"firewall rules":  func(ctx context.Context, c *Client) error { _, err := c.FirewallGroupRules(ctx, idA); return err },
	}
}

// everything answers any route with an object of the kind.
func everything(r *http.Request) (*http.Response, error) {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, snapshots.path):
		if path == snapshots.path && r.Method == http.MethodGet {
			return reply(200, `{"snapshots":[`+liveSnapshot+`]}`), nil
		}
		return reply(201, liveSnapshot), nil
	case strings.HasPrefix(path, fileSystemsPath):
		return fileSystemCloud(r)
	case path == blocksPath && r.Method == http.MethodGet:
		return reply(200, blocks(block(idA, "active", ""))), nil
	case strings.HasPrefix(path, blocksPath):
		return good(r), nil
	case strings.HasPrefix(path, loadBalancersPath):
		balancer := map[string]any{"id": idA}
		return reply(202, map[string]any{"load_balancer": balancer, "load_balancers": []any{balancer}}), nil
	case strings.HasPrefix(path, instancesPath), strings.HasPrefix(path, bareMetalsPath):
		return servers(r)
	case path == "/v2/account":
		return reply(200, `{"account":{"name":"me"}}`), nil
	case path == "/v2/regions":
		return reply(200, `{"regions":[{"id":"ewr"}]}`), nil
	}
	return networkCloud(r)
}

// TestTrapRepeatedPOST: govultr repeats a POST after a lost answer or a 5xx, which makes a second object.
func TestTrapRepeatedPOST(t *testing.T) {
	ends := map[string]func(w http.ResponseWriter){
		"connection lost after the work": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"500":                            func(w http.ResponseWriter) { writeJSON(w, 500, map[string]any{"error": "oops"}) },
		"503 with Retry-After": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "0")
			writeJSON(w, 503, map[string]any{"error": "busy"})
		},
		"an answer that says nothing": func(w http.ResponseWriter) { writeJSON(w, 201, map[string]any{}) },
	}
	for end, answer := range ends {
		for kind, create := range everyCreate() {
			var mu sync.Mutex
			made := 0
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					mu.Lock()
					made++
					mu.Unlock()
				}
				answer(w)
			})
			err := create(t.Context(), c)
			mu.Lock()
			if made != 1 || !IsOutcomeUnknown(err) {
				t.Errorf("%s, %s: sent %d times, %v", kind, end, made, err)
			}
			mu.Unlock()
		}
	}
}

// TestTrapLostStatus: govultr reduces every failure to a text, after retries to the text of a text.
func TestTrapLostStatus(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 409, 422, 429, 500, 503} {
		synctest.Test(t, func(t *testing.T) {
			net := &cloud{answer: func(*http.Request) (*http.Response, error) {
				resp := refusal(status, "the reason")
				resp.Header.Set("Retry-After", "3")
				return resp, nil
			}}
			c := net.client(t)
			for name, call := range everyRead() {
				err := call(t.Context(), c)
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Status != status || e.Message != "the reason" || e.RetryAfter != 3*time.Second {
					t.Errorf("%s answered %d: got %#v", name, status, err)
				}
			}
		})
	}
}

// TestTrapFileSystemStatus: since v3.33.2 govultr reads the status of a file system, which is a word, as the number of an
// error, and fails after the work was done.
func TestTrapFileSystemStatus(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, liveFileSystem) // a client that left is the test's business
	})
	made, err := c.CreateFileSystem(t.Context(), FileSystemRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10})
	if err != nil || !reflect.DeepEqual(made, wantFileSystem) {
		t.Errorf("create: %+v, %v", made, err)
	}
	read, err := c.FileSystem(t.Context(), idA)
	if err != nil || !reflect.DeepEqual(read, wantFileSystem) {
		t.Errorf("read: %+v, %v", read, err)
	}
	if err := c.ResizeFileSystem(t.Context(), idA, 20); err != nil {
		t.Errorf("resize: %v", err)
	}
	if err := c.RelabelFileSystem(t.Context(), idA, "x"); err != nil {
		t.Errorf("relabel: %v", err)
	}
}

// TestTrapContentType: govultr decodes nothing, and reports no error, when the Content-Type is not exactly its own.
func TestTrapContentType(t *testing.T) {
	for kind, fine := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true,
		"text/html": false, "": false, "application/jsonp": false,
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			resp, err := everything(r)
			if err != nil {
				t.Error(err)
				return
			}
			w.Header()["Content-Type"] = []string{kind}
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body) // a client that left is the test's business
		})
		for name, read := range everyRead() {
			if err := read(t.Context(), c); (err == nil) != fine {
				t.Errorf("read %s as %q: %v", name, kind, err)
			}
		}
		for name, create := range everyCreate() {
			if err := create(t.Context(), c); (err == nil) != fine || IsOutcomeUnknown(err) == fine {
				t.Errorf("create %s as %q: %v", name, kind, err)
			}
		}
	}
}

// TestTrapOmittedEmptyValues: govultr leaves empty values out of its requests, so that the last backend, rule or label
// can never be taken away, and sends a size of 0 GB where none was meant.
func TestTrapOmittedEmptyValues(t *testing.T) {
	var body string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = string(data)
		w.WriteHeader(http.StatusNoContent)
	})
	ctx, empty, off := t.Context(), "", false
	balancer := func(s LoadBalancerSettings) func() error {
		return func() error { return c.UpdateLoadBalancer(ctx, idA, s) }
	}
	for want, send := range map[string]func() error{
		`{"instances":[]}`:                      balancer(LoadBalancerSettings{Instances: &[]string{}}),
		`{"forwarding_rules":[]}`:               balancer(LoadBalancerSettings{Rules: &[]ForwardingRule{}}),
		`{"firewall_rules":[]}`:                 balancer(LoadBalancerSettings{Firewall: new([]FirewallRule)}),
		`{"global_regions":[]}`:                 balancer(LoadBalancerSettings{GlobalRegions: new([]GlobalRegion)}),
		`{"sticky_session":{"cookie_name":""}}`: balancer(LoadBalancerSettings{StickyCookie: &empty}),
		`{"vpc":""}`:                            balancer(LoadBalancerSettings{VPC: &empty}),
		`{"label":""}`:                          balancer(LoadBalancerSettings{Label: &empty}),
		`{"proxy_protocol":false}`:              balancer(LoadBalancerSettings{ProxyProtocol: &off}),
		` {"label":""}`:                         func() error { return c.RelabelVolume(ctx, idA, "") },
		`  {"label":""}`:                        func() error { return c.RelabelFileSystem(ctx, idA, "") },
		`   {"label":""}`:                       func() error { return c.RelabelReservedIP(ctx, idA, "") },
		`{"description":""}`:                    func() error { return c.DescribeSnapshot(ctx, idA, "") },
		` {"description":""}`:                   func() error { return c.DescribeVPC(ctx, idA, "") },
		`  {"description":""}`:                  func() error { return c.DescribeFirewallGroup(ctx, idA, "") },

		`{"health_check":{"protocol":"http","port":80,"path":"/"}}`: balancer(LoadBalancerSettings{HealthCheck: &HealthCheck{Protocol: "http", Port: 80}}),
		`{"health_check":{"protocol":"tcp","port":80}}`:             balancer(LoadBalancerSettings{HealthCheck: &HealthCheck{Protocol: "tcp", Port: 80}}),
	} {
		if err := send(); err != nil || !sameJSON(t, body, want) {
			t.Errorf("sent %s, want %s (%v)", body, want, err)
		}
	}
}

// TestTrapNilMeta: some lists have no meta, or one without links; following them without a look is a panic.
func TestTrapNilMeta(t *testing.T) {
	for _, meta := range []string{``, `,"meta":null`, `,"meta":{}`, `,"meta":{"total":1}`, `,"meta":{"total":1,"links":null}`} {
		synctest.Test(t, func(t *testing.T) {
			net := &cloud{answer: func(*http.Request) (*http.Response, error) {
				return reply(200, `{"vfs":[`+liveFileSystem+`],"blocks":[{"id":"`+idA+`"}]`+meta+`}`), nil
			}}
			c := net.client(t)
			systems, err := c.FileSystems(t.Context(), 0)
			volumes, errVolumes := c.Volumes(t.Context(), 0)
			if err != nil || errVolumes != nil || len(systems.Items) != 1 || len(volumes.Items) != 1 {
				t.Errorf("%q: %v, %v, %v, %v", meta, systems.Items, err, volumes.Items, errVolumes)
			}
		})
	}
}

// TestTrapUnreadFields: govultr decodes all that it knows of a virtual machine. What nobody here reads can be odd without that no
// server is known any more.
func TestTrapUnreadFields(t *testing.T) {
	odd := map[string]any{
		"id": idA, "label": "w1", "main_ip": "192.0.2.1", "vpcs": []any{map[string]any{"id": "net", "subnet": 7}}, "tags": nil,
		"ram": "1024 MB", "disk": 25.5, "vcpu_count": nil, "allowed_bandwidth": "1 TB", "os_id": "2284", "v6_network_size": "", "vpc_only": 0,
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case instancesPath:
			writeJSON(w, 200, map[string]any{"instances": []any{odd}})
		case bareMetalsPath:
			writeJSON(w, 200, map[string]any{"bare_metals": []any{}})
		default:
			writeJSON(w, 200, map[string]any{"instance": odd})
		}
	})
	list, err := c.Instances(t.Context(), 0)
	if err != nil || len(list.Items) != 1 || list.Items[0].MainIP != "192.0.2.1" || len(list.Items[0].VPCs) != 1 {
		t.Errorf("listed: %+v, %v", list.Items, err)
	}
	if in, err := c.Instance(t.Context(), idA); err != nil || in.Label != "w1" || in.Kind != KindVM {
		t.Errorf("read: %+v, %v", in, err)
	}
}

// TestTrapUnusualSuccess: govultr takes a success that it does not know, such as 207, for a failure.
func TestTrapUnusualSuccess(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusMultiStatus, map[string]any{"block": block(idA, "active", "")})
	})
	if v, err := c.Volume(t.Context(), idA); err != nil || v.ID != idA {
		t.Errorf("got %+v, %v", v, err)
	}
}

// TestTrapDroppedPath: govultr drops the path of its base URL without a word.
func TestTrapDroppedPath(t *testing.T) {
	if _, err := New(Config{BaseURL: "https://proxy.example/vultr", Key: testKey}); err == nil {
		t.Error("a base URL with a path was accepted, and its requests would go elsewhere")
	}
}

// TestTrapHiddenCancellation: behind the text of a retry the end of the context cannot be found.
func TestTrapHiddenCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := c.Volume(ctx, idA); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
