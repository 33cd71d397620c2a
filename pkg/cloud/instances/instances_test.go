package instances_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	cloudproviderapi "k8s.io/cloud-provider/api"
	"k8s.io/cloud-provider/node/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/breaker"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// scene is a cluster with one well node, in front of a simulated cloud.
type scene struct {
	*testing.T
	cloud     *simtest.Cloud
	api       *vultr.Client
	nodes     cache.Indexer
	client    *fake.Clientset
	recorder  *record.FakeRecorder
	instances *instances.Instances
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneWith(t, simtest.Options{})
}

func newSceneWith(t *testing.T, options simtest.Options) *scene {
	t.Helper()
	return newSceneOf(t, options, instances.Options{})
}

func newSceneWithin(t *testing.T, scope instances.Scope) *scene {
	t.Helper()
	return newSceneOf(t, simtest.Options{}, instances.Options{Scope: scope})
}

func newSceneOf(t *testing.T, options simtest.Options, own instances.Options) *scene {
	t.Helper()
	s := &scene{T: t, cloud: simtest.Start(t, options), recorder: record.NewFakeRecorder(100)}
	var err error
	s.api, err = vultr.New(vultr.Config{BaseURL: s.cloud.URL, Key: s.cloud.Key, StartRate: 1000, MaxRate: 1000, DialContext: s.cloud.Dial})
	if err != nil {
		t.Fatal(err)
	}
	s.nodes = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	s.client = fake.NewSimpleClientset()
	shared, lister := roster.New(s.api), corelisters.NewNodeLister(s.nodes)
	prober := recovery.NewProber(s.api, shared, lister, breaker.New(breaker.DefaultLimit))
	departures := recovery.NewDepartures(prober, s.client, func() bool { return false })
	s.instances = instances.New(s.api, shared, lister, departures, s.recorder, own)
	s.node("well", "vultr://"+s.cloud.AddInstance(simulator.NewServer{Label: "well"}))
	return s
}

func (s *scene) node(name, providerID string, change ...func(*v1.Node)) *v1.Node {
	s.Helper()
	n := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Annotations: map[string]string{}},
		Spec:       v1.NodeSpec{ProviderID: providerID},
	}
	for _, c := range change {
		c(n)
	}
	if err := s.nodes.Add(n); err != nil {
		s.Fatal(err)
	}
	// An error says that it is there already, from another part of the test.
	_, _ = s.client.CoreV1().Nodes().Create(s.Context(), n, metav1.CreateOptions{})
	return n
}

func (s *scene) destroy(id string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), http.MethodDelete, s.cloud.URL+"/v2/instances/"+id, nil)
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.cloud.Key)
	transport := &http.Transport{DialContext: s.cloud.Dial, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		s.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		s.Fatal(err)
	}
	if response.StatusCode != http.StatusNoContent {
		s.Fatalf("delete instance: %s", response.Status)
	}
}

// only a destroyed machine is ever said to be gone, and not before the third look.
func TestExists(t *testing.T) { synctest.Test(t, testExists) }

func testExists(t *testing.T) {
	s := newSceneWith(t, simtest.Options{Bubble: true, Config: simulator.Config{ReadLags: simulator.NoReadLag()}})
	id := s.cloud.AddInstance(simulator.NewServer{Label: "a"})
	a := s.node("a", providerid.Format(id))
	if exists, err := s.instances.InstanceExists(t.Context(), a); err != nil || !exists {
		t.Errorf("running: %v, %v", exists, err)
	}
	s.destroy(id)
	began := time.Now()
	for {
		exists, err := s.instances.InstanceExists(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if !exists {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("never gone")
		}
		time.Sleep(time.Second) // of the fake clock
	}
	if took := time.Since(began); took < 20*time.Second {
		t.Errorf("gone after %s", took)
	}
	if shutdown, err := s.instances.InstanceShutdown(t.Context(), a); err != nil || shutdown {
		t.Errorf("gone is not stopped: %v, %v", shutdown, err)
	}
}

func TestNeverGoneWithoutProof(t *testing.T) {
	faults := map[string]*simulator.Fault{
		"wrong key":      {Action: simulator.FaultStatus, Status: 401, Body: `{"error":"Invalid API token.","status":401}`},
		"forbidden":      {Action: simulator.FaultStatus, Status: 403},
		"no such route":  {Action: simulator.FaultStatus, Status: 404, Body: `{"error":"Not found.","status":404}`},
		"not found page": {Action: simulator.FaultStatus, Status: 400, Body: `{"error":"invalid instance ID","status":400}`},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			a := s.node("a", providerid.Format(s.cloud.AddInstance(simulator.NewServer{Label: "a"})))
			s.cloud.Fault(*fault)
			for range 3 {
				if exists, err := s.instances.InstanceExists(t.Context(), a); err == nil && !exists {
					t.Fatal("gone")
				}
			}
		})
	}
	t.Run("not ours, not matched", func(t *testing.T) {
		s := newScene(t)
		for _, n := range []*v1.Node{s.node("foreign", "aws:///eu/i-1"), s.node("broken", "vultr://x"), s.node("unknown", "")} {
			for range 3 {
				if exists, err := s.instances.InstanceExists(t.Context(), n); err == nil || exists {
					t.Errorf("%s: %v, %v", n.Name, exists, err)
				}
			}
		}
		if n := len(s.recorder.Events); n != 3 {
			t.Errorf("%d events, want one for each node", n)
		}
	})
}

func TestShutdown(t *testing.T) {
	s := newScene(t)
	for name, tt := range map[string]struct {
		id   string
		want bool
	}{
		"running": {s.cloud.AddInstance(simulator.NewServer{Label: "r"}), false},
		"stopped": {s.cloud.AddInstance(simulator.NewServer{Label: "s", Stopped: true}), true},
		"locked":  {s.cloud.AddInstance(simulator.NewServer{Label: "l", Locked: true}), false},
		"metal":   {s.cloud.AddBareMetal(simulator.NewServer{Label: "m"}), false},
		"halted":  {s.cloud.AddBareMetal(simulator.NewServer{Label: "h", Stopped: true}), true},
	} {
		n := s.node(name, providerid.Format(tt.id))
		if shutdown, err := s.instances.InstanceShutdown(t.Context(), n); err != nil || shutdown != tt.want {
			t.Errorf("%s: shutdown %v, %v", name, shutdown, err)
		}
		if exists, err := s.instances.InstanceExists(t.Context(), n); err != nil || !exists {
			t.Errorf("%s: exists %v, %v", name, exists, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	s := newScene(t)
	id := s.cloud.AddInstance(simulator.NewServer{Label: "a", Plan: "vc2-2c-4gb", MainIP: "198.18.0.77"})
	metal := s.cloud.AddBareMetal(simulator.NewServer{Label: "metal"})
	for _, n := range []*v1.Node{s.node("a", ""), s.node("a", providerid.Format(id))} {
		md, err := s.instances.InstanceMetadata(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if md.ProviderID != "vultr://"+id || md.InstanceType != "vc2-2c-4gb" || md.Region != "ewr" || md.Zone != "" {
			t.Errorf("%+v", md)
		}
		if want := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "198.18.0.77"}, {Type: v1.NodeExternalIP, Address: "198.18.0.77"}}; !cmp.Equal(md.NodeAddresses, want) {
			t.Errorf("addresses %v", md.NodeAddresses)
		}
		// What the library does with the kubelet's --node-ip before it takes the taint off.
		if got, err := helpers.GetNodeAddressesFromNodeIP("198.18.0.77", md.NodeAddresses); err != nil || len(got) != 2 {
			t.Errorf("--node-ip: %v, %v", got, err)
		}
	}
	md, err := s.instances.InstanceMetadata(t.Context(), s.node("metal", ""))
	if err != nil || md.ProviderID != "vultr://"+metal {
		t.Errorf("metal: %+v, %v", md, err)
	}
}

// One list serves all nodes that are looked at together.
func TestMetadataCostsOneList(t *testing.T) {
	s := newScene(t)
	var nodes []*v1.Node
	for name := range strings.SplitSeq("abcdefghij", "") {
		nodes = append(nodes, s.node(name, providerid.Format(s.cloud.AddInstance(simulator.NewServer{Label: name}))))
	}
	for _, n := range nodes {
		if _, err := s.instances.InstanceMetadata(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.cloud.Requests()); n > 2 { // virtual machines and bare metals
		t.Errorf("%d requests", n)
	}
}

func TestLookup(t *testing.T) {
	s := newScene(t)
	byLabel := s.cloud.AddInstance(simulator.NewServer{Label: "one", Hostname: "two"})
	byHost := s.cloud.AddInstance(simulator.NewServer{Label: "x", Hostname: "Three"})
	byIP := s.cloud.AddInstance(simulator.NewServer{Label: "y", Hostname: "yy", MainIP: "198.18.0.99"})
	twinA := s.cloud.AddInstance(simulator.NewServer{Label: "twin", Hostname: "ta"})
	twinB := s.cloud.AddInstance(simulator.NewServer{Label: "twin", Hostname: "tb"})
	provided := func(n *v1.Node) { n.Annotations[cloudproviderapi.AnnotationAlphaProvidedIPAddr] = "198.18.0.99" }
	reported := func(n *v1.Node) {
		n.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeHostName, Address: "n"}, {Type: v1.NodeInternalIP, Address: "198.18.0.99"}}
	}
	for name, tt := range map[string]struct {
		node *v1.Node
		want string
	}{
		"label":            {s.node("one", ""), byLabel},
		"host name":        {s.node("three", ""), byHost},
		"host of labelled": {s.node("two", ""), byLabel},
		"provided address": {s.node("n1", "", provided), byIP},
		"reported address": {s.node("n2", "", reported), byIP},
	} {
		md, err := s.instances.InstanceMetadata(t.Context(), tt.node)
		if err != nil || md.ProviderID != providerid.Format(tt.want) {
			t.Errorf("%s: %+v, %v", name, md, err)
		}
	}
	for range 2 {
		_, err := s.instances.InstanceMetadata(t.Context(), s.node("twin", "", provided))
		ambiguous, ok := errors.AsType[*match.AmbiguousError](err)
		if !ok || !slices.Equal(ambiguous.IDs, slices.Sorted(slices.Values([]string{twinA, twinB}))) {
			t.Errorf("twins: %v", err)
		}
	}
	if n := len(s.recorder.Events); n != 1 {
		t.Errorf("%d events, want one", n)
	}
	if event := <-s.recorder.Events; !strings.Contains(event, twinA) || !strings.Contains(event, twinB) {
		t.Errorf("event %q", event)
	}
	if _, err := s.instances.InstanceMetadata(t.Context(), s.node("nobody", "")); !errors.Is(err, match.ErrUnknown) {
		t.Errorf("nobody: %v", err)
	}
}

func TestLabelValue(t *testing.T) {
	for text, want := range map[string]string{
		"vc2-1c-2gb":            "vc2-1c-2gb",
		"":                      "",
		"vbm 4c/32gb (amd)":     "vbm-4c-32gb-amd",
		strings.Repeat("x", 99): strings.Repeat("x", 63),
		"--odd--":               "odd",
	} {
		got := instances.LabelValue(text)
		if got != want || len(validation.IsValidLabelValue(got)) > 0 {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// The names of plans are labels as they are: who selects nodes by them writes what the platform's pages say.
func TestLabelValueOfEveryPlan(t *testing.T) {
	plans, err := newScene(t).api.Plans(t.Context())
	if err != nil || len(plans) < 10 {
		t.Fatalf("%d plans, %v", len(plans), err)
	}
	for _, plan := range plans {
		if got := instances.LabelValue(plan.ID); got != plan.ID || len(validation.IsValidLabelValue(got)) > 0 {
			t.Errorf("%q became %q", plan.ID, got)
		}
	}
}

func FuzzLabelValue(f *testing.F) {
	f.Add("vc2-1c-2gb")
	f.Add(strings.Repeat("é", 50) + "/")
	f.Fuzz(func(t *testing.T, text string) {
		if got := instances.LabelValue(text); len(validation.IsValidLabelValue(got)) > 0 {
			t.Errorf("%q became %q", text, got)
		}
	})
}
