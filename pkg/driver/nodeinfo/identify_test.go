package nodeinfo

import (
	"errors"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	idA = "0c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01"
	idB = "1c6a5f2e-7a3e-4f0e-9a43-0c4c5d0b8a01"
	our = "topology.block.csi.vultr.com/region"
)

func said(id, region string) *vultr.InstanceMetadata {
	return &vultr.InstanceMetadata{InstanceID: id, Region: region, RegionCode: strings.ToUpper(region)}
}

func nodeOf(providerID string, labels ...string) *node {
	n := &node{}
	n.Spec.ProviderID = providerID
	n.Metadata.Labels = map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		n.Metadata.Labels[labels[i]] = labels[i+1]
	}
	return n
}

func TestIdentify(t *testing.T) {
	for name, c := range map[string]struct {
		claims   claims
		official bool
		want     Identity
		err      error
		words    []string
	}{
		"metadata alone":                 {claims: claims{metadata: said(idA, "ewr")}, want: Identity{ID: idA, Region: "ewr"}},
		"metadata is waited for":         {claims: claims{node: nodeOf("vultr://"+idA, our, "ewr")}, err: ErrUnknown, words: []string{"metadata service"}},
		"then the provider ID":           {claims: claims{silent: true, node: nodeOf("vultr://"+idA, our, "ewr")}, want: Identity{ID: idA, Region: "ewr"}},
		"in any case":                    {claims: claims{silent: true, node: nodeOf("vultr://"+strings.ToUpper(idA), our, "ewr")}, want: Identity{ID: idA, Region: "ewr"}},
		"then the flag":                  {claims: claims{silent: true, flagID: idA, flagRegion: "ewr"}, want: Identity{ID: idA, Region: "ewr"}},
		"nothing":                        {claims: claims{silent: true}, err: ErrUnknown, words: []string{"--node-id", "Node cannot be read"}},
		"a Node without provider ID":     {claims: claims{silent: true, node: nodeOf("", our, "ewr")}, err: ErrUnknown, words: []string{"no provider ID"}},
		"no region":                      {claims: claims{silent: true, node: nodeOf("vultr://" + idA)}, err: ErrUnknown, words: []string{"--region", our}},
		"all agree":                      {claims: claims{metadata: said(idA, "ewr"), flagID: idA, flagRegion: "ewr", node: nodeOf("vultr://"+idA, our, "ewr")}, want: Identity{ID: idA, Region: "ewr"}},
		"another instance's provider ID": {claims: claims{metadata: said(idA, "ewr"), node: nodeOf("vultr://" + idB)}, err: ErrContradiction, words: []string{idA, idB, "metadata service", "provider ID"}},
		"a flag that is another's":       {claims: claims{metadata: said(idA, "ewr"), flagID: idB}, err: ErrContradiction, words: []string{idA, idB, "metadata service", "--node-id"}},
		"flag and provider ID":           {claims: claims{silent: true, flagID: idB, flagRegion: "ewr", node: nodeOf("vultr://" + idA)}, err: ErrContradiction, words: []string{"provider ID", "--node-id"}},
		"another region by the flag":     {claims: claims{metadata: said(idA, "ewr"), flagRegion: "lax"}, err: ErrContradiction, words: []string{"lax", "ewr", "--region"}},
		"another region by the label":    {claims: claims{metadata: said(idA, "ewr"), node: nodeOf("", our, "lax")}, err: ErrContradiction, words: []string{"lax", "ewr", our}},
		"two contradictions":             {claims: claims{metadata: said(idA, "ewr"), flagID: idB, flagRegion: "lax"}, err: ErrContradiction, words: []string{"--region", "--node-id"}},
		"a region of the administrator's own": {
			claims: claims{metadata: said(idA, "ewr"), node: nodeOf("vultr://"+idA, wellKnownRegion, "us-east")}, want: Identity{ID: idA, Region: "ewr"},
		},
		"the well-known label as last resort": {
			claims: claims{silent: true, node: nodeOf("vultr://"+idA, wellKnownRegion, "EWR")}, want: Identity{ID: idA, Region: "ewr"},
		},
		"another provider's ID says nothing": {claims: claims{metadata: said(idA, "ewr"), node: nodeOf("k3s://worker-1")}, want: Identity{ID: idA, Region: "ewr"}},
		"nor does it help": {
			claims: claims{silent: true, node: nodeOf("k3s://worker-1", our, "ewr")}, err: ErrUnknown, words: []string{"k3s://worker-1", "not one of this provider"},
		},
		"a malformed one": {
			claims: claims{silent: true, node: nodeOf("vultr:///"+idA, our, "ewr")}, err: ErrUnknown, words: []string{"vultr:///" + idA, "UUID"},
		},
		"the official region": {
			claims: claims{metadata: said(idA, "ewr"), flagRegion: "ewr"}, official: true, want: Identity{ID: idA, Region: "ewr", OfficialRegion: "EWR"},
		},
		"the official region is in the metadata alone": {
			claims: claims{silent: true, flagID: idA, flagRegion: "ewr"}, official: true, err: ErrUnknown, words: []string{"--report-official-region"},
		},
	} {
		got, err := identify(c.claims, true, c.official)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		for _, w := range c.words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, err, w)
			}
		}
	}
	if got, err := identify(claims{silent: true, flagRegion: "ewr"}, false, false); err != nil || got.Region != "ewr" {
		t.Errorf("a controller: got %+v, %v", got, err)
	}
}
