package plan_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What nodes have of the pods of several Services, the oldest first, and which of these that leaves out.
func TestJoint(t *testing.T) {
	type pods = map[string]plan.Presence
	const ready, ending = plan.ReadyPod, plan.EndingPod
	nodes := []*v1.Node{node("a", "", ""), node("b", "", ""), node("c", "", "")}
	for name, tt := range map[string]struct {
		all   []pods
		want  pods
		apart []int
	}{
		"nobody":                              {nil, pods{}, nil},
		"one":                                 {[]pods{{"a": ready, "z": ready}}, pods{"a": ready, "z": ready}, nil},
		"one without pods":                    {[]pods{{}}, pods{}, nil},
		"the same nodes":                      {[]pods{{"a": ready, "b": ready}, {"a": ready, "b": ready}}, pods{"a": ready, "b": ready}, nil},
		"one node in common":                  {[]pods{{"a": ready, "b": ready}, {"b": ready, "c": ready}}, pods{"b": ready}, nil},
		"three":                               {[]pods{{"a": ready, "b": ready, "c": ready}, {"b": ready, "c": ready}, {"a": ready, "c": ready}}, pods{"c": ready}, nil},
		"none in common":                      {[]pods{{"a": ready}, {"b": ready}}, pods{"a": ready}, []int{1}},
		"none in common with both":            {[]pods{{"a": ready, "b": ready}, {"b": ready}, {"a": ready}}, pods{"b": ready}, []int{2}},
		"in common is no backend":             {[]pods{{"a": ready, "z": ready}, {"z": ready, "b": ready}}, pods{"a": ready, "z": ready}, []int{1}},
		"one of them has none":                {[]pods{{}, {"b": ready}}, pods{"b": ready}, nil},
		"one of them has none of ours":        {[]pods{{"z": ready}, {"b": ready}}, pods{"b": ready}, nil},
		"one moves":                           {[]pods{{"a": ending, "b": ready}, {"a": ready, "b": ready}}, pods{"a": ending, "b": ready}, nil},
		"the younger one moves":               {[]pods{{"a": ready, "b": ready}, {"a": ending, "b": ready}}, pods{"a": ending, "b": ready}, nil},
		"one moves away from the other":       {[]pods{{"a": ending, "b": ready}, {"a": ready}}, pods{"a": ending, "b": ready}, []int{1}},
		"the younger one moves away":          {[]pods{{"a": ready}, {"a": ending, "b": ready}}, pods{"a": ready}, []int{1}},
		"one ends":                            {[]pods{{"a": ending}, {"a": ready, "b": ready}}, pods{"a": ready, "b": ready}, nil},
		"all end":                             {[]pods{{"a": ending, "b": ending}, {"b": ending}}, pods{"b": ending}, nil},
		"all end, and have nothing in common": {[]pods{{"a": ending}, {"b": ending}}, pods{"a": ending}, nil},
		"one ends where the other is ready":   {[]pods{{"a": ready, "b": ending}, {"b": ready}}, pods{"a": ready, "b": ending}, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			got, apart := plan.Joint(nodes, tt.all)
			if diff := cmp.Diff(tt.want, got); diff != "" || !slices.Equal(apart, tt.apart) {
				t.Errorf("apart %v, want %v; %s", apart, tt.apart, diff)
			}
			clear(got)
			if again, _ := plan.Joint(nodes, tt.all); !maps.Equal(again, tt.want) {
				t.Errorf("what it returns is what it was given: %v", again)
			}
		})
	}
}

func TestSelectForAll(t *testing.T) {
	labelled := func(name string, labels map[string]string) *v1.Node {
		n := node(name, "", "")
		n.Labels = labels
		return n
	}
	nodes := []*v1.Node{
		labelled("a", map[string]string{"pool": "web"}), labelled("b", map[string]string{"pool": "web", "disk": "ssd"}), labelled("c", map[string]string{"disk": "ssd"}),
	}
	for name, tt := range map[string]struct {
		selectors []string
		want      []string
		apart     []int
	}{
		"nobody chooses":           {[]string{"", ""}, []string{"a", "b", "c"}, nil},
		"one chooses":              {[]string{"", "pool=web"}, []string{"a", "b"}, nil},
		"both choose":              {[]string{"pool=web", "disk"}, []string{"b"}, nil},
		"they contradict":          {[]string{"pool=web", "!pool"}, []string{"a", "b"}, []int{1}},
		"the other way round":      {[]string{"!pool", "pool=web"}, []string{"c"}, []int{1}},
		"one chooses nobody":       {[]string{"pool=db", "disk"}, []string{"b", "c"}, []int{0}},
		"the third one has a part": {[]string{"pool=web", "!pool", "disk"}, []string{"b"}, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, apart := plan.SelectForAll(nodes, tt.selectors)
			var got []string
			for _, n := range chosen {
				got = append(got, n.Name)
			}
			if !slices.Equal(got, tt.want) || !slices.Equal(apart, tt.apart) {
				t.Errorf("%v, apart %v; want %v, %v", got, apart, tt.want, tt.apart)
			}
		})
	}
	if chosen, apart := plan.SelectForAll(nil, []string{"pool=web"}); len(chosen) != 0 || len(apart) != 0 {
		t.Errorf("without nodes: %v, apart %v", chosen, apart)
	}
}

// Where what was changed on the platform is left as it is, what follows the nodes follows them all the same.
func TestUpkeep(t *testing.T) {
	change := func() plan.Change {
		return plan.Change{
			Fields: []string{"timeout", "vpc", "instances", "ssl"},
			Settings: vultr.LoadBalancerSettings{
				Timeout: new(30), VPC: new(idB), Instances: &[]string{idA}, Certificate: &vultr.Certificate{Certificate: "CERT"},
			},
		}
	}
	for name, tt := range map[string]struct {
		want   plan.Desired
		fields []string
	}{
		"a network that is named":       {plan.Desired{VPC: new(idB)}, []string{"instances", "ssl"}},
		"the network that nodes are in": {plan.Desired{VPC: new(idB), VPCOfNodes: true}, []string{"vpc", "instances", "ssl"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := change().Upkeep(tt.want)
			if !slices.Equal(got.Fields, tt.fields) || got.Settings.Timeout != nil || got.Settings.Instances == nil || got.Settings.Certificate == nil {
				t.Errorf("%+v", got)
			}
			if (got.Settings.VPC != nil) != tt.want.VPCOfNodes {
				t.Errorf("VPC %v", got.Settings.VPC)
			}
		})
	}
}
