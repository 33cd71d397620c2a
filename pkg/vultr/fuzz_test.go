package vultr

import (
	"encoding/json"
	"strings"
	"testing"
)

// answersForFuzzing are what inputs grow from: answers of every kind, whole, empty, bare and with what does not belong there.
var answersForFuzzing = []string{
	`{"load_balancer":{"id":"aaaaaaaa-0000-4000-8000-000000000001","label":"www","status":"active","instances":["bbbbbbbb-0000-4000-8000-000000000002"],` +
		`"forwarding_rules":[{"frontend_protocol":"tcp","frontend_port":80,"backend_protocol":"tcp","backend_port":30080}],` +
		`"generic_info":{"balancing_algorithm":"roundrobin","sticky_sessions":{"cookie_name":"a"}},"global_regions":["ams",{"region_id":"fra","vpc_id":"c"}]}}`,
	`{"load_balancers":[{"id":"a","date_created":"2026-01-02T03:04:05+00:00"},{"id":"a"},{}],"meta":{"total":3,"links":{"next":"bmV4dA=="}}}`,
	`{"instances":[{"id":"a","main_ip":"192.0.2.1","v6_main_ip":"","power_status":"running","tags":null}],"meta":null}`,
	`{"bare_metals":[{"id":"a","status":"active"}],"meta":{"links":null}}`,
	`{"blocks":[{"id":"a","size_gb":10,"attached_to_instance":null,"mount_id":"ewr-1"}],"meta":{"total":-1}}`,
	`{"id":"a","block_id":"b","size_bytes":1e9,"date_created":"yesterday"}`,
	`{"vfs":[{"id":"a","storage_size":{"gb":10},"storage_used":null}]}`,
	`{"vpcs":[{"id":"a","v4_subnet":"10.0.0.0","v4_subnet_mask":99}]}`,
	`{"firewall_groups":[{"id":"a","instance_count":"many"}]}`,
	`{"reserved_ips":[{"id":"a","subnet":"not an address"}]}`,
	`{"load_balancers":null}`, `{"load_balancers":{}}`, `{"load_balancers":[null]}`, `[]`, `null`, `"x"`, `{}`, ``, `{"load_balancers":[`,
}

// FuzzAnswers: whatever the API answers with a status of success, nothing panics, and a list is one only if it is there under its key.
func FuzzAnswers(f *testing.F) {
	for _, answer := range answersForFuzzing {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		decode(t, answer, loadBalancers)
		decode(t, answer, virtualMachines)
		decode(t, answer, bareMetals)
		decode(t, answer, volumes)
		decode(t, answer, snapshots)
		decode(t, answer, fileSystems)
		decode(t, answer, vpcs)
		decode(t, answer, reservedIPs)
		decode(t, answer, firewallGroups)
	})
}

// decode reads an answer as a list and as a single object, and makes what it holds ours.
func decode[W, D any](t *testing.T, answer []byte, r resource[W, D]) {
	t.Helper()
	list := page[W]{key: r.many, take: func(item W) { r.id(r.domain(item)) }}
	if json.Unmarshal(answer, &list) == nil {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(answer, &fields); err != nil || fields[r.many] == nil {
			t.Errorf("%q is taken for a list of %s, error %v", answer, r.many, err)
		}
	}
	one := single[W]{keys: r.one}
	if json.Unmarshal(answer, &one) == nil {
		r.id(r.domain(one.object))
	}
}

// FuzzMessage: what is told of a failure is short, in one line, and holds no key.
func FuzzMessage(f *testing.F) {
	const key = "FUZZKEY0123456789ABCDEFGHIJ"
	for _, body := range []string{
		`{"error":"Invalid API token.","status":401}`, `{"message":"x"}`, "<html>\n<body>502</body></html>", "token " + key, `{"error":"` + key + `"}`,
		`{"error":"\u0046UZZKEY0123456789ABCDEFGHIJ"}`, "-----BEGIN PRIVATE KEY-----" + key, "\xff\xfe", "",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		red := &redactor{}
		red.add(key)
		text, _ := (&transport{redact: red}).message(body)
		if len(text) > maxMessage+len("...") || strings.ContainsAny(text, "\r\n") || strings.Contains(text, key) {
			t.Errorf("%q is told as %q", body, text)
		}
	})
}
