package cloud_test

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	cloudprovider "k8s.io/cloud-provider"
	cloudproviderapi "k8s.io/cloud-provider/api"
	"k8s.io/cloud-provider/controllers/nodelifecycle"
	controllersmetrics "k8s.io/component-base/metrics/prometheus/controllers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const patience = 60 * time.Second

// builder gives every controller the same client.
type builder struct{ kubernetes.Interface }

func (b builder) Config(string) (*rest.Config, error)         { return &rest.Config{}, nil }
func (b builder) ConfigOrDie(string) *rest.Config             { return &rest.Config{} }
func (b builder) Client(string) (kubernetes.Interface, error) { return b.Interface, nil }
func (b builder) ClientOrDie(string) kubernetes.Interface     { return b.Interface }
func newClient(t *testing.T, c *simtest.Cloud) *vultr.Client  { return clientWithKey(t, c, c.Key) }

func optionsFor(region, metadata string) cloud.Options {
	return cloud.Options{Region: region, MetadataURL: metadata, LabelInStatus: true, DriftRepair: true}
}

func node(name, providerID string, ready v1.ConditionStatus) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{}},
		Spec:       v1.NodeSpec{ProviderID: providerID},
		Status:     v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: ready}}},
	}
}

func clientWithKey(t *testing.T, c *simtest.Cloud, key string) *vultr.Client {
	t.Helper()
	client, err := vultr.New(vultr.Config{BaseURL: c.URL, Key: key, StartRate: 1000, MaxRate: 1000, SettleTime: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// leading makes a provider the way the library does when its process begins to lead.
func leading(t *testing.T, api cloud.API, client kubernetes.Interface, options cloud.Options) *cloud.Provider {
	t.Helper()
	p := cloud.NewProvider(api, options)
	if _, ok := p.LoadBalancer(); ok {
		t.Error("load balancers before this process leads")
	}
	p.Initialize(builder{client}, t.Context().Done())
	factory := informers.NewSharedInformerFactory(client, 0)
	p.SetInformers(factory)
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	return p
}

func TestInterfaces(t *testing.T) {
	c := simtest.Start(t, simtest.Options{})
	for _, fast := range []bool{true, false} {
		p := leading(t, newClient(t, c), fake.NewSimpleClientset(), cloud.Options{FastNodeRecovery: fast})
		_, instances := p.InstancesV2()
		services, err := p.LoadBalancers()
		balancers := err == nil && services != nil
		_, old := p.Instances()
		_, zones := p.Zones()
		_, routes := p.Routes()
		_, clusters := p.Clusters()
		if !instances || !balancers || old || zones || routes || clusters || !p.HasClusterID() || p.ProviderName() != "vultr" {
			t.Error("wrong interfaces")
		}
		if (p.Recovery() != nil) != fast {
			t.Errorf("recovery %v", p.Recovery())
		}
	}
}

func TestRegion(t *testing.T) {
	t.Parallel() // it waits nearly all the time
	tests := map[string]struct {
		flag     string
		metadata bool     // whether it answers
		nodes    []string // their regions
		want     string
		fault    string
	}{
		"by flag":           {flag: "EWR", metadata: true, nodes: []string{"fra"}, want: "ewr"},
		"by the nodes":      {nodes: []string{"fra", "fra"}, want: "fra"},
		"by metadata":       {metadata: true, want: "fra"},
		"several":           {metadata: true, nodes: []string{"fra", "ewr"}, fault: "several regions (ewr, fra)"},
		"nobody can say it": {fault: "--vultr-region is not set"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := simtest.Start(t, simtest.Options{})
			id := c.AddInstance(simulator.NewServer{Label: "a", Region: "fra"})
			metadata := "http://127.0.0.1:1"
			if tt.metadata {
				metadata = c.MetadataURL(id)
			}
			api := newClient(t, c)
			client := fake.NewSimpleClientset()
			service := &v1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "6c8f4d0c-43b6-4d94-b8f5-1c5c0e0a3c11"},
				Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80, NodePort: 30080}}},
			}
			if err := client.Tracker().Add(service); err != nil {
				t.Fatal(err)
			}
			for i, region := range tt.nodes {
				n := node(region+strconv.Itoa(i), "vultr://"+id, v1.ConditionTrue)
				n.Labels[v1.LabelTopologyRegion] = region
				if err := client.Tracker().Add(n); err != nil {
					t.Fatal(err)
				}
			}
			services, err := leading(t, api, client, optionsFor(tt.flag, metadata)).LoadBalancers()
			if err != nil {
				t.Fatal(err)
			}
			var running sync.WaitGroup
			ctx, stop := context.WithCancel(t.Context())
			defer running.Wait()
			defer stop()
			running.Go(func() { services.Run(ctx, 1) })
			c.Await("the load balancer is made, or it is said why not", func() bool {
				for _, lb := range c.Sim.View().LoadBalancers {
					if lb.Region != tt.want {
						t.Fatalf("made in %q, want %q", lb.Region, tt.want)
					}
					if err := api.DeleteLoadBalancer(t.Context(), lb.ID); err == nil {
						return true
					}
				}
				return tt.fault != "" && said(t, client, tt.fault)
			})
		})
	}
}

// said reports whether an Event has the text.
func said(t *testing.T, client kubernetes.Interface, text string) bool {
	t.Helper()
	events, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(events.Items, func(e v1.Event) bool { return strings.Contains(e.Message, text) })
}

// The library's own controller deletes the Node of a destroyed instance, and no other, whatever state it is in.
func TestLifecycle(t *testing.T) {
	t.Parallel() // it waits nearly all the time
	c := simtest.Start(t, simtest.Options{})
	api := newClient(t, c)
	client := fake.NewSimpleClientset()
	ids := map[string]string{
		"well":      c.AddInstance(simulator.NewServer{Label: "well"}),
		"stopped":   c.AddInstance(simulator.NewServer{Label: "stopped", Stopped: true}),
		"locked":    c.AddInstance(simulator.NewServer{Label: "locked", Locked: true}),
		"metal":     c.AddBareMetal(simulator.NewServer{Label: "metal"}),
		"destroyed": c.AddInstance(simulator.NewServer{Label: "destroyed"}),
	}
	for name, id := range ids {
		if err := client.Tracker().Add(node(name, "vultr://"+id, v1.ConditionUnknown)); err != nil {
			t.Fatal(err)
		}
	}
	for name, providerID := range map[string]string{"foreign": "aws:///i-1", "unset": "", "broken": "vultr://7"} {
		if err := client.Tracker().Add(node(name, providerID, v1.ConditionUnknown)); err != nil {
			t.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, c.URL+"/v2/instances/"+ids["destroyed"], nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close() // nothing is read of it

	p := cloud.NewProvider(api, cloud.Options{})
	p.Initialize(builder{client}, t.Context().Done())
	factory := informers.NewSharedInformerFactory(client, 0)
	p.SetInformers(factory)
	lifecycle, err := nodelifecycle.NewCloudNodeLifecycleController(factory.Core().V1().Nodes(), client, cloudprovider.Interface(p), 200*time.Millisecond, 1)
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go lifecycle.Run(ctx, controllersmetrics.NewControllerManagerMetrics("test"))

	limit := time.Now().Add(patience)
	for {
		if _, err := client.CoreV1().Nodes().Get(t.Context(), "destroyed", metav1.GetOptions{}); err != nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the node of the destroyed instance stays")
		}
		time.Sleep(50 * time.Millisecond) // between two looks; only what is waited for ends the wait
	}
	list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 7 {
		t.Errorf("%d nodes are left, want 7; %v", len(list.Items), err)
	}
	for i := range list.Items {
		shutdown := false
		for _, taint := range list.Items[i].Spec.Taints {
			shutdown = shutdown || taint.Key == cloudproviderapi.TaintNodeShutdown
		}
		if name := list.Items[i].Name; shutdown != (name == "stopped") {
			t.Errorf("%s: shutdown taint %v", name, shutdown)
		}
	}
}

// What is remembered of an object goes with it: the same complaint about a new one is made again.
func TestDeletedObjectsAreForgotten(t *testing.T) {
	c := simtest.Start(t, simtest.Options{})
	client := fake.NewSimpleClientset()
	foreign := node("foreign", "aws:///i-1", v1.ConditionTrue)
	p := leading(t, newClient(t, c), client, cloud.Options{Region: "ewr"})
	instances, _ := p.InstancesV2()
	told := func() (times int32) {
		events, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range events.Items {
			if e := &events.Items[i]; e.InvolvedObject.Kind == "Node" {
				times += e.Count
			}
		}
		return times
	}
	for _, times := range []int32{1, 2} {
		if err := client.Tracker().Add(foreign.DeepCopy()); err != nil {
			t.Fatal(err)
		}
		limit := time.Now().Add(patience)
		for {
			_, _ = instances.InstanceExists(t.Context(), foreign)
			n := told()
			if n == times {
				break
			}
			if n > times || time.Now().After(limit) {
				t.Fatalf("told %d times about the node, want %d", n, times)
			}
			time.Sleep(20 * time.Millisecond) // between two looks; only what is waited for ends the wait
		}
		if err := client.Tracker().Delete(v1.SchemeGroupVersion.WithResource("nodes"), "", foreign.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProveKey(t *testing.T) {
	c := simtest.Start(t, simtest.Options{})
	if err := cloud.ProveKey(t.Context(), newClient(t, c)); err != nil {
		t.Errorf("a good key: %v", err)
	}
	err := cloud.ProveKey(t.Context(), clientWithKey(t, c, "WRONGKEY0123456789ABCDEF"))
	if err == nil || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "WRONGKEY") {
		t.Errorf("a wrong key: %v", err)
	}
	c.Fault(simulator.Fault{Action: simulator.FaultStatus, Status: 403})
	if err := cloud.ProveKey(t.Context(), newClient(t, c)); err != nil {
		t.Errorf("a key that may not read the account must do: %v", err)
	}
	c.Sim.ClearFaults()
	c.Fault(simulator.Fault{Action: simulator.FaultStatus, Status: 401, Body: "<html>Log in first"})
	if err := cloud.ProveKey(t.Context(), newClient(t, c)); err != nil {
		t.Errorf("what is between here and the API knows nothing of the key: %v", err)
	}
	c.Sim.ClearFaults()
	c.Fault(simulator.Fault{Action: simulator.FaultResetBefore})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := cloud.ProveKey(ctx, newClient(t, c)); err != nil {
		t.Errorf("an outage is no reason not to start: %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Setenv("API_URL", "https://example.com")
	o := cloud.NewOptions()
	if o.APIURL != "https://example.com" || !o.FastNodeRecovery || !o.LabelInStatus || o.ZoneFromRegion || o.KeyFile != cloud.DefaultKeyFile {
		t.Errorf("%+v", o)
	}
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
	o.APIURL, o.MetadataURL = "example.com", "ftp://x"
	err := o.Validate()
	if err == nil || !strings.Contains(err.Error(), "--vultr-api-url") || !strings.Contains(err.Error(), "--vultr-metadata-url") {
		t.Errorf("both must be named: %v", err)
	}
}
