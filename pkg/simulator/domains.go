package simulator

import (
	"cmp"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// domain is one zone of the platform's DNS. It is in the API only: nobody resolves it. Its ID is its name.
type domain struct {
	head
	DNSSEC  string         `json:"dnssec"` // enabled, disabled
	Primary string         `json:"primary"`
	Email   string         `json:"email"`
	Records []storedRecord `json:"records"`
}

// storedRecord is a record with the number that orders it among the others.
type storedRecord struct {
	Seq int64 `json:"seq"`
	domainRecord
}

// domainRecord is one record, in the API's own form.
type domainRecord struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Name     string `json:"name"` // without the domain, "" for the domain itself
	Data     string `json:"data"`
	Priority int    `json:"priority"`
	TTL      int    `json:"ttl"`
}

const defaultTTL = 300

var domainRoutes = []route{
	{method: "GET", path: "/v2/domains", operation: "list_domains", handle: (*Simulator).listDomains},
	{method: "POST", path: "/v2/domains", operation: "create_domain", handle: (*Simulator).createDomain},
	{method: "GET", path: "/v2/domains/{domain}", operation: "get_domain", handle: (*Simulator).getDomain},
	{method: "PUT", path: "/v2/domains/{domain}", operation: "update_domain", handle: (*Simulator).updateDomain},
	{method: "DELETE", path: "/v2/domains/{domain}", operation: "delete_domain", handle: (*Simulator).deleteDomain},
	{method: "GET", path: "/v2/domains/{domain}/soa", operation: "get_domain_soa", handle: (*Simulator).getSOA},
	{method: "PATCH", path: "/v2/domains/{domain}/soa", operation: "update_domain_soa", handle: (*Simulator).updateSOA},
	{method: "GET", path: "/v2/domains/{domain}/dnssec", operation: "get_domain_dnssec", handle: (*Simulator).getDNSSEC},
	{method: "GET", path: "/v2/domains/{domain}/records", operation: "list_domain_records", handle: (*Simulator).listRecords},
	{method: "POST", path: "/v2/domains/{domain}/records", operation: "create_domain_record", handle: (*Simulator).createRecord},
	{method: "GET", path: "/v2/domains/{domain}/records/{record}", operation: "get_domain_record", handle: (*Simulator).getRecord},
	{method: "PATCH", path: "/v2/domains/{domain}/records/{record}", operation: "update_domain_record", handle: (*Simulator).updateRecord},
	{method: "DELETE", path: "/v2/domains/{domain}/records/{record}", operation: "delete_domain_record", handle: (*Simulator).deleteRecord},
}

var (
	errNoDomain = wire.NotFound("Invalid domain")
	errNoRecord = wire.NotFound("Invalid record") // the platform's text is unknown

	domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$`)
)

func showDomain(d domain) any {
	return map[string]any{"domain": d.ID, "date_created": wire.Time(d.Created), "dns_sec": d.DNSSEC}
}

// zone is the name in the path.
func zone(c *call) string { return strings.ToLower(c.req.PathValue("domain")) }

// withDomain answers a read of what a domain has.
func (s *Simulator) withDomain(c *call, read func(d domain) (int, any, error)) (int, any, error) {
	d, ok := s.domains.Get(zone(c))
	if !ok {
		return 0, nil, errNoDomain
	}
	return read(d)
}

func (s *Simulator) listDomains(c *call) (int, any, error) {
	return list(s, c, "domains", s.domains.All(), everything, showDomain)
}

func (s *Simulator) getDomain(c *call) (int, any, error) {
	return s.withDomain(c, func(d domain) (int, any, error) {
		return http.StatusOK, map[string]any{"domain": showDomain(d)}, nil
	})
}

type domainRequest struct {
	Domain string `json:"domain"`
	IP     string `json:"ip"`
	DNSSEC string `json:"dns_sec"`
}

func (s *Simulator) createDomain(c *call) (int, any, error) {
	var req domainRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	d, bad := s.newDomain(req)
	if bad != nil {
		return 0, nil, bad
	}
	err := s.update(func(tx *store.Tx) error {
		if _, taken := s.domains.GetIn(tx, d.ID); taken {
			return ours("The domain is already hosted here.")
		}
		s.domains.Put(tx, d.ID, d)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"domain": showDomain(d)}, nil
}

// newDomain is a zone with the platform's name servers, and with an address the records that make it reachable.
func (s *Simulator) newDomain(req domainRequest) (domain, *wire.Error) {
	name := strings.ToLower(req.Domain)
	if !domainName.MatchString(name) {
		return domain{}, errNoDomainName
	}
	d := domain{head: s.newHead(), DNSSEC: "disabled", Primary: "ns1.vultr.com", Email: "dnsadm@vultr.com"}
	d.ID = name
	if req.DNSSEC != "" {
		d.DNSSEC = req.DNSSEC
	}
	if bad := checkDNSSEC(d.DNSSEC); bad != nil {
		return d, bad
	}
	for _, server := range []string{"ns1.vultr.com", "ns2.vultr.com"} {
		d.Records = append(d.Records, s.stored(domainRecord{ID: newID(), Type: "NS", Data: server, TTL: defaultTTL}))
	}
	if req.IP == "" {
		return d, nil
	}
	kind := "A"
	if addr, err := netip.ParseAddr(req.IP); err != nil {
		return d, ours("Invalid ip.")
	} else if addr.Is6() {
		kind = "AAAA"
	}
	d.Records = append(d.Records,
		s.stored(domainRecord{ID: newID(), Type: kind, Data: req.IP, TTL: defaultTTL}),
		s.stored(domainRecord{ID: newID(), Type: "CNAME", Name: "*", Data: name, TTL: defaultTTL}),
		s.stored(domainRecord{ID: newID(), Type: "MX", Data: name, Priority: 10, TTL: defaultTTL}))
	return d, nil
}

func (s *Simulator) stored(r domainRecord) storedRecord {
	return storedRecord{Seq: s.nextSeq(), domainRecord: r}
}

var errNoDomainName = ours("Invalid domain name.")

func checkDNSSEC(value string) *wire.Error {
	if value != "enabled" && value != "disabled" {
		return ours("Invalid dns_sec.")
	}
	return nil
}

// changeDomain runs a change of a domain that exists.
func (s *Simulator) changeDomain(c *call, change func(d *domain) error) error {
	return s.update(func(tx *store.Tx) error {
		d, ok := s.domains.GetIn(tx, zone(c))
		if !ok {
			return errNoDomain
		}
		if err := change(&d); err != nil {
			return err
		}
		s.domains.Put(tx, d.ID, d)
		return nil
	})
}

func (s *Simulator) updateDomain(c *call) (int, any, error) {
	var req domainRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeDomain(c, func(d *domain) error {
		if bad := checkDNSSEC(req.DNSSEC); bad != nil {
			return bad
		}
		d.DNSSEC = req.DNSSEC
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteDomain(c *call) (int, any, error) {
	return remove(s, s.domains, zone(c), errNoDomain)
}

type soa struct {
	Primary string `json:"nsprimary"`
	Email   string `json:"email"`
}

func (s *Simulator) getSOA(c *call) (int, any, error) {
	return s.withDomain(c, func(d domain) (int, any, error) {
		return http.StatusOK, map[string]any{"dns_soa": soa{d.Primary, d.Email}}, nil
	})
}

func (s *Simulator) updateSOA(c *call) (int, any, error) {
	var req soa
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeDomain(c, func(d *domain) error {
		if req.Primary != "" {
			d.Primary = req.Primary
		}
		if req.Email != "" {
			d.Email = req.Email
		}
		return nil
	})
	return s.noContent(), nil, err
}

// getDNSSEC returns no keys: the zone is not signed here.
func (s *Simulator) getDNSSEC(c *call) (int, any, error) {
	return s.withDomain(c, func(domain) (int, any, error) {
		return http.StatusOK, map[string]any{"dns_sec": []string{}}, nil
	})
}

func (s *Simulator) listRecords(c *call) (int, any, error) {
	return s.withDomain(c, func(d domain) (int, any, error) {
		rows := []domainRecord{}
		for _, r := range d.Records {
			rows = append(rows, r.domainRecord)
		}
		// State files that are older than the number have records without.
		return orderedList(c, "records", rows, func(n int) int64 { return cmp.Or(d.Records[n].Seq, int64(n)+1) })
	})
}

func (d domain) find(record string) int {
	return slices.IndexFunc(d.Records, func(r storedRecord) bool { return r.ID == record })
}

func (s *Simulator) getRecord(c *call) (int, any, error) {
	return s.withDomain(c, func(d domain) (int, any, error) {
		n := d.find(c.req.PathValue("record"))
		if n < 0 {
			return 0, nil, errNoRecord
		}
		return http.StatusOK, map[string]any{"record": d.Records[n].domainRecord}, nil
	})
}

type recordRequest struct {
	Type     *string `json:"type"`
	Name     *string `json:"name"`
	Data     *string `json:"data"`
	TTL      *int    `json:"ttl"`
	Priority *int    `json:"priority"`
}

var recordTypes = []string{"A", "AAAA", "CNAME", "NS", "MX", "SRV", "TXT", "CAA", "SSHFP"}

// with is the record after a request, or why it is refused.
func (r domainRecord) with(req recordRequest) (domainRecord, *wire.Error) {
	set(&r.Type, req.Type)
	set(&r.Name, req.Name)
	set(&r.Data, req.Data)
	set(&r.TTL, req.TTL)
	set(&r.Priority, req.Priority)
	r.Type = strings.ToUpper(r.Type)
	addr, err := netip.ParseAddr(r.Data)
	switch {
	case !slices.Contains(recordTypes, r.Type):
		return r, ours("Invalid type.")
	case r.Data == "", r.Type == "A" && (err != nil || !addr.Is4()), r.Type == "AAAA" && (err != nil || !addr.Is6()):
		return r, ours("Invalid data.")
	case r.TTL < 1:
		return r, ours("Invalid ttl.")
	}
	return r, nil
}

func (s *Simulator) createRecord(c *call) (int, any, error) {
	var req recordRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	var r domainRecord
	err := s.changeDomain(c, func(d *domain) error {
		var bad *wire.Error
		if r, bad = (domainRecord{ID: newID(), TTL: defaultTTL}).with(req); bad != nil {
			return bad
		}
		d.Records = append(slices.Clone(d.Records), s.stored(r))
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"record": r}, nil
}

func (s *Simulator) updateRecord(c *call) (int, any, error) {
	var req recordRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeDomain(c, func(d *domain) error {
		n := d.find(c.req.PathValue("record"))
		if n < 0 {
			return errNoRecord
		}
		r, bad := d.Records[n].with(req)
		if bad != nil {
			return bad
		}
		d.Records = slices.Clone(d.Records)
		d.Records[n].domainRecord = r
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteRecord(c *call) (int, any, error) {
	err := s.changeDomain(c, func(d *domain) error {
		n := d.find(c.req.PathValue("record"))
		if n < 0 {
			return errNoRecord
		}
		d.Records = slices.Delete(slices.Clone(d.Records), n, n+1)
		return nil
	})
	return s.noContent(), nil, err
}
