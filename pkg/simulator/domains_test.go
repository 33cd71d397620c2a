package simulator_test

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func TestDNS(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		w.post("/v2/domains", `{"domain":"Example.COM","ip":"192.0.2.7"}`).is(201).has("domain.domain", "example.com").has("domain.dns_sec", "disabled")
		w.post("/v2/domains", `{"domain":"example.com"}`).is(400)
		const path = "/v2/domains/example.com"
		w.do("PUT", path, `{"dns_sec":"enabled"}`).is(204)
		w.do("PUT", path, `{"dns_sec":"perhaps"}`).is(400)
		w.get(path).is(200).has("domain.dns_sec", "enabled")
		w.get(path+"/dnssec").is(200).has("dns_sec", []any{})
		w.get(path+"/soa").is(200).has("dns_soa.nsprimary", "ns1.vultr.com")
		w.patch(path+"/soa", `{"email":"me@example.com"}`).is(204)
		w.get(path+"/soa").has("dns_soa.email", "me@example.com").has("dns_soa.nsprimary", "ns1.vultr.com")

		records := path + "/records"
		w.get(records+"?per_page=3").is(200).has("meta.total", 5).hasField("records", 2, "type", "A").hasField("records", 2, "data", "192.0.2.7")
		r := w.post(records, `{"name":"www","type":"aaaa","data":"2001:db8::1","ttl":60}`).is(201).
			has("record.type", "AAAA").has("record.ttl", 60).has("record.name", "www")
		id := r.text("record.id")
		w.patch(records+"/"+id, `{"data":"2001:db8::2","name":""}`).is(204)
		w.get(records+"/"+id).is(200).has("record.data", "2001:db8::2").has("record.name", "").has("record.ttl", 60)
		w.patch(records+"/"+id, `{"data":"192.0.2.1"}`).is(400)
		w.delete(records + "/" + id).is(204)
		w.get(records+"/"+id).refused(404, "Invalid record")
		w.patch(records+"/"+id, `{}`).is(404)
		w.delete(records + "/" + id).is(404)
		for _, bad := range []string{`{}`, `{"type":"A","data":"::1"}`, `{"type":"X","data":"y"}`, `{"type":"TXT"}`, `{"type":"TXT","data":"x","ttl":-1}`} {
			w.post(records, bad).is(400)
		}
		for _, bad := range []string{`{}`, `{"domain":"localhost"}`, `{"domain":"a_b.com"}`, `{"domain":"b.com","ip":"x"}`, `{"domain":"b.com","dns_sec":"x"}`} {
			w.post("/v2/domains", bad).is(400)
		}
		for _, part := range []string{"", "/soa", "/dnssec", "/records", "/records/" + nobody} {
			w.get("/v2/domains/nobody.example"+part).refused(404, "Invalid domain")
		}
		w.delete(path).is(204)
		w.get(path).refused(404, "Invalid domain")
		w.delete(path).refused(404, "Invalid domain")
	})
}
