package nodeinfo

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRegionOfAController: the first source that says something is believed, and others may say something else. Only the
// metadata service proves which instance it is.
func TestRegionOfAController(t *testing.T) {
	for name, c := range map[string]struct {
		claims claims
		want   Identity
		// words are of the error, none for an answer.
		words []string
	}{
		"the flag alone":              {claims: claims{flagRegion: "ewr"}, want: Identity{Region: "ewr"}},
		"the flag against all others": {claims: claims{metadata: said(idA, "lax"), flagRegion: "ewr", node: nodeOf("vultr://"+idB, our, "ams")}, want: Identity{ID: idA, Region: "ewr"}},
		"then the Node's label":       {claims: claims{metadata: said(idA, "lax"), node: nodeOf("vultr://"+idB, our, "AMS")}, want: Identity{ID: idA, Region: "ams"}},
		"which waits for nothing":     {claims: claims{node: nodeOf("vultr://"+idB, our, "ams")}, want: Identity{Region: "ams"}},
		"then the metadata":           {claims: claims{metadata: said(idA, "lax"), node: nodeOf("", wellKnownRegion, "us-west")}, want: Identity{ID: idA, Region: "lax"}},
		"which is waited for":         {claims: claims{node: nodeOf("", wellKnownRegion, "us-west")}, words: []string{"metadata service has not answered"}},
		"then the label of administrators": {
			claims: claims{silent: true, node: nodeOf("", wellKnownRegion, "EWR")}, want: Identity{Region: "ewr"},
		},
		"a Node that says nothing": {claims: claims{silent: true, node: nodeOf("vultr://" + idA)}, words: []string{"--region", our, wellKnownRegion}},
		"a Node out of reach":      {claims: claims{silent: true}, words: []string{"--region", "Node cannot be read"}},
	} {
		got, err := identify(c.claims, false, false)
		if got != c.want || errors.Is(err, ErrUnknown) != (c.words != nil) || (err != nil) != (c.words != nil) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		for _, w := range c.words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, err, w)
			}
		}
	}
}

// TestNodeOfAController: a controller learns its region from its Node, also if that gets its label later, when the node
// plugin there is registered. Nothing waits for a metadata service that never answers.
func TestNodeOfAController(t *testing.T) {
	r := newRig(t, func(c *Config) { c.NeedID, c.Patience = false, time.Hour })
	r.kube.Put(nodePath, `{"spec":{"providerID":"vultr://`+idA+`"}}`)
	var reads atomic.Int64
	r.kube.Fault(func(string, string) int {
		if reads.Add(1) == 2 {
			r.kube.Put(nodePath, `{"metadata":{"labels":{"`+our+`":"ewr"}},"spec":{"providerID":"vultr://`+idA+`"}}`)
		}
		return 0
	})
	r.run()
	if i, err := r.Identity(); err != nil || i != (Identity{Region: "ewr"}) {
		t.Errorf("got %+v, %v", i, err)
	}
}
