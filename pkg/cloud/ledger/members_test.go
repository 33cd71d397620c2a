package ledger_test

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
)

// Whoever comes and goes in whatever order, the same Services are the same Members.
func TestMembers(t *testing.T) {
	var none ledger.Members
	if none.Has("a") || none.Has("") || len(none.List()) > 0 || none.Without("a") != none || none.With("") != none {
		t.Errorf("nobody is %v", none.List())
	}
	two := none.With("b").With("a").With("b")
	if want := ledger.MembersOf("a", "b"); two != want || !two.Has("a") || !two.Has("b") || two.Has("c") || two.Has("a,b") {
		t.Errorf("%q, want %q", two, want)
	}
	if got := two.List(); !slices.Equal(got, []types.UID{"a", "b"}) {
		t.Errorf("%v", got)
	}
	if one := two.Without("a"); one != ledger.MembersOf("b") || one.Without("b") != none || two.Without("c") != two {
		t.Errorf("without one of them: %q", one)
	}
}

// Only an entry of which nothing but a look for what may show late is left is that of a released Service.
func TestReleased(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		entry ledger.Entry
		want  bool
	}{
		"nothing":                  {ledger.Entry{}, false},
		"nothing to look for":      {ledger.Entry{Service: "shop/web", Made: at}, false},
		"something may show":       {ledger.Entry{Service: "shop/web", Late: at}, true},
		"it has one again":         {ledger.Entry{Service: "shop/web", Late: at, ID: "1"}, false},
		"another one is asked for": {ledger.Entry{Service: "shop/web", Late: at, Tried: at}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.entry.Released(); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}
