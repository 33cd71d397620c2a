package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	vpcOne = "11111111-66fd-4dfb-b839-443f2e6c0b60"
	vpcTwo = "22222222-66fd-4dfb-b839-443f2e6c0b60"
)

// Through which network the nodes are reached, by either name of the annotation, and which of them.
func TestReadNetwork(t *testing.T) {
	public, one := "", vpcOne
	byDefault := defaults(t, map[string]string{"vpc": "true", "node-selector": "pool=web"})
	none := plan.WithDefaults(settings.Defaults{})
	for name, tt := range map[string]struct {
		service *v1.Service
		option  plan.Option
		vpc     *string
		ofNodes bool
		warning string
		refused bool
	}{
		"nothing":                  {service(), none, &public, false, "", false},
		"true":                     {service(with(settings.VPC, "True")), none, nil, true, "", false},
		"false":                    {service(with(settings.VPC, "false")), none, &public, false, "", false},
		"a VPC":                    {service(with(settings.VPC, strings.ToUpper(vpcOne))), none, &one, false, "", false},
		"by its old name":          {service(with(settings.PrivateNetwork, "true")), none, nil, true, "", false},
		"a VPC by the old name":    {service(with(settings.PrivateNetwork, vpcOne)), none, &one, false, "", false},
		"by both":                  {service(with(settings.VPC, "true"), with(settings.PrivateNetwork, "1")), none, nil, true, "", false},
		"a VPC and true":           {service(with(settings.VPC, vpcOne), with(settings.PrivateNetwork, "true")), none, &one, false, "keep the latter", false},
		"off, on by the old name":  {service(with(settings.VPC, "false"), with(settings.PrivateNetwork, "true")), none, nil, true, "keep the latter", false},
		"on, off by the old name":  {service(with(settings.VPC, "true"), with(settings.PrivateNetwork, "false")), none, nil, true, "keep the latter", false},
		"by default":               {service(), byDefault, nil, true, "", false},
		"against the default":      {service(with(settings.VPC, "false")), byDefault, &public, false, "", false},
		"by the old name, against": {service(with(settings.PrivateNetwork, "false")), byDefault, &public, false, "", false},
		"malformed":                {service(with(settings.VPC, "enabled")), none, nil, false, `write "true"`, true},
		"malformed, off":           {service(with(settings.VPC, "disabled")), none, nil, false, `write "false"`, false},
		"malformed by its old name": {
			service(with(settings.PrivateNetwork, "vpc-1")), none, nil, false,
			"is not one of true, false, the UUID of a VPC", true,
		},
		"misspelled": {service(with(settings.Prefix+"vpcs", "true")), none, nil, false, "is unknown", true},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service, tt.option)
			wantReading(t, got, "", tt.warning)
			if diff := cmp.Diff(tt.vpc, got.Desired.VPC); diff != "" || got.Desired.VPCOfNodes != tt.ofNodes {
				t.Errorf("of the nodes: %v, %s", got.Desired.VPCOfNodes, diff)
			}
			if refused := got.MayCreate() != nil; refused != tt.refused {
				t.Errorf("a new one is refused: %v", refused)
			}
		})
	}
}

// Nodes that are chosen by a selector that is malformed or whose name is misspelled stay as they are.
func TestReadNodeSelector(t *testing.T) {
	for name, tt := range map[string]struct {
		key   settings.Key
		value string
		want  string
		keeps bool
		fault string
	}{
		"none":       {settings.NodeSelector, "", "", false, ""},
		"some":       {settings.NodeSelector, "pool in (b, a)", "pool in (a,b)", false, ""},
		"malformed":  {settings.NodeSelector, "pool=a=b", "", true, "must be a label selector"},
		"misspelled": {settings.Prefix + "node-selektor", "pool=a", "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(service(with(tt.key, tt.value)))
			if got.Desired.NodeSelector != tt.want || got.Desired.KeepNodes != tt.keeps {
				t.Errorf("selector %q, keeps the nodes: %v", got.Desired.NodeSelector, got.Desired.KeepNodes)
			}
			if (got.Err != nil) != (tt.fault != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.fault) {
				t.Errorf("fault %v, want %q", got.Err, tt.fault)
			}
		})
	}
	if got := plan.Read(service(), defaults(t, map[string]string{"node-selector": "pool=web"})).Desired.NodeSelector; got != "pool=web" {
		t.Errorf("by default: %q", got)
	}
}

func TestSelect(t *testing.T) {
	labelled := func(name, pool string) *v1.Node {
		n := node(name, "", "")
		if pool != "" {
			n.Labels["pool"] = pool
		}
		return n
	}
	nodes := []*v1.Node{labelled("a", "web"), labelled("b", "db"), labelled("c", "")}
	for selector, want := range map[string][]string{
		"": {"a", "b", "c"}, "pool=web": {"a"}, "pool": {"a", "b"}, "!pool": {"c"}, "pool!=web": {"b", "c"}, "pool in (db,web)": {"a", "b"}, "pool=none": nil,
	} {
		var got []string
		for _, n := range plan.Select(nodes, selector) {
			got = append(got, n.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q chooses %v, want %v", selector, got, want)
		}
	}
	if len(nodes) != 3 || nodes[0] == nil || nodes[2] == nil {
		t.Error("the list of all nodes was changed")
	}
}

// inVPCs makes a machine of the VPCs.
func inVPCs(vpcs ...string) plan.Machine { return plan.Machine{VPCs: vpcs} }

func TestVPCOf(t *testing.T) {
	nodes := []*v1.Node{node("a", "vultr://"+idA, ""), node("b", "vultr://"+idB, ""), node("young", "", ""), node("stranger", "aws:///i-1", "")}
	for name, tt := range map[string]struct {
		machines           map[string]plan.Machine
		present, preferred string
		want, fault        string
	}{
		"all in one":                    {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs(vpcOne)}, "", "", vpcOne, ""},
		"one in common":                 {map[string]plan.Machine{idA: inVPCs(vpcTwo, vpcOne), idB: inVPCs(vpcOne)}, "", "", vpcOne, ""},
		"one outside":                   {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs()}, "", "", vpcOne, ""},
		"one that is not listed yet":    {map[string]plan.Machine{idA: inVPCs(vpcOne)}, "", "", vpcOne, ""},
		"machines that are no nodes":    {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs(vpcOne), vpcTwo: inVPCs(vpcTwo)}, "", "", vpcOne, ""},
		"one each":                      {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs(vpcTwo)}, "", "", "", "several VPCs (1 in " + vpcOne + ", 1 in " + vpcTwo + ")"},
		"two in common":                 {map[string]plan.Machine{idA: inVPCs(vpcOne, vpcTwo), idB: inVPCs(vpcTwo, vpcOne)}, "", "", "", "several VPCs (2 in"},
		"one each, it is in one":        {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs(vpcTwo)}, vpcTwo, "", vpcTwo, ""},
		"one each, one is preferred":    {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs(vpcTwo)}, vpcTwo, vpcOne, vpcOne, ""},
		"it is where no node is":        {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs(vpcOne)}, vpcTwo, "", vpcOne, ""},
		"no node is where is preferred": {map[string]plan.Machine{idA: inVPCs(vpcOne), idB: inVPCs(vpcOne)}, "", vpcTwo, vpcOne, ""},
		"none in any":                   {map[string]plan.Machine{idA: inVPCs(), idB: inVPCs()}, vpcOne, "", "", "no node is in a VPC"},
		"none known":                    {nil, vpcOne, "", "", "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := plan.VPCOf(nodes, tt.machines, tt.present, tt.preferred)
			if got != tt.want || (err != nil) != (tt.fault != "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%q, %v; want %q, %q", got, err, tt.want, tt.fault)
			}
		})
	}
}

// Which nodes a load balancer reaches through a VPC, and which by their public addresses.
func TestBackendsOfNetworks(t *testing.T) {
	const idC = "cccccccc-66fd-4dfb-b839-443f2e6c0b60"
	nodes := []*v1.Node{node("a", "vultr://"+strings.ToUpper(idA), ""), node("b", "vultr://"+idB, ""), node("new", "vultr://"+idC, "")}
	machines := plan.Machines([]vultr.Instance{
		{ID: idA, VPCs: []string{vpcTwo, vpcOne}},                                   // without a public address
		{ID: strings.ToUpper(idB), VPCs: []string{vpcTwo}, MainIPv6: "2001:db8::1"}, // with one
	})
	for name, tt := range map[string]struct {
		rules   plan.BackendRules
		want    []string
		skipped []string
	}{
		"the public network":            {plan.BackendRules{Machines: machines}, []string{idB, idC}, []string{`a (without a public address, so ` + string(settings.VPC) + `: "true" is needed)`}},
		"nothing is known of networks":  {plan.BackendRules{}, []string{idA, idB, idC}, nil},
		"a VPC of one":                  {plan.BackendRules{VPC: vpcOne, Machines: machines}, []string{idA}, []string{"b (not in VPC " + vpcOne + ", through which the load balancer reaches its nodes)"}},
		"a VPC of both":                 {plan.BackendRules{VPC: vpcTwo, Machines: machines}, []string{idA, idB}, nil},
		"a VPC of which no node is one": {plan.BackendRules{VPC: idA, Machines: machines}, nil, []string{"a (not in VPC " + idA + ", through which the load balancer reaches its nodes)", "b (not in VPC " + idA + ", through which the load balancer reaches its nodes)"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, skipped := plan.Backends(nodes, tt.rules)
			var told []string
			for _, skip := range skipped {
				if skip.Passing != (skip.Node == "new") {
					t.Errorf("%v: passing %v", skip, skip.Passing)
				}
				if !skip.Passing {
					told = append(told, skip.String())
				}
			}
			if !slices.Equal(got, tt.want) || !slices.Equal(told, tt.skipped) {
				t.Errorf("backends %v, left out %q", got, told)
			}
		})
	}
}
