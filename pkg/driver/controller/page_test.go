package controller

import (
	"fmt"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestPages: pages follow each other without gaps, whether or not the volume that a token names is still there, and
// none is larger than an answer may be.
func TestPages(t *testing.T) {
	all := make([]volume.Volume, pageCap+100)
	for i := range all {
		all[i].ID = fmt.Sprintf("%06d", i)
	}
	for name, c := range map[string]struct {
		after  string
		most   int
		first  string
		length int
		more   bool
	}{
		"from the start":           {"", 10, "000000", 10, true},
		"after one":                {"000009", 10, "000010", 10, true},
		"after one that is gone":   {"000009x", 10, "000010", 10, true},
		"unbounded":                {"", 0, "000000", pageCap, true},
		"too large":                {"", pageCap + 1, "000000", pageCap, true},
		"the rest, exactly":        {"005000", 99, "005001", 99, false},
		"the rest, with room":      {"005000", 100, "005001", 99, false},
		"behind the end":           {"005099", 10, "", 0, false},
		"all but one of the rest":  {"005000", 98, "005001", 98, true},
		"as many as an answer may": {"000099", pageCap, "000100", pageCap, false},
	} {
		page, more := pageAfter(all, func(v volume.Volume) string { return v.ID }, c.after, c.most)
		if len(page) != c.length || more != c.more || (len(page) > 0 && page[0].ID != c.first) {
			t.Errorf("%s: %d from %v, more %t", name, len(page), page[:min(1, len(page))], more)
		}
	}
}
