package plan_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
)

// endpoint is a pod on a node in these conditions, each of them true, false or unset.
func endpoint(node string, ready, serving, terminating *bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{"10.244.0.7"}, Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: serving, Terminating: terminating}}
	if node != "" {
		e.NodeName = &node
	}
	return e
}

func TestPods(t *testing.T) {
	yes, no := new(true), new(false)
	for name, tt := range map[string]struct {
		endpoints []discoveryv1.Endpoint
		want      map[string]plan.Presence
	}{
		"ready":                         {[]discoveryv1.Endpoint{endpoint("a", yes, yes, no)}, map[string]plan.Presence{"a": plan.ReadyPod}},
		"nothing is said":               {[]discoveryv1.Endpoint{endpoint("a", nil, nil, nil)}, map[string]plan.Presence{"a": plan.ReadyPod}},
		"not ready":                     {[]discoveryv1.Endpoint{endpoint("a", no, no, no)}, map[string]plan.Presence{}},
		"not ready, as of old":          {[]discoveryv1.Endpoint{endpoint("a", no, nil, nil)}, map[string]plan.Presence{}},
		"ends":                          {[]discoveryv1.Endpoint{endpoint("a", no, yes, yes)}, map[string]plan.Presence{"a": plan.EndingPod}},
		"ends, and answers no more":     {[]discoveryv1.Endpoint{endpoint("a", no, no, yes)}, map[string]plan.Presence{}},
		"ready whatever it does":        {[]discoveryv1.Endpoint{endpoint("a", yes, yes, yes)}, map[string]plan.Presence{"a": plan.ReadyPod}},
		"the best of a node's pods":     {[]discoveryv1.Endpoint{endpoint("a", no, yes, yes), endpoint("a", yes, yes, no), endpoint("a", no, no, no)}, map[string]plan.Presence{"a": plan.ReadyPod}},
		"on no node":                    {[]discoveryv1.Endpoint{endpoint("", yes, yes, no)}, map[string]plan.Presence{}},
		"several nodes":                 {[]discoveryv1.Endpoint{endpoint("a", yes, nil, nil), endpoint("b", no, yes, yes), endpoint("c", no, no, no)}, map[string]plan.Presence{"a": plan.ReadyPod, "b": plan.EndingPod}},
		"an empty slice of a new one's": {nil, map[string]plan.Presence{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, plan.Pods(&discoveryv1.EndpointSlice{Endpoints: tt.endpoints})); diff != "" {
				t.Error(diff)
			}
			// However the endpoints are spread over slices, as those of two families are.
			var parts []*discoveryv1.EndpointSlice
			for _, e := range tt.endpoints {
				parts = append(parts, &discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{e}})
			}
			slices.Reverse(parts)
			if diff := cmp.Diff(tt.want, plan.Pods(parts...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Which nodes get the traffic of a Service of policy Local, and which of them only for the moment.
func TestLocal(t *testing.T) {
	at := func(name string) *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	backend := func(name string) plan.Place { return plan.Place{Node: at(name), Backend: true, Tried: true} }
	added := func(name string) plan.Place { return plan.Place{Node: at(name), Backend: true} }
	other := func(name string) plan.Place { return plan.Place{Node: at(name)} }
	for name, tt := range map[string]struct {
		places []plan.Place
		pods   map[string]plan.Presence
		want   []string
		waits  bool
	}{
		"no pod":                                 {[]plan.Place{backend("a"), other("b")}, nil, nil, false},
		"pods on nodes that can't be backends":   {[]plan.Place{backend("a")}, map[string]plan.Presence{"z": plan.ReadyPod}, nil, false},
		"the first pods":                         {[]plan.Place{other("a"), other("b"), other("c")}, map[string]plan.Presence{"a": plan.ReadyPod, "c": plan.ReadyPod}, []string{"a", "c"}, false},
		"all were backends":                      {[]plan.Place{backend("a"), backend("b"), backend("c")}, map[string]plan.Presence{"b": plan.ReadyPod}, []string{"b"}, false},
		"one more":                               {[]plan.Place{backend("a"), other("b")}, map[string]plan.Presence{"a": plan.ReadyPod, "b": plan.ReadyPod}, []string{"a", "b"}, false},
		"one of two ends":                        {[]plan.Place{backend("a"), backend("b")}, map[string]plan.Presence{"a": plan.EndingPod, "b": plan.ReadyPod}, []string{"b"}, false},
		"the only one ends":                      {[]plan.Place{backend("a"), other("b")}, map[string]plan.Presence{"a": plan.EndingPod}, []string{"a"}, false},
		"it moves":                               {[]plan.Place{backend("a"), other("b")}, map[string]plan.Presence{"a": plan.EndingPod, "b": plan.ReadyPod}, []string{"b", "a"}, true},
		"it moves, and its new node is tried":    {[]plan.Place{backend("a"), added("b")}, map[string]plan.Presence{"a": plan.EndingPod, "b": plan.ReadyPod}, []string{"b", "a"}, true},
		"it has moved":                           {[]plan.Place{backend("a"), backend("b")}, map[string]plan.Presence{"a": plan.EndingPod, "b": plan.ReadyPod}, []string{"b"}, false},
		"it moves, and the old one is gone":      {[]plan.Place{backend("a"), other("b")}, map[string]plan.Presence{"b": plan.ReadyPod}, []string{"b"}, false},
		"another one is tried":                   {[]plan.Place{backend("a"), other("b"), backend("c")}, map[string]plan.Presence{"a": plan.EndingPod, "b": plan.ReadyPod, "c": plan.ReadyPod}, []string{"b", "c"}, false},
		"what ends on a node that is no backend": {[]plan.Place{other("a"), other("b")}, map[string]plan.Presence{"a": plan.EndingPod, "b": plan.ReadyPod}, []string{"b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, waits := plan.Local(tt.places, tt.pods)
			var got []string
			for _, node := range nodes {
				got = append(got, node.Name)
			}
			if !slices.Equal(got, tt.want) || waits != tt.waits {
				t.Errorf("%v, waits %v; want %v, %v", got, waits, tt.want, tt.waits)
			}
		})
	}
}
