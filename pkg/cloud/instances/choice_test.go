package instances_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	vpcOne = "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b61"
	vpcTwo = "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b62"
)

// The chosen VPC is asked for where the list does not tell, once an hour, and told where the instance is not in it.
func TestVPCIsChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := &fakeCloud{
			list: []vultr.Instance{
				{ID: idOne, Label: "a", InternalIP: "10.1.0.5", VPCs: []string{vpcOne, vpcTwo}, MainIP: "192.0.2.1"},
				{ID: idTwo, Label: "b", InternalIP: "10.1.0.6", VPCs: []string{vpcOne}, MainIP: "192.0.2.2"},
			},
			vpcs: map[string][]vultr.Network{idOne: {{VPC: vpcOne, IP: "10.1.0.5"}, {VPC: vpcTwo, IP: "10.2.0.5"}}},
		}
		for name, choice := range map[string]addresses.Choice{"by ID": {VPC: vpcTwo}, "by range": {Range: netip.MustParsePrefix("10.2.0.0/20")}} {
			cloud.joined = 0
			r := newRigWith(t, cloud, instances.Options{Choice: choice})
			for range 5 {
				if got, err := r.addresses(bare("a", idOne)); err != nil || !slices.Equal(got, []string{"Internal 10.2.0.5", "External 192.0.2.1"}) {
					t.Errorf("%s: %v, %v", name, got, err)
				}
			}
			if cloud.joined != 1 {
				t.Errorf("%s: %d reads of networks", name, cloud.joined)
			}
			if got := r.told(); len(got) > 0 {
				t.Errorf("%s: events %v", name, got)
			}
			for range 5 {
				if got, err := r.addresses(bare("b", idTwo)); err != nil || !slices.Equal(got, []string{"Internal 10.1.0.6", "External 192.0.2.2"}) {
					t.Errorf("%s: outside: %v, %v", name, got, err)
				}
			}
			if got := r.told(); !slices.Equal(got, []string{"NodeVPCNotFound"}) {
				t.Errorf("%s: outside: events %v", name, got)
			}
		}
	})
}

// An instance without a public address, from its registration on, and the labels that it gets.
func TestVPCOnlyNode(t *testing.T) {
	s := newScene(t)
	vpc, err := s.api.CreateVPC(t.Context(), vultr.VPCRequest{Region: "ewr", Description: "nodes"})
	if err != nil {
		t.Fatal(err)
	}
	id := s.cloud.AddInstance(simulator.NewServer{Label: "hidden", VPCs: []string{vpc.ID}, VPCOnly: true})
	for _, n := range []*v1.Node{s.node("hidden", ""), s.node("hidden", providerid.Format(id))} {
		md, err := s.instances.InstanceMetadata(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if want := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "10.1.0.3"}}; !slices.Equal(md.NodeAddresses, want) || md.ProviderID != providerid.Format(id) {
			t.Errorf("%+v", md)
		}
	}
}

// The scope decides where new Nodes' instances are looked for, and nothing else.
func TestScope(t *testing.T) {
	ours := vultr.Instance{ID: idOne, Label: "a", MainIP: "192.0.2.1", InternalIP: "10.1.0.5", Region: "ewr", VPCs: []string{vpcOne}, Tags: []string{"x", "production"}}
	theirs := vultr.Instance{ID: idTwo, Label: "a", MainIP: "192.0.2.2", InternalIP: "10.2.0.5", Region: "fra", VPCs: []string{vpcTwo}, Tags: []string{"test"}}
	for name, tt := range map[string]struct {
		scope instances.Scope
		want  string
		fault error
		says  string
	}{
		"none":               {instances.Scope{}, "", nil, "2 instances have the label"},
		"tag":                {instances.Scope{Tag: "production"}, idOne, nil, ""},
		"VPC":                {instances.Scope{VPC: strings.ToUpper(vpcOne)}, idOne, nil, ""},
		"region":             {instances.Scope{Region: "FRA"}, idTwo, nil, ""},
		"all of it":          {instances.Scope{Tag: "production", VPC: vpcOne, Region: "ewr"}, idOne, nil, ""},
		"nobody is in it":    {instances.Scope{Tag: "production", Region: "fra"}, "", match.ErrUnknown, "of 2 instances 2 are outside of tag production, region fra"},
		"part of a tag only": {instances.Scope{Tag: "prod"}, "", match.ErrUnknown, "outside of tag prod"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, &fakeCloud{list: []vultr.Instance{ours, theirs}}, instances.Options{Scope: tt.scope})
			md, err := r.InstanceMetadata(t.Context(), bare("a", ""))
			if tt.want != "" {
				if err != nil || md.ProviderID != providerid.Format(tt.want) {
					t.Errorf("%+v, %v", md, err)
				}
				return
			}
			if err == nil || tt.fault != nil && !errors.Is(err, tt.fault) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%+v, %v", md, err)
			}
		})
	}
}

// A Node that is known stays and has its data, wherever its instance is.
func TestScopeNeverSaysGone(t *testing.T) {
	s := newSceneWithin(t, instances.Scope{Tag: "production", VPC: vpcOne, Region: "fra"})
	n := s.node("a", providerid.Format(s.cloud.AddInstance(simulator.NewServer{Label: "a"})))
	for range 3 {
		if exists, err := s.instances.InstanceExists(t.Context(), n); err != nil || !exists {
			t.Errorf("exists %v, %v", exists, err)
		}
		if stopped, err := s.instances.InstanceShutdown(t.Context(), n); err != nil || stopped {
			t.Errorf("stopped %v, %v", stopped, err)
		}
		if md, err := s.instances.InstanceMetadata(t.Context(), n); err != nil || len(md.NodeAddresses) == 0 {
			t.Errorf("%+v, %v", md, err)
		}
	}
	if exists, err := s.instances.InstanceExists(t.Context(), s.node("well-2", "")); err == nil || exists {
		t.Errorf("a Node without ID whose instance is not in it: %v, %v", exists, err)
	}
}

func uninitialised(n *v1.Node) {
	n.Spec.Taints = []v1.Taint{{Key: cloudproviderapi.TaintExternalCloudProvider, Value: "true", Effect: v1.TaintEffectNoSchedule}}
}

// Whatever keeps a Node from being initialised is told at the Node, once, and not before it has had time.
func TestEveryCauseIsTold(t *testing.T) {
	listed := vultr.Instance{ID: idOne, Label: "a", MainIP: "192.0.2.1"}
	for name, tt := range map[string]struct {
		cloud *fakeCloud
		node  *v1.Node
		event string
		says  string
	}{
		"no instance":           {&fakeCloud{}, bare("a", "", uninitialised), "InstanceNotMatched", "no instance has the node's name"},
		"several":               {&fakeCloud{list: []vultr.Instance{listed, {ID: idTwo, Label: "a"}}}, bare("a", "", uninitialised), "InstanceNotMatched", "2 instances have the label"},
		"another cloud's":       {&fakeCloud{}, bare("a", "", uninitialised, func(n *v1.Node) { n.Spec.ProviderID = "aws:///i-1" }), "ForeignProviderID", "aws:///i-1"},
		"a --node-ip of none":   {&fakeCloud{list: []vultr.Instance{listed}}, bare("a", "", uninitialised, nodeIP("10.9.0.1")), "NodeIPNotFound", "10.9.0.1"},
		"no address yet":        {&fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a"}}}, bare("a", "", uninitialised), "NodeNotInitialised", "has no address yet"},
		"no address in a VPC":   {&fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1", VPCs: []string{vpcOne}}}}, bare("a", "", uninitialised), "NodeNotInitialised", "has given it no address there yet"},
		"the key is refused":    {&fakeCloud{fails: &vultr.Error{Op: "list instances", Status: 401, Message: "Invalid API token."}}, bare("a", "", uninitialised), "NodeNotInitialised", "Invalid API token."},
		"an ID that is refused": {&fakeCloud{list: []vultr.Instance{{ID: idTwo, Label: "b", MainIP: "192.0.2.2"}}}, bare("a", idOne, uninitialised), "NodeNotInitialised", "Invalid instance-id."},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.cloud, bare("b", idTwo), tt.node)
				var events []string
				ask := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) { // of the fake clock
						_, _ = r.InstanceMetadata(t.Context(), tt.node) // what is judged is what is told
					}
					for len(r.events.Events) > 0 {
						events = append(events, <-r.events.Events)
					}
				}
				ask(25 * time.Second)
				if tt.event == "NodeNotInitialised" && len(events) > 0 {
					t.Errorf("told too soon: %q", events)
				}
				ask(5 * time.Minute)
				if len(events) != 1 || !strings.HasPrefix(events[0], "Warning "+tt.event+" ") || !strings.Contains(events[0], tt.says) {
					t.Errorf("events %q", events)
				}
			})
		})
	}
}

// Reasons that change are told again, but not each time, and what is over is forgotten.
func TestCausesThatChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		n := bare("a", "", uninitialised)
		r := newRig(t, cloud, n)
		events := 0
		for i := range 3600 {
			cloud.fails = &vultr.Error{Op: "list instances", Status: 500, Message: fmt.Sprint("request ", i)}
			_, _ = r.InstanceMetadata(t.Context(), n) // what is judged is what is told
			time.Sleep(time.Second)                   // of the fake clock
			events += len(r.told())
		}
		if events < 5 || events > 7 {
			t.Errorf("%d events in an hour", events)
		}
		cloud.fails, cloud.list = nil, []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1"}}
		time.Sleep(time.Minute) // of the fake clock
		if _, err := r.InstanceMetadata(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		cloud.fails, cloud.last = &vultr.Error{Op: "list instances", Status: 500, Message: "again"}, vultr.List[vultr.Instance]{}
		for _, want := range []int{0, 1, 0} {
			for range 25 {
				time.Sleep(time.Second) // of the fake clock
				_, _ = r.InstanceMetadata(t.Context(), n)
			}
			if got := r.told(); len(got) != want {
				t.Errorf("a new wait has the events %v, want %d", got, want)
			}
		}
	})
}

// What new Nodes get as labels, and what happens to those that have others.
func TestLabels(t *testing.T) {
	for name, tt := range map[string]struct {
		in   vultr.Instance
		has  map[string]string
		want map[string]string
		sent map[string]any // nil if nothing is
	}{
		"a virtual machine": {
			vultr.Instance{Plan: "vc2-2c-4gb", Kind: vultr.KindVM, MainIP: "192.0.2.1"},
			nil,
			map[string]string{"vultr.com/plan": "vc2-2c-4gb", "vultr.com/kind": "vm"},
			map[string]any{"vultr.com/plan": "vc2-2c-4gb", "vultr.com/kind": "vm"},
		},
		"bare metal": {
			vultr.Instance{Plan: "vbm 4c", Kind: vultr.KindBareMetal, MainIP: "192.0.2.1"},
			map[string]string{"vultr.com/plan": "vbm-4c", "vultr.com/kind": "metal", "x": "y"},
			map[string]string{"vultr.com/plan": "vbm-4c", "vultr.com/kind": "metal"},
			nil,
		},
		"a graphics processor": {
			vultr.Instance{Plan: "vcg-a100-1c-6g", Kind: vultr.KindVM, MainIP: "192.0.2.1"},
			map[string]string{"vultr.com/kind": "vm"},
			map[string]string{"vultr.com/plan": "vcg-a100-1c-6g", "vultr.com/kind": "gpu"},
			map[string]any{"vultr.com/plan": "vcg-a100-1c-6g", "vultr.com/kind": "gpu"},
		},
		"in a VPC": {
			vultr.Instance{Plan: "p", Kind: vultr.KindVM, MainIP: "192.0.2.1", InternalIP: "10.1.0.3", VPCs: []string{vpcOne}},
			map[string]string{"vultr.com/plan": "p", "vultr.com/kind": "vm", "vultr.com/vpc": vpcTwo},
			map[string]string{"vultr.com/plan": "p", "vultr.com/kind": "vm", "vultr.com/vpc": vpcOne},
			map[string]any{"vultr.com/vpc": vpcOne},
		},
		"out of its VPC": {
			vultr.Instance{Plan: "p", Kind: vultr.KindVM, MainIP: "192.0.2.1"},
			map[string]string{"vultr.com/plan": "p", "vultr.com/kind": "vm", "vultr.com/vpc": vpcTwo},
			map[string]string{"vultr.com/plan": "p", "vultr.com/kind": "vm"},
			map[string]any{"vultr.com/vpc": nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.in.ID, tt.in.Label = idOne, "a"
			var sent []map[string]any
			r := newRigWith(t, &fakeCloud{list: []vultr.Instance{tt.in}}, instances.Options{Label: func(_ context.Context, _ *v1.Node, changes map[string]any) error {
				sent = append(sent, changes)
				return errors.New("the API server is away") // which keeps nobody from having its data
			}})
			fresh := bare("a", "")
			md, err := r.InstanceMetadata(t.Context(), fresh)
			if err != nil || !maps.Equal(md.AdditionalLabels, tt.want) || len(sent) > 0 {
				t.Errorf("a new node: %+v, %v, sent %v", md, err, sent)
			}
			known := bare("a", idOne, func(n *v1.Node) { n.Labels = tt.has })
			if md, err := r.InstanceMetadata(t.Context(), known); err != nil || !maps.Equal(md.AdditionalLabels, tt.want) {
				t.Errorf("one that was there: %+v, %v", md, err)
			}
			if (len(sent) > 0) != (tt.sent != nil) || len(sent) == 1 && !maps.Equal(sent[0], tt.sent) || len(sent) > 1 {
				t.Errorf("sent %v, want %v", sent, tt.sent)
			}
		})
	}
	r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1", Plan: "p"}}})
	if md, err := r.InstanceMetadata(t.Context(), bare("a", idOne)); err != nil || md.AdditionalLabels != nil {
		t.Errorf("without labels of our own: %+v, %v", md, err)
	}
}
