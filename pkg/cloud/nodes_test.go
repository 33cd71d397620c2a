package cloud_test

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What is chosen about nodes by flags reaches them.
func TestNodeOptions(t *testing.T) {
	c := simtest.Start(t, simtest.Options{})
	api := newClient(t, c)
	var vpcs []string
	for range 2 {
		vpc, err := api.CreateVPC(t.Context(), vultr.VPCRequest{Region: "ewr", Description: "nodes"})
		if err != nil {
			t.Fatal(err)
		}
		vpcs = append(vpcs, vpc.ID)
	}
	id := c.AddInstance(simulator.NewServer{Label: "a", MainIP: "198.18.0.77", VPCs: vpcs, Plan: "vc2-2c-4gb", Tags: []string{"production"}})
	twin := c.AddInstance(simulator.NewServer{Label: "b", Tags: []string{"production"}})
	c.AddInstance(simulator.NewServer{Label: "b", Tags: []string{"test"}})
	options := cloud.Options{VPC: vpcs[1], AddressFamilies: "ipv4", NodeLabels: true, ZoneFromRegion: true, NodeScopeTag: "production", InstanceTag: "ours"}
	client := fake.NewSimpleClientset()
	known := node("a", "vultr://"+id, v1.ConditionTrue)
	if err := client.Tracker().Add(known); err != nil {
		t.Fatal(err)
	}
	instances, ok := leading(t, api, client, options).InstancesV2()
	if !ok {
		t.Fatal("no instances")
	}
	md, err := instances.InstanceMetadata(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	want := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "10.1.16.3"}, {Type: v1.NodeExternalIP, Address: "198.18.0.77"}}
	if !slices.Equal(md.NodeAddresses, want) || md.Zone != "ewr" || md.AdditionalLabels["vultr.com/vpc"] != vpcs[1] {
		t.Errorf("%+v", md)
	}
	labelled, err := client.CoreV1().Nodes().Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || labelled.Labels["vultr.com/plan"] != "vc2-2c-4gb" || labelled.Labels["vultr.com/kind"] != "vm" || labelled.Labels["vultr.com/vpc"] != vpcs[1] {
		t.Errorf("labels %v, %v", labelled.Labels, err)
	}
	c.AwaitReads()
	if tagged, err := api.Instance(t.Context(), id); err != nil || !slices.Equal(tagged.Tags, []string{"production", "ours"}) {
		t.Errorf("tags %v, %v", tagged.Tags, err)
	}
	if md, err := instances.InstanceMetadata(t.Context(), node("b", "", v1.ConditionTrue)); err != nil || md.ProviderID != "vultr://"+twin {
		t.Errorf("the one within the scope: %+v, %v", md, err)
	}
}

func TestFaultsOfNodeOptions(t *testing.T) {
	o := cloud.NewOptions()
	o.VPC, o.AddressFamilies, o.NodeScopeVPC = "nowhere", "ipv4,ipv5", "10.1.0.0/20"
	err := o.Validate()
	if err == nil {
		t.Fatal("all are faulty")
	}
	for _, want := range []string{`--vultr-vpc: "nowhere" is neither`, `--vultr-address-families: "ipv4,ipv5" must be one of`, `--vultr-node-scope-vpc: "10.1.0.0/20" is not the UUID`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q in\n%v", want, err)
		}
	}
	o.VPC, o.AddressFamilies, o.NodeScopeVPC = "10.1.0.0/20", "ipv6", "AAAAAAAA-66fd-4dfb-b839-443f2e6c0b60"
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}
