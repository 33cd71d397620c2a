package match_test

import (
	"errors"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	id1 = "11111111-66fd-4dfb-b839-443f2e6c0b60"
	id2 = "22222222-66fd-4dfb-b839-443f2e6c0b60"
	id3 = "33333333-66fd-4dfb-b839-443f2e6c0b60"
)

func node(name, id string, change ...func(*v1.Node)) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Annotations: map[string]string{}}}
	if id != "" {
		n.Spec.ProviderID = "vultr://" + id
	}
	for _, c := range change {
		c(n)
	}
	return n
}

func ready(n *v1.Node) {
	n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}
}

func at(address string) func(*v1.Node) {
	return func(n *v1.Node) { n.Annotations[cloudproviderapi.AnnotationAlphaProvidedIPAddr] = address }
}

type (
	ambiguous = *match.AmbiguousError
	taken     = *match.TakenError
	unread    = *match.NetworksError
)

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func TestFind(t *testing.T) {
	any1 := vultr.Instance{ID: id1}
	in := func(change func(*vultr.Instance)) vultr.Instance { i := any1; change(&i); return i }
	metal := vultr.Instance{ID: id2, Kind: vultr.KindBareMetal, Label: "m", VPCs: []string{"vpc-m"}, MainIP: "192.0.2.2"}
	vm := vultr.Instance{ID: id1, Label: "v", InternalIP: "10.1.0.5", VPCs: []string{"vpc-v"}, MainIP: "192.0.2.1"}
	tests := map[string]struct {
		node *v1.Node
		view match.View
		want string
		err  func(error) bool
	}{
		"label":                       {node("a", ""), match.View{Instances: []vultr.Instance{in(func(i *vultr.Instance) { i.Label = "a" })}}, id1, nil},
		"label in upper case":         {node("worker-1", ""), match.View{Instances: []vultr.Instance{in(func(i *vultr.Instance) { i.Label = "Worker-1" })}}, id1, nil},
		"equal label before case":     {node("a", ""), match.View{Instances: []vultr.Instance{{ID: id2, Label: "A"}, in(func(i *vultr.Instance) { i.Label = "a" })}}, id1, nil},
		"label before host name":      {node("a", ""), match.View{Instances: []vultr.Instance{{ID: id2, Hostname: "a"}, in(func(i *vultr.Instance) { i.Label = "A" })}}, id1, nil},
		"host name in upper case":     {node("a", ""), match.View{Instances: []vultr.Instance{in(func(i *vultr.Instance) { i.Hostname = "A" })}}, id1, nil},
		"node with domain":            {node("a.example.com", ""), match.View{Instances: []vultr.Instance{in(func(i *vultr.Instance) { i.Label = "A" })}}, id1, nil},
		"host name with domain":       {node("a", ""), match.View{Instances: []vultr.Instance{in(func(i *vultr.Instance) { i.Hostname = "a.example.com" })}}, id1, nil},
		"two domains are two hosts":   {node("a.example.com", ""), match.View{Instances: []vultr.Instance{in(func(i *vultr.Instance) { i.Hostname = "a.example.org" })}}, "", isUnknown},
		"no name at all":              {node("a", ""), match.View{Instances: []vultr.Instance{in(func(i *vultr.Instance) { i.Hostname = ".example.org" })}}, "", isUnknown},
		"two with the label":          {node("a", ""), match.View{Instances: []vultr.Instance{{ID: id1, Label: "a"}, {ID: id2, Label: "a"}}}, "", is[ambiguous]},
		"two by case":                 {node("a", ""), match.View{Instances: []vultr.Instance{{ID: id1, Label: "A"}, {ID: id2, Label: "A"}}}, "", is[ambiguous]},
		"public address":              {node("a", "", at("192.0.2.1")), match.View{Instances: []vultr.Instance{vm}}, id1, nil},
		"private address":             {node("a", "", at("10.1.0.5")), match.View{Instances: []vultr.Instance{vm}}, id1, nil},
		"empty host name is no match": {node("a", ""), match.View{Instances: []vultr.Instance{any1}}, "", isUnknown},

		"private address, metal unread":        {node("a", "", at("10.1.0.5")), match.View{Instances: []vultr.Instance{vm, metal}}, "", is[unread]},
		"public address needs no reading":      {node("a", "", at("192.0.2.1")), match.View{Instances: []vultr.Instance{vm, metal}}, id1, nil},
		"private address of both":              {node("a", "", at("10.1.0.5")), match.View{Instances: []vultr.Instance{vm, metal}, Private: map[string][]string{id2: {"10.1.0.5"}}}, "", is[ambiguous]},
		"private address of the metal":         {node("a", "", at("10.1.0.6")), match.View{Instances: []vultr.Instance{vm, metal}, Private: map[string][]string{id2: {"10.1.0.6"}}}, id2, nil},
		"metal of another node":                {node("a", "", at("10.1.0.5")), match.View{Instances: []vultr.Instance{vm, metal}, Nodes: []*v1.Node{node("m", id2)}}, "", isUnknown},
		"private address in the cluster's VPC": {node("a", "", at("10.1.0.5")), match.View{Instances: []vultr.Instance{vm, {ID: id3, VPCs: []string{"vpc-v"}, InternalIP: "10.1.0.6"}}, Nodes: []*v1.Node{node("c", id3)}}, id1, nil},
		"second address unread":                {node("a", "", at("10.1.0.5")), match.View{Instances: []vultr.Instance{vm, {ID: id3, VPCs: []string{"x", "y"}, InternalIP: "10.9.0.6"}}}, "", is[unread]},

		"of a node that is ready":             {node("a", ""), match.View{Instances: []vultr.Instance{{ID: id1, Label: "a"}}, Nodes: []*v1.Node{node("b", id1, ready)}}, "", is[taken]},
		"of a node that was named before":     {node("a", ""), match.View{Instances: []vultr.Instance{{ID: id1, Label: "a"}}, Nodes: []*v1.Node{node("b", id1)}}, id1, nil},
		"address of a node that is not ready": {node("a", "", at("192.0.2.1")), match.View{Instances: []vultr.Instance{vm}, Nodes: []*v1.Node{node("b", id1)}}, "", is[taken]},
		"the node itself":                     {node("a", ""), match.View{Instances: []vultr.Instance{{ID: id1, Label: "a"}}, Nodes: []*v1.Node{node("a", id1, ready)}}, id1, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := match.Find(tt.node, tt.view)
			if tt.err != nil {
				if !tt.err(err) {
					t.Errorf("got %s, %v", got.ID, err)
				}
				return
			}
			if err != nil || got.ID != tt.want {
				t.Errorf("got %s, %v", got.ID, err)
			}
		})
	}
}

func isUnknown(err error) bool { return errors.Is(err, match.ErrUnknown) }

func TestTwins(t *testing.T) {
	own := node("a", id1, at("10.1.0.5"))
	own.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeExternalIP, Address: "192.0.2.1"}}
	tests := map[string]struct {
		twin  vultr.Instance
		nodes []*v1.Node
		want  bool
	}{
		"itself":                          {vultr.Instance{ID: id1, Label: "a"}, nil, false},
		"name":                            {vultr.Instance{ID: id2, Label: "A"}, nil, true},
		"name, of another node":           {vultr.Instance{ID: id2, Label: "a"}, []*v1.Node{node("b", id2, ready)}, true},
		"public address":                  {vultr.Instance{ID: id2, MainIP: "192.0.2.1"}, nil, true},
		"public address, of another node": {vultr.Instance{ID: id2, MainIP: "192.0.2.1"}, []*v1.Node{node("b", id2)}, false},
		"private address":                 {vultr.Instance{ID: id2, InternalIP: "10.1.0.5"}, nil, true},
		"nothing":                         {vultr.Instance{ID: id2}, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			view := match.View{Instances: []vultr.Instance{tt.twin, {ID: id3, Label: "other"}}, Nodes: append(tt.nodes, own)}
			if got := match.Twins(own, view); slices.ContainsFunc(got, func(in vultr.Instance) bool { return in.ID == tt.twin.ID }) != tt.want || len(got) > 1 {
				t.Errorf("got %v", got)
			}
		})
	}
}
