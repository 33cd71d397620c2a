package vultr

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestVolumeAsTheLiveAPIShowsIt(t *testing.T) {
	// The detached volume of the capture of 2025-11-14.
	const live = `{"block":{"id":"ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8","date_created":"2025-11-14T18:12:48+00:00","cost":1,
	"pending_charges":0.01,"status":"active","size_gb":10,"region":"lax","attached_to_instance":"","attached_to_instance_ip":"",
	"attached_to_instance_label":"","label":"sdtest","mount_id":"lax-ae6c4452b93b4f","block_type":"high_perf","os_id":0,
	"snapshot_id":"0","bootable":false}}`
	net := &cloud{answer: func(*http.Request) (*http.Response, error) { return reply(200, live), nil }}
	got, err := net.client(t).Volume(t.Context(), idA)
	want := Volume{
		ID: "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8", Label: "sdtest", Region: "lax", SizeGB: 10, Type: HighPerf, Status: "active",
		MountID: "lax-ae6c4452b93b4f", Created: got.Created, MonthlyCost: 1,
	}
	if err != nil || got != want || !got.Active() || !got.Created.Equal(time.Date(2025, 11, 14, 18, 12, 48, 0, time.UTC)) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWritesAsTheyAreSent(t *testing.T) {
	net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == loadBalancersPath {
			return reply(202, map[string]any{"load_balancer": map[string]any{"id": idA, "status": "pending"}}), nil
		}
		return good(r), nil
	}}
	c, ctx := net.client(t), t.Context()
	empty, none, no, one, label := "", []string(nil), false, 1, "web"
	noRules, noFirewall, noRegions := []ForwardingRule{}, []FirewallRule(nil), []GlobalRegion(nil)
	tests := []struct {
		do           func() error
		method, path string
		body         string
	}{
		{func() error {
			_, err := c.CreateVolume(ctx, VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 40, Type: StorageOpt})
			return err
		}, "POST", "/v2/blocks", `{"label":"pvc-1","region":"ewr","size_gb":40,"block_type":"storage_opt"}`},
		{func() error { return c.ResizeVolume(ctx, idA, 20) }, "PATCH", "/v2/blocks/" + idA, `{"size_gb":20}`},
		{func() error { return c.AttachVolume(ctx, idA, idB) }, "POST", "/v2/blocks/" + idA + "/attach", `{"instance_id":"` + idB + `","live":true}`},
		{func() error { return c.DetachVolume(ctx, idA) }, "POST", "/v2/blocks/" + idA + "/detach", `{"live":true}`},
		{func() error { return c.DeleteVolume(ctx, idA) }, "DELETE", "/v2/blocks/" + idA, ``},
		{func() error {
			return c.UpdateLoadBalancer(ctx, idA, LoadBalancerSettings{
				Instances: &none, Rules: &noRules, Firewall: &noFirewall, VPC: &empty, StickyCookie: &empty, SSLRedirect: &no, HTTP2: &no,
				GlobalRegions: &noRegions, AutoSSL: &AutoSSL{Zone: "example.com", Domain: "not sent"},
			})
		}, "PATCH", "/v2/load-balancers/" + idA, `{"instances":[],"forwarding_rules":[],"firewall_rules":[],"vpc":"",
			"sticky_session":{"cookie_name":""},"ssl_redirect":false,"http2":false,"global_regions":[],
			"auto_ssl":{"domain_zone":"example.com","domain_sub":""}}`},
		{func() error { return c.UpdateLoadBalancer(ctx, idA, LoadBalancerSettings{}) }, "PATCH", "/v2/load-balancers/" + idA, `{}`},
		{func() error {
			_, err := c.CreateLoadBalancer(ctx, "ewr", LoadBalancerSettings{
				Label: &label, Nodes: &one, Algorithm: &label, Timeout: &one, ProxyProtocol: &no, HTTP3: &no,
				HealthCheck: &HealthCheck{Protocol: "http", Port: 31000, Path: "/x", CheckInterval: 15, ResponseTimeout: 5, UnhealthyThreshold: 5, HealthyThreshold: 4},
				Rules:       &[]ForwardingRule{{"tcp", 80, "tcp", 31080}}, Firewall: &[]FirewallRule{{80, "10.0.0.0/8", "v4"}},
				Instances: &[]string{idB}, Certificate: &Certificate{PrivateKey: "k", Certificate: "c"},
			})
			return err
		}, "POST", "/v2/load-balancers", `{"region":"ewr","label":"web","nodes":1,"balancing_algorithm":"web","timeout":1,"proxy_protocol":false,"http3":false,
			"health_check":{"protocol":"http","port":31000,"path":"/x","check_interval":15,"response_timeout":5,"unhealthy_threshold":5,"healthy_threshold":4},
			"forwarding_rules":[{"frontend_protocol":"tcp","frontend_port":80,"backend_protocol":"tcp","backend_port":31080}],
			"firewall_rules":[{"port":80,"source":"10.0.0.0/8","ip_type":"v4"}],"instances":["` + idB + `"],
			"ssl":{"private_key":"k","certificate":"c"}}`},
		{func() error { return c.DeleteLoadBalancer(ctx, idA) }, "DELETE", "/v2/load-balancers/" + idA, ``},
		{func() error { return c.DeleteCertificate(ctx, idA) }, "DELETE", "/v2/load-balancers/" + idA + "/ssl", ``},
		{func() error { return c.DeleteAutoSSL(ctx, idA) }, "DELETE", "/v2/load-balancers/" + idA + "/auto_ssl", ``},
		{func() error { return c.RelabelVolume(ctx, idA, "") }, "PATCH", "/v2/blocks/" + idA, `{"label":""}`},
	}
	for i, test := range tests {
		if err := test.do(); err != nil {
			t.Errorf("%s %s: %v", test.method, test.path, err)
			continue
		}
		got := net.requests()[i]
		if got.method != test.method || got.path != test.path || !sameJSON(t, got.body, test.body) {
			t.Errorf("got %s %s %s, want %s %s %s", got.method, got.path, got.body, test.method, test.path, test.body)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	if a == "" || b == "" {
		return a == b
	}
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestResizeToWhatIs(t *testing.T) {
	net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPatch {
			return refusal(400, "Nothing to change"), nil
		}
		return good(r), nil // it has 10 GB
	}}
	c := net.client(t)
	if err := c.ResizeVolume(t.Context(), idA, 10); err != nil {
		t.Errorf("it has that size: %v", err)
	}
	if err := c.ResizeVolume(t.Context(), idA, 20); !IsNothingToChange(err) {
		t.Errorf("it has not that size: %v", err)
	}
}

func TestLoadBalancerAsTheAPIShowsIt(t *testing.T) {
	const live = `{"load_balancer":{"id":"` + idA + `","date_created":"2026-01-02T03:04:05+00:00","region":"EWR","label":"web",
	"status":"active","ipv4":"192.0.2.123","ipv6":"2001:0db8:0:0::1","cname":"vlb-x.vultrlb.com","global_cname":"glb-x.vultrlb.com",
	"generic_info":{"balancing_algorithm":"leastconn","timeout":600,"ssl_redirect":true,"sticky_sessions":{"cookie_name":"c"},
	"proxy_protocol":true,"private_network":"old","vpc":""},"health_check":{"protocol":"tcp","port":31234,"path":"",
	"check_interval":15,"response_timeout":5,"unhealthy_threshold":5,"healthy_threshold":4},"has_ssl":true,"http2":true,"http3":true,
	"nodes":3,"forwarding_rules":[{"id":"73d8","frontend_protocol":"tcp","frontend_port":80,"backend_protocol":"tcp","backend_port":31080}],
	"firewall_rules":[{"id":"abcd","port":80,"source":"0.0.0.0/0","ip_type":"v4"}],"instances":["b","a"],
	"auto_ssl":{"domain_zone":"example.com","domain_sub":"www","domain":"www.example.com"},"node_ips":{"v4":["192.0.2.1"],
	"v6":["2001:db8::2"],"private":["10.1.2.3"]},"global_regions":[{"region_id":"ATL","vpc_id":"net"},"ord"]}}`
	net := &cloud{answer: func(*http.Request) (*http.Response, error) { return reply(200, live), nil }}
	got, err := net.client(t).LoadBalancer(t.Context(), idA)
	want := LoadBalancer{
		ID: idA, Label: "web", Region: "ewr", Status: "active", IPv4: "192.0.2.123", IPv6: "2001:db8::1", Hostname: "vlb-x.vultrlb.com",
		Created: got.Created, Nodes: 3, Algorithm: "leastconn", Timeout: 600, SSLRedirect: true, ProxyProtocol: true, HTTP2: true,
		HTTP3: true, StickyCookie: "c", VPC: "old", HasSSL: true, HealthCheck: HealthCheck{"tcp", 31234, "", 15, 5, 5, 4},
		Rules: []ForwardingRule{{"tcp", 80, "tcp", 31080}}, Firewall: []FirewallRule{{80, "0.0.0.0/0", "v4"}}, Instances: []string{"a", "b"},
		AutoSSL: AutoSSL{"example.com", "www", "www.example.com"}, GlobalHostname: "glb-x.vultrlb.com",
		GlobalRegions: []GlobalRegion{{"atl", "net"}, {"ord", ""}},
		NodeIPs:       NodeIPs{V4: []string{"192.0.2.1"}, V6: []string{"2001:db8::2"}, Private: []string{"10.1.2.3"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) || !got.Active() || got.Created.Year() != 2026 {
		t.Errorf("got %+v\nwant %+v, %v", got, want, err)
	}
}

// servers answers for one virtual machine (idA) and one bare metal (idB).
func servers(r *http.Request) (*http.Response, error) {
	vm := map[string]any{
		"id": idA, "label": "w1", "hostname": "w1.local", "region": "EWR", "plan": "vc2-1c-1gb", "status": "pending", "power_status": "running",
		"server_status": "none", "main_ip": "0.0.0.0", "internal_ip": "10.1.2.3", "v6_main_ip": "2002:18f0:4100:263a:5300:07ff:fdd7:691c",
		"tags": []string{"k8s"}, "ram": 1024, "date_created": "2026-01-02T03:04:05+00:00", "tag": "",
	}
	metal := map[string]any{
		"id": idB, "label": "m1", "region": "ewr", "plan": "vbm", "status": "active", "power_status": "running", "main_ip": "192.0.2.9",
		"ram": "32768 MB", "mac_address": 2199756823533, "vpcs": []any{map[string]string{"id": "net", "subnet": "10.1.0.0"}},
	}
	switch r.URL.Path {
	case instancesPath:
		return reply(200, map[string]any{"instances": []any{vm}, "meta": nil}), nil
	case bareMetalsPath:
		return reply(200, map[string]any{"bare_metals": []any{metal}}), nil
	case instancesPath + "/" + idA:
		return reply(200, map[string]any{"instance": vm}), nil
	case bareMetalsPath + "/" + idB:
		return reply(200, map[string]any{"bare_metal": metal}), nil
	case bareMetalsPath + "/" + idB + "/vpcs":
		return reply(200, map[string]any{"vpcs": []any{map[string]string{"id": "a", "ip_address": ""}, map[string]string{"id": "b", "ip_address": "10.1.0.7"}}}), nil
	}
	return refusal(404, "Invalid instance-id."), nil
}

func TestInstanceKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: servers}
		c, ctx := net.client(t), t.Context()
		vm, err := c.Instance(ctx, idA)
		want := Instance{
			ID: idA, Kind: KindVM, Label: "w1", Hostname: "w1.local", Region: "ewr", Plan: "vc2-1c-1gb", Status: "pending",
			PowerStatus: "running", ServerStatus: "none", InternalIP: "10.1.2.3", MainIPv6: "2002:18f0:4100:263a:5300:7ff:fdd7:691c",
			Tags: []string{"k8s"}, Created: vm.Created,
		}
		if err != nil || !reflect.DeepEqual(vm, want) {
			t.Errorf("got %+v, %v", vm, err)
		}
		for range 3 {
			metal, err := c.Instance(ctx, idB)
			if err != nil || metal.Kind != KindBareMetal || metal.MainIP != "192.0.2.9" || metal.InternalIP != "10.1.0.7" || metal.PowerStatus != "running" {
				t.Errorf("got %+v, %v", metal, err)
			}
		}
		if n := net.count("GET", instancesPath+"/"+idB); n != 1 {
			t.Errorf("the wrong route was asked %d times, want once", n)
		}
		list, err := c.Instances(ctx, 0)
		if err != nil || len(list.Items) != 2 || list.Items[0].Kind != KindVM || list.Items[1].Kind != KindBareMetal {
			t.Errorf("got %+v, %v", list, err)
		}
	})
}

func TestAnInstanceIsGoneOnlyIfBothRoutesSaySo(t *testing.T) {
	for _, status := range []int{500, 401, 404, 200} {
		for _, broken := range []string{instancesPath, bareMetalsPath} {
			synctest.Test(t, func(t *testing.T) {
				data := map[string]any{"error": "x"}
				if status == 404 {
					data = map[string]any{"error": "Not found.", "status": 404} // the route is missing, not the server
				}
				net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
					if strings.HasPrefix(r.URL.Path, broken) {
						return reply(status, data), nil
					}
					return refusal(404, "Invalid instance-id."), nil
				}}
				if _, err := net.client(t).Instance(t.Context(), idA); err == nil || IsNotFound(err) {
					t.Errorf("%s says %d: got %v", broken, status, err)
				}
			})
		}
	}
	net := &cloud{answer: func(*http.Request) (*http.Response, error) { return refusal(404, "Invalid instance-id."), nil }}
	if _, err := net.client(t).Instance(t.Context(), idA); !IsNotFound(err) || len(net.requests()) != 2 {
		t.Errorf("both say 404: got %v after %d requests", err, len(net.requests()))
	}
}

// What was seen before is asked for by the route of its kind alone, also when it is gone. A route that fails says nothing.
func TestAnInstanceOfKnownKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := servers
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) { return answer(r) }}
		c, ctx := net.client(t), t.Context()
		if _, err := c.Instances(ctx, 0); err != nil {
			t.Fatal(err)
		}
		for id, path := range map[string]string{idA: instancesPath, idB: bareMetalsPath} {
			answer = func(*http.Request) (*http.Response, error) { return refusal(404, "Invalid instance-id."), nil }
			before := len(net.requests())
			if _, err := c.Instance(ctx, id); !IsNotFound(err) || len(net.requests()) != before+1 || net.count("GET", path+"/"+id) != 1 {
				t.Errorf("%s: %v after %d requests", path, err, len(net.requests())-before)
			}
			answer = func(*http.Request) (*http.Response, error) {
				return reply(404, map[string]any{"error": "Not found.", "status": 404}), nil // the route is missing, not the server
			}
			if _, err := c.Instance(ctx, id); err == nil || IsNotFound(err) {
				t.Errorf("%s: %v without its route", path, err)
			}
		}
	})
}

func TestSetTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(*http.Request) (*http.Response, error) { return reply(202, map[string]any{}), nil }}
		c := net.client(t)
		for _, in := range []struct {
			Instance
			tags []string
		}{{Instance{ID: idA, Kind: KindVM}, []string{"a", "b"}}, {Instance{ID: idB, Kind: KindBareMetal}, nil}} {
			if err := c.SetTags(t.Context(), in.Instance, in.tags); err != nil {
				t.Error(err)
			}
		}
		var sent []string
		for _, r := range net.requests() {
			sent = append(sent, r.method+" "+r.path+" "+strings.TrimSpace(r.body))
		}
		want := []string{"PATCH " + instancesPath + "/" + idA + ` {"tags":["a","b"]}`, "PATCH " + bareMetalsPath + "/" + idB + ` {"tags":[]}`}
		if !slices.Equal(sent, want) {
			t.Errorf("sent %q", sent)
		}
		if err := c.SetTags(t.Context(), Instance{ID: "x"}, nil); err == nil || len(net.requests()) != 2 {
			t.Errorf("of what has no ID: %v", err)
		}
	})
}

func TestKindsAreBounded(t *testing.T) {
	var k kinds
	for i := range maxKinds + 10 {
		k.remember(Instance{ID: strconv.Itoa(i), Kind: KindBareMetal})
	}
	if len(k.known) > maxKinds || k.of(strconv.Itoa(maxKinds+9)) != KindBareMetal || k.of("another") != "" {
		t.Errorf("%d are remembered", len(k.known))
	}
	size := len(k.known)
	k.remember(Instance{ID: strconv.Itoa(maxKinds + 9), Kind: KindBareMetal})
	if len(k.known) != size {
		t.Error("one that is known takes room again")
	}
}

func TestAccountAndRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v2/account" {
				return reply(200, map[string]any{"account": map[string]any{"name": "me", "acls": []string{"manage_users"}, "balance": -1.5}}), nil
			}
			return reply(200, map[string]any{"regions": []any{map[string]any{"id": "EWR", "options": []string{"block_storage_high_perf"}}}}), nil
		}}
		c, ctx := net.client(t), t.Context()
		// Everybody may list regions: that says nothing about the key.
		if _, err := c.Regions(ctx); err != nil || !c.KeyAccepted().IsZero() {
			t.Errorf("key accepted at %v, %v", c.KeyAccepted(), err)
		}
		if a, err := c.Account(ctx); err != nil || a.Name != "me" || len(a.ACLs) != 1 {
			t.Errorf("got %+v, %v", a, err)
		}
		if !c.KeyAccepted().Equal(time.Now()) {
			t.Errorf("key accepted at %v", c.KeyAccepted())
		}
		for range 3 {
			regions, err := c.Regions(ctx)
			if err != nil || len(regions) != 1 || regions[0].ID != "ewr" || !regions[0].Sells("block_storage_high_perf") || regions[0].Sells("x") {
				t.Errorf("got %+v, %v", regions, err)
			}
		}
		if n := net.count("GET", "/v2/regions"); n != 1 {
			t.Errorf("%d lists of regions", n)
		}
		time.Sleep(catalogMaxAge + time.Second) // fake time
		if _, err := c.Regions(ctx); err != nil || net.count("GET", "/v2/regions") != 2 {
			t.Errorf("regions are cached for ever (%v)", err)
		}
		if c.SettleTime() != 5*time.Second {
			t.Errorf("settle time %v", c.SettleTime())
		}
	})
}

// Whether a volume exists is what the API answers to a change of nothing, whatever reads show.
func TestVolumeExists(t *testing.T) {
	for status, want := range map[int]string{204: "true <nil>", 400: "true <nil>", 404: "false <nil>", 403: "false error"} {
		synctest.Test(t, func(t *testing.T) {
			net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPatch {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				return reply(status, map[string]any{"error": "some text", "status": status}), nil
			}}
			exists, err := net.client(t).VolumeExists(t.Context(), idA)
			got := fmt.Sprint(exists, " ", err)
			if err != nil {
				got = fmt.Sprint(exists, " error")
			}
			if got != want || len(net.requests()) != 1 {
				t.Errorf("%d: %s by %d requests, want %s", status, got, len(net.requests()), want)
			}
		})
	}
}
