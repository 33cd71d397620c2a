package orphans

import (
	"fmt"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

// Table writes orphans for people, and what could not be looked at.
func Table(tab *report.Tab, r Result, now time.Time) {
	if len(r.Orphans) > 0 {
		tab.Row("KIND", "ID", "LABEL", "GIB", "AGE", "$/MONTH", "MADE FOR", "PROOF", "NOT DELETABLE")
	}
	for _, o := range r.Orphans {
		size := ""
		if o.SizeGiB > 0 {
			size = fmt.Sprint(o.SizeGiB)
		}
		tab.Row(string(o.Kind), o.ID, o.Label, size, Days(o.Age(now)), Dollars(o.MonthlyCost), o.For, o.Proof, o.Kept)
	}
	switch {
	case len(r.Orphans) > 0:
		tab.Note("")
		tab.Note("%d orphans, %.2f dollars a month as far as the platform tells.", len(r.Orphans), Cost(r.Orphans))
	case len(r.Unknown) == 0:
		tab.Note("There are no orphans.")
	}
	for _, err := range r.Unknown {
		tab.Note("Not known: %v", err)
	}
}

// Days returns an age as people say it, "" for none.
func Days(age time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case age <= 0:
		return ""
	case age < day:
		return fmt.Sprintf("%dh", age/time.Hour)
	}
	return fmt.Sprintf("%dd", age/day)
}

// Dollars returns a cost, "unknown" where the platform does not tell it.
func Dollars(cost *float64) string {
	if cost == nil {
		return "unknown"
	}
	return fmt.Sprintf("%.2f", *cost)
}
