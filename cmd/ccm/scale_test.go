package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A large cluster.
const (
	scaleNodes    = 5000
	scaleServices = 500
)

// often is how often the program compares everything here, instead of every five minutes: what is measured is to be that of a program
// that has run for long.
const often = 10 * time.Second

// BenchmarkMemoryAtScale reports the resident memory of the program in a cluster of 5,000 nodes and 500 Services, each with a load
// balancer of its own, in which nothing happens. The aim is 150 MB. Backends are all nodes, which is what Kubernetes does unless a
// Service says something else, or the ten on which the Service's pods are: most of it is what the platform's lists say.
func BenchmarkMemoryAtScale(b *testing.B) {
	program := buildProgram(b)
	for _, backends := range []int{10, scaleNodes} {
		b.Run(fmt.Sprintf("%d-backends", backends), func(b *testing.B) {
			for b.Loop() {
				cloud := simtest.Start(b, simtest.Options{Config: simulator.Config{TimeScale: 0.001}}) // or it would take minutes to fill it
				cluster := largeCluster(b, cloud, backends)
				changes := cloud.Count("update_load_balancer")
				pid := startProgram(b, program, cluster.url, cloud, "--vultr-drift-period="+often.String(), "--node-status-update-frequency="+often.String())
				await(b, "load balancers are known to be as they should be", func() bool {
					return cluster.events(reason.EnsuredLoadBalancer) > scaleServices*9/10 // client-go drops Events that come too fast
				})
				time.Sleep(settled) // nothing is waited for: it is what is measured
				for _, list := range []string{"list_instances", "list_load_balancers"} {
					before := cloud.Count(list)
					await(b, "the program asks again: "+list, func() bool { return cloud.Count(list) > before })
				}
				if n := cloud.Count("update_load_balancer") - changes; n > 0 || len(cluster.written()) > 0 {
					b.Errorf("nothing was to be done, but %d load balancers were changed, and the cluster by %q", n, cluster.written())
				}
				b.ReportMetric(memoryMB(b, pid, "VmRSS"), "MB")
				b.ReportMetric(150, "aim-MB")
				b.ReportMetric(memoryMB(b, pid, "RssAnon"), "anonymous-MB")
				b.ReportMetric(memoryMB(b, pid, "VmHWM"), "peak-MB")
			}
		})
	}
}

// await waits for what another process does.
func await(b *testing.B, what string, is func() bool) {
	b.Helper()
	limit := time.After(5 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-limit:
			b.Fatalf("not within five minutes: %s", what)
		case <-tick.C:
		}
	}
}

// largeCluster has Nodes and Services as the program leaves them, so that there is nothing to do.
func largeCluster(b *testing.B, cloud *simtest.Cloud, backends int) *frozen {
	b.Helper()
	api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, StartRate: 1e6, MaxRate: 1e6})
	if err != nil {
		b.Fatal(err)
	}
	nodes := largeNodes(b, cloud, api)
	kinds := map[string]*kindOf{
		"/api/v1/nodes":    {kind: "Node", version: "v1"},
		"/api/v1/services": {kind: "Service", version: "v1"},
		"/apis/discovery.k8s.io/v1/endpointslices": {kind: "EndpointSlice", version: "discovery.k8s.io/v1"},
	}
	var ids []string
	for _, node := range nodes {
		kinds["/api/v1/nodes"].add(b, node)
		id, err := providerid.Parse(node.Spec.ProviderID)
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	maps := map[string]*v1.ConfigMap{}
	for i := range scaleServices {
		first := 0 // another ten for each Service
		if backends < scaleNodes {
			first = i * backends % (scaleNodes - backends)
		}
		service := scaleService(i, backends < scaleNodes)
		entry := serveBy(b, api, service, ids[first:first+backends])
		kinds["/api/v1/services"].add(b, service)
		kinds["/apis/discovery.k8s.io/v1/endpointslices"].add(b, pods(service, nodes[first:first+min(backends, 10)]))
		record(b, maps, service.UID, entry)
	}
	return startFrozen(b, maps, kinds)
}

// largeNodes adds instances and returns their Nodes, as the program leaves those that it has initialised.
func largeNodes(b *testing.B, cloud *simtest.Cloud, api *vultr.Client) []*v1.Node {
	b.Helper()
	address := netip.MustParseAddr("198.18.64.1")
	for i := range scaleNodes {
		cloud.AddInstance(simulator.NewServer{Label: fmt.Sprintf("worker-%d", i), MainIP: address.String()})
		address = address.Next()
	}
	cloud.AwaitReads()
	list, err := api.Instances(b.Context(), 0)
	if err != nil || len(list.Items) != scaleNodes {
		b.Fatalf("%d instances, %v", len(list.Items), err)
	}
	var nodes []*v1.Node
	for _, in := range list.Items {
		node := freshNode(in.Label, in.MainIP)
		node.Spec = v1.NodeSpec{ProviderID: providerid.Format(in.ID)}
		node.Status.Addresses = append(addresses.Of(in), v1.NodeAddress{Type: v1.NodeHostName, Address: in.Label})
		maps.Copy(node.Labels, map[string]string{
			v1.LabelInstanceType: in.Plan, v1.LabelInstanceTypeStable: in.Plan, v1.LabelFailureDomainBetaRegion: in.Region, v1.LabelTopologyRegion: in.Region,
			instances.PlanLabel: in.Plan, instances.KindLabel: "vm",
		})
		nodes = append(nodes, node)
	}
	return nodes
}

// scaleService is a Service as people publish one.
func scaleService(i int, local bool) *v1.Service {
	s := &v1.Service{
		TypeMeta: metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: fmt.Sprintf("web-%d", i), UID: types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", i)), ResourceVersion: "1",
			CreationTimestamp: metav1.NewTime(time.Now().Add(-24 * time.Hour)), Annotations: map[string]string{},
			Labels:     map[string]string{"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": fmt.Sprintf("web-%d", i)},
			Finalizers: []string{servicehelper.LoadBalancerCleanupFinalizer},
		},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": fmt.Sprintf("web-%d", i)},
			Ports: []v1.ServicePort{
				{Name: "http", Port: 80, NodePort: int32(30000 + 2*i), Protocol: v1.ProtocolTCP},
				{Name: "https", Port: 443, NodePort: int32(30001 + 2*i), Protocol: v1.ProtocolTCP},
			},
		},
	}
	if local {
		s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, int32(31000+i)
	}
	return s
}

// serveBy makes the Service's load balancer with these backends, and notes it in the Service as the program does.
func serveBy(b *testing.B, api *vultr.Client, service *v1.Service, backends []string) ledger.Entry {
	b.Helper()
	reading := plan.Read(service)
	if reading.Err != nil {
		b.Fatal(reading.Err)
	}
	want := reading.Desired
	want.Label, want.Instances = cloudprovider.DefaultLoadBalancerName(service), backends
	lb, err := api.CreateLoadBalancer(b.Context(), "ewr", plan.Creation(want))
	for err == nil && (!lb.Active() || lb.IPv4 == "") {
		time.Sleep(20 * time.Millisecond) // between two looks; only what is waited for ends the wait
		lb, err = api.LoadBalancer(b.Context(), lb.ID)
	}
	if err != nil {
		b.Fatal(err)
	}
	status, ready := plan.Status(lb, service, want, true)
	if !ready {
		b.Fatalf("load balancer %s is not ready", lb.ID)
	}
	service.Status.LoadBalancer = *status
	service.Annotations[string(settings.ID)] = lb.ID
	return ledger.Entry{
		Service: service.Namespace + "/" + service.Name, ID: lb.ID, Made: ledger.Second(time.Now().Add(-time.Hour)), Shown: true, Noted: lb.ID, Address: lb.IPv4,
	}
}

// pods is an EndpointSlice that has a pod on each of these nodes.
func pods(service *v1.Service, nodes []*v1.Node) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace, Name: service.Name + "-x", UID: "slice-" + service.UID, ResourceVersion: "1",
			Labels: map[string]string{discoveryv1.LabelServiceName: service.Name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for i, node := range nodes {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.244.0.%d", i+1)}, NodeName: &node.Name, Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true)},
		})
	}
	return slice
}

// record writes an entry into the ConfigMap that it belongs to.
func record(b *testing.B, maps map[string]*v1.ConfigMap, uid types.UID, entry ledger.Entry) {
	b.Helper()
	text, err := json.Marshal(entry)
	if err != nil {
		b.Fatal(err)
	}
	name := ledger.Name(uid)
	if maps[name] == nil {
		maps[name] = &v1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: name, UID: types.UID("map-" + name), ResourceVersion: "1"},
			Data:       map[string]string{},
		}
	}
	maps[name].Data[string(uid)] = string(text)
}
