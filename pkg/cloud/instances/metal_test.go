package instances_test

import (
	"context"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// metalInVPC is a cloud with one bare metal server, whose address in the VPC only its own answer has.
type metalInVPC struct{ server vultr.Instance }

func (m metalInVPC) Instance(context.Context, string) (vultr.Instance, error) { return m.server, nil }

func (m metalInVPC) Instances(context.Context, time.Duration) (vultr.List[vultr.Instance], error) {
	listed := m.server
	listed.InternalIP = ""
	return vultr.List[vultr.Instance]{Items: []vultr.Instance{listed}, Began: time.Now()}, nil
}

func (m metalInVPC) Networks(context.Context, vultr.Instance) ([]vultr.Network, error) {
	return []vultr.Network{{VPC: m.server.VPCs[0], IP: m.server.InternalIP}}, nil
}

func TestAddressesOfBareMetalInVPC(t *testing.T) {
	server := vultr.Instance{
		ID: "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60", Kind: vultr.KindBareMetal, Label: "metal", Region: "ewr", Plan: "vbm-4c-32gb",
		MainIP: "203.0.113.7", InternalIP: "10.1.96.3", VPCs: []string{"vpc"},
	}
	for name, providerID := range map[string]string{"before it is initialised": "", "later": "vultr://" + server.ID} {
		t.Run(name, func(t *testing.T) {
			node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "metal"}, Spec: v1.NodeSpec{ProviderID: providerID}}
			md, err := instances.New(metalInVPC{server}, roster.New(metalInVPC{server}), nodesOf(node), nil, record.NewFakeRecorder(10), instances.Options{}).InstanceMetadata(t.Context(), node)
			if err != nil {
				t.Fatal(err)
			}
			want := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "10.1.96.3"}, {Type: v1.NodeExternalIP, Address: "203.0.113.7"}}
			if len(md.NodeAddresses) != 2 || md.NodeAddresses[0] != want[0] || md.NodeAddresses[1] != want[1] {
				t.Errorf("got %v, want %v", md.NodeAddresses, want)
			}
		})
	}
}

// nodesOf returns a lister of Nodes.
func nodesOf(nodes ...*v1.Node) corelisters.NodeLister {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for _, n := range nodes {
		_ = indexer.Add(n) // it fails for objects without a name only
	}
	return corelisters.NewNodeLister(indexer)
}
