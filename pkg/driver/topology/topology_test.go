package topology

import (
	"maps"
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestKeyIsFrozen guards what is written in the node affinity of volumes, which nobody can change.
func TestKeyIsFrozen(t *testing.T) {
	if Key != "topology.block.csi.vultr.com/region" || Segments("EWR")[Key] != "ewr" || len(Segments("EWR")) != 1 {
		t.Errorf("segments are now %v", Segments("EWR"))
	}
}

// TestNodeSegments: the official key is there only when asked for, as it is spelled, and a claim that is placed by
// both keys finds its region.
func TestNodeSegments(t *testing.T) {
	if got := NodeSegments("EWR", ""); !maps.Equal(got, map[string]string{Key: "ewr"}) {
		t.Errorf("by default a node reports %v", got)
	}
	got := NodeSegments("EWR", "EWR")
	if !maps.Equal(got, map[string]string{"topology.block.csi.vultr.com/region": "ewr", "region": "EWR"}) {
		t.Errorf("with the official key a node reports %v", got)
	}
	if region, err := Region(got); region != "ewr" || err != nil {
		t.Errorf("the region of such a node is %q, %v", region, err)
	}
}

func TestChoose(t *testing.T) {
	type terms = []map[string]string
	ours := func(region string) map[string]string { return map[string]string{Key: region} }
	for name, c := range map[string]struct {
		preferred, requisite terms
		fallback             string
		want                 []string
		fails                bool
	}{
		"preferred first":     {terms{ours("lax")}, terms{ours("ewr"), ours("lax")}, "ams", []string{"lax", "ewr"}, false},
		"requisite only":      {nil, terms{ours("EWR")}, "ams", []string{"ewr"}, false},
		"default":             {nil, nil, "AMS", []string{"ams"}, false},
		"no default":          {nil, nil, "", nil, true},
		"the bare key":        {nil, terms{{"region": "EWR"}}, "", []string{"ewr"}, false},
		"the well-known key":  {nil, terms{{"topology.kubernetes.io/region": "Ewr"}}, "", []string{"ewr"}, false},
		"a key in other case": {nil, terms{{"Region": "ewr"}}, "", []string{"ewr"}, false},
		"keys that agree":     {nil, terms{{"region": "EWR", Key: "ewr"}}, "", []string{"ewr"}, false},
		"keys that disagree":  {nil, terms{{"region": "lax", Key: "ewr"}}, "", nil, true},
		"an empty value":      {nil, terms{ours("")}, "ams", nil, true},
		"other keys only":     {nil, terms{{"topology.kubernetes.io/zone": "a"}}, "ams", nil, true},
		"one term of several": {terms{{"zone": "a"}}, terms{ours("ewr")}, "ams", []string{"ewr"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Choose(c.preferred, c.requisite, c.fallback)
			if !slices.Equal(got, c.want) || (err != nil) != c.fails || (err != nil && volume.ReasonOf(err) != volume.Invalid) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
