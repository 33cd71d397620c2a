package simulator

import (
	"unicode/utf8"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// accountTables are the records of the account around its servers, volumes and load balancers.
type accountTables struct {
	vpcs       *store.Table[vpc]
	departures *store.Table[departure]
}

func newAccountTables() accountTables {
	return accountTables{
		vpcs:       store.NewTable[vpc]("vpcs"),
		departures: store.NewTable[departure]("departures"),
	}
}

// kinds gives the tables for opening.
func (t accountTables) kinds() []store.Kind {
	return []store.Kind{t.vpcs, t.departures}
}

// highestSeq is the highest sequence number of these tables.
func (t accountTables) highestSeq() int64 {
	return max(highest(t.vpcs), highest(t.departures))
}

func highest[T listed](rows *store.Table[T]) int64 {
	var high int64
	for _, r := range rows.All() {
		high = max(high, r.header().Seq)
	}
	return high
}

// truncated cuts a text to so many characters without a word, as the platform does.
func (s *Simulator) truncated(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit || !s.keeps(quirkTruncation) {
		return text
	}
	return string([]rune(text)[:limit])
}
