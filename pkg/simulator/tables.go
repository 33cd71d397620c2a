package simulator

import (
	"time"
	"unicode/utf8"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// accountTables are the records of the account around its servers, volumes and load balancers.
type accountTables struct {
	vpcs       *store.Table[vpc]
	departures *store.Table[departure]

	firewalls   *store.Table[firewallGroup]
	reservedIPs *store.Table[reservedIP]
	sshKeys     *store.Table[sshKey]
	scripts     *store.Table[startupScript]

	domains  *store.Table[domain]
	clusters *store.Table[cluster]
}

func newAccountTables() accountTables {
	return accountTables{
		vpcs:       store.NewTable[vpc]("vpcs"),
		departures: store.NewTable[departure]("departures"),

		firewalls:   store.NewTable[firewallGroup]("firewall_groups"),
		reservedIPs: store.NewTable[reservedIP]("reserved_ips"),
		sshKeys:     store.NewTable[sshKey]("ssh_keys"),
		scripts:     store.NewTable[startupScript]("startup_scripts"),

		domains:  store.NewTable[domain]("domains"),
		clusters: store.NewTable[cluster]("clusters"),
	}
}

// at returns the tables as they were at a moment.
func (t accountTables) at(moment time.Time) accountTables {
	return accountTables{
		vpcs: t.vpcs.At(moment), departures: t.departures.At(moment),
		firewalls: t.firewalls.At(moment), reservedIPs: t.reservedIPs.At(moment),
		sshKeys: t.sshKeys.At(moment), scripts: t.scripts.At(moment),
		domains: t.domains.At(moment), clusters: t.clusters.At(moment),
	}
}

// kinds returns the tables for opening.
func (t accountTables) kinds() []store.Kind {
	return []store.Kind{t.vpcs, t.departures, t.firewalls, t.reservedIPs, t.sshKeys, t.scripts, t.domains, t.clusters}
}

// highestSeq is the highest sequence number of these tables.
func (t accountTables) highestSeq() int64 {
	high := max(highest(t.vpcs), highest(t.departures), highest(t.firewalls), highest(t.reservedIPs), highest(t.sshKeys),
		highest(t.scripts), highest(t.domains), highest(t.clusters))
	for _, d := range t.domains.All() {
		for _, r := range d.Records {
			high = max(high, r.Seq)
		}
	}
	return high
}

func highest[T listed](rows *store.Table[T]) int64 {
	var high int64
	for _, r := range rows.All() {
		high = max(high, r.header().Seq)
	}
	return high
}

// ours makes an error 400 in our words, where it is known that the platform refuses but not what it says.
func ours(format string, args ...any) *wire.Error { return wire.BadRequest(format, args...) }

// remove deletes the record that a path names and that nothing depends on.
func remove[T any](s *Simulator, rows *store.Table[T], id string, missing error) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		if _, ok := rows.GetIn(tx, id); !ok {
			return missing
		}
		rows.Delete(tx, id)
		return nil
	})
	return s.noContent(), nil, err
}

// truncated cuts a text to so many characters without a word, as the platform does.
func (s *Simulator) truncated(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit || !s.keeps(quirkTruncation) {
		return text
	}
	return string([]rune(text)[:limit])
}
