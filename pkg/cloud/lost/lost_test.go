package lost_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	present = types.UID("11111111-43b6-4d94-b8f5-1c5c0e0a3c11")
	gone    = types.UID("22222222-43b6-4d94-b8f5-1c5c0e0a3c11")
	mine    = "0a000000-0000-4000-8000-000000000001"
	another = "0a000000-0000-4000-8000-000000000002"
)

func ids(orphans []lost.Orphan) string {
	var all []string
	for _, o := range orphans {
		all = append(all, o.ID)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestFind(t *testing.T) {
	tests := map[string]struct {
		entries map[types.UID]ledger.Entry
		all     []vultr.LoadBalancer
		want    string
	}{
		"its Service exists":        {map[types.UID]ledger.Entry{present: {ID: "1"}}, []vultr.LoadBalancer{{ID: "1"}}, ""},
		"its Service is gone":       {map[types.UID]ledger.Entry{gone: {ID: "1"}}, []vultr.LoadBalancer{{ID: "1"}}, "1"},
		"it is gone as well":        {map[types.UID]ledger.Entry{gone: {ID: "1"}}, []vultr.LoadBalancer{{ID: "2"}}, ""},
		"it was adopted":            {map[types.UID]ledger.Entry{gone: {ID: "1", Adopted: true}}, []vultr.LoadBalancer{{ID: "1"}}, ""},
		"the answer was lost":       {map[types.UID]ledger.Entry{gone: {}}, []vultr.LoadBalancer{{ID: "3", Label: lost.Label(gone)}}, "3"},
		"it was made twice":         {map[types.UID]ledger.Entry{gone: {}}, []vultr.LoadBalancer{{ID: "3", Label: lost.Label(gone)}, {ID: "4", Label: lost.Label(gone)}}, "3 4"},
		"another Service's by name": {map[types.UID]ledger.Entry{gone: {}, present: {ID: "3"}}, []vultr.LoadBalancer{{ID: "3", Label: lost.Label(gone)}}, ""},
		"nothing is written down":   {nil, []vultr.LoadBalancer{{ID: "3", Label: lost.Label(gone)}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ids(lost.Find(map[types.UID]bool{present: true}, test.entries, test.all)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestUnrecorded(t *testing.T) {
	lb := func(label string, instances ...string) vultr.LoadBalancer {
		return vultr.LoadBalancer{ID: "1", Label: label, Instances: instances}
	}
	tests := map[string]struct {
		entries map[types.UID]ledger.Entry
		lb      vultr.LoadBalancer
		want    int
	}{
		"made for a Service that is gone": {nil, lb(lost.Label(gone), mine), 1},
		"its Service exists":              {nil, lb(lost.Label(present), mine), 0},
		"the ledger knows it":             {map[types.UID]ledger.Entry{gone: {}}, lb(lost.Label(gone), mine), 0},
		"the ledger has it by its ID":     {map[types.UID]ledger.Entry{present: {ID: "1"}}, lb(lost.Label(gone), mine), 0},
		"one backend is of elsewhere":     {nil, lb(lost.Label(gone), mine, another), 0},
		"no backend proves anything":      {nil, lb(lost.Label(gone)), 0},
		"a name that people gave":         {nil, lb("web", mine), 0},
		"nearly such a name":              {nil, lb(lost.Label(gone)+"0", mine), 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			found := lost.Unrecorded(map[types.UID]bool{present: true}, test.entries, map[string]bool{mine: true}, []vultr.LoadBalancer{test.lb})
			if len(found) != test.want {
				t.Errorf("found %v, want %d", found, test.want)
			}
		})
	}
}
