package servicelb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What was sent covers what reads show until they must show it, in the order in which it was sent.
func TestWhatWasSentIsBelieved(t *testing.T) {
	began := time.Unix(1000, 0)
	sent := func(timeout int, ago time.Duration) change {
		return change{settings: vultr.LoadBalancerSettings{Timeout: &timeout}, at: began.Add(-ago)}
	}
	for name, tt := range map[string]struct {
		sent       []change
		want, kept int
	}{
		"nothing":                  {nil, 600, 0},
		"a moment ago":             {[]change{sent(30, time.Second)}, 30, 1},
		"after the read began":     {[]change{sent(30, -time.Second)}, 30, 1},
		"just before it must show": {[]change{sent(30, visibleAfter-1)}, 30, 1},
		"when it must show":        {[]change{sent(30, visibleAfter)}, 600, 0},
		"two":                      {[]change{sent(30, 2*time.Second), sent(40, time.Second)}, 40, 2},
		"an old and a new one":     {[]change{sent(30, time.Hour), sent(40, time.Second)}, 40, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{sent: tt.sent}
			if got := m.believed(vultr.LoadBalancer{Timeout: 600}, began, overlay); got.Timeout != tt.want || len(m.sent) != tt.kept {
				t.Errorf("timeout %d, %d kept", got.Timeout, len(m.sent))
			}
		})
	}
}

// Every setting that can be sent is believed.
func TestOverlay(t *testing.T) {
	label, nodes, timeout, yes := "www", 3, 30, true
	algorithm, cookie, vpc := "leastconn", "c", "v"
	got := overlay(vultr.LoadBalancer{ID: "1", Firewall: []vultr.FirewallRule{{Port: 1}}}, vultr.LoadBalancerSettings{
		Label: &label, Nodes: &nodes, Algorithm: &algorithm, Timeout: &timeout, SSLRedirect: &yes, ProxyProtocol: &yes, HTTP2: &yes, HTTP3: &yes,
		StickyCookie: &cookie, VPC: &vpc, HealthCheck: &vultr.HealthCheck{Port: 7}, AutoSSL: &vultr.AutoSSL{Zone: "z"},
		Rules: &[]vultr.ForwardingRule{{FrontendPort: 80}}, Firewall: &[]vultr.FirewallRule{}, Instances: &[]string{"i"}, GlobalRegions: &[]vultr.GlobalRegion{{}},
		Certificate: &vultr.Certificate{},
	})
	if got.ID != "1" || got.Label != label || got.Nodes != nodes || got.Algorithm != algorithm || got.Timeout != timeout || !got.SSLRedirect || !got.ProxyProtocol ||
		!got.HTTP2 || !got.HTTP3 || got.StickyCookie != cookie || got.VPC != vpc || got.HealthCheck.Port != 7 || got.AutoSSL.Zone != "z" || len(got.Rules) != 1 ||
		len(got.Firewall) != 0 || len(got.Instances) != 1 || len(got.GlobalRegions) != 1 || !got.HasSSL {
		t.Errorf("%+v", got)
	}
}

// A refused instance is left out for a while, and then tried again.
func TestMissingInstancesAreTriedAgain(t *testing.T) {
	m := missing{since: map[string]time.Time{}}
	now := time.Unix(0, 0)
	m.add([]string{"a"}, now)
	m.add([]string{"b"}, now.Add(time.Minute))
	for _, tt := range []struct {
		after       time.Duration
		known, left []string
	}{
		{0, []string{"c"}, []string{"a", "b"}},
		{missingFor - 1, []string{"c"}, []string{"a", "b"}},
		{missingFor, []string{"a", "c"}, []string{"b"}},
		{missingFor + time.Minute, []string{"a", "b", "c"}, nil},
	} {
		known, left := m.filter([]string{"a", "b", "c"}, now.Add(tt.after))
		if !slices.Equal(known, tt.known) || !slices.Equal(left, tt.left) {
			t.Errorf("after %s: %v and %v", tt.after, known, left)
		}
	}
	if len(m.since) != 0 {
		t.Errorf("remembered for ever: %v", m.since)
	}
	m.add([]string{"d"}, now)
	m.add([]string{"e"}, now.Add(time.Hour))
	if got := slices.Collect(maps.Keys(m.since)); !slices.Equal(got, []string{"e"}) {
		t.Errorf("%v", got)
	}
}

func TestNews(t *testing.T) {
	m := &memory{told: map[topic]string{}}
	for i, tt := range []struct {
		about topic
		text  string
		want  bool
	}{
		{aboutNodes, "", false},
		{aboutNodes, "a", true},
		{aboutNodes, "a", false},
		{aboutLabel, "a", true},
		{aboutNodes, "b", true},
		{aboutNodes, "a", true},
		{aboutNodes, "", false},
		{aboutNodes, "a", true},
	} {
		if got := m.news(tt.about, tt.text); got != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// listAPI is a cloud of which only the list is asked.
type listAPI struct {
	API
	ages  []time.Duration
	items []vultr.LoadBalancer
}

func (a *listAPI) LoadBalancers(_ context.Context, maxAge time.Duration) (vultr.List[vultr.LoadBalancer], error) {
	a.ages = append(a.ages, maxAge)
	return vultr.List[vultr.LoadBalancer]{Items: a.items, Began: time.Now()}, nil
}

// A list is shared for a moment, but never one that began before the last change.
func TestListIsYoungerThanTheLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listAPI{items: []vultr.LoadBalancer{{ID: "1"}, {ID: "2"}}}
		c := &Controller{Config: Config{API: api}, gone: missing{since: map[string]time.Time{}}}
		for _, ago := range []time.Duration{time.Hour, listAge, time.Second, 0, -time.Second} {
			if _, err := c.list(t.Context(), time.Now().Add(-ago)); err != nil {
				t.Fatal(err)
			}
		}
		if want := []time.Duration{listAge, listAge, time.Second, 0, 0}; !slices.Equal(api.ages, want) {
			t.Errorf("ages %v, want %v", api.ages, want)
		}
		c.gone.add([]string{"1"}, time.Now())
		if list, err := c.list(t.Context(), time.Time{}); err != nil || len(list.Items) != 1 || list.Items[0].ID != "2" {
			t.Errorf("%+v, %v", list, err)
		}
		if api.items[0].ID != "1" {
			t.Error("the shared list was changed")
		}
	})
}

// What is known of Services that are no more is forgotten.
func TestMemoriesAreDropped(t *testing.T) {
	m := emptyMemories()
	kept := m.of("a")
	m.of("b")
	m.keep(map[types.UID]bool{"a": true})
	if len(m.known) != 1 || m.of("a") != kept {
		t.Errorf("%v", m.known)
	}
	m.drop("a")
	if len(m.known) != 0 {
		t.Errorf("%v", m.known)
	}
}

// The timer forgets what is known of Services that do not exist.
func TestTimerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, indexer := controllerOf(t)
		c.memories.of("gone")
		c.memories.of(testService().UID)
		for _, s := range []*v1.Service{testService(), testService(func(s *v1.Service) { s.Name, s.UID, s.Spec.Type = "other", "2", v1.ServiceTypeClusterIP })} {
			if err := indexer.Add(s); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		go c.keepHouse(ctx)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(c.memories.known) != 1 || c.memories.known[testService().UID] == nil {
			t.Errorf("%v", c.memories.known)
		}
	})
}

// controllerOf returns a controller that has read its ledger and lists what is in the indexer.
func controllerOf(t *testing.T) (*Controller, cache.Indexer) {
	t.Helper()
	client := fake.NewSimpleClientset(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{
		string(settings.AllowAdoption): " Aa , ,bb", string(settings.HandOver): "cc",
	}}})
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	c := &Controller{
		Config: Config{Client: client}, services: corelisters.NewServiceLister(indexer), memories: emptyMemories(), ledger: ledger.New(client),
		missing: missing{since: map[string]time.Time{}}, gone: missing{since: map[string]time.Time{}},
		words: newWords(), atWork: underWay{all: map[key]key{}}, doubts: doubts{all: map[key]bool{}},
	}
	if err := c.ledger.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, indexer
}

// Who has a claim to a load balancer besides the Service that asks.
func TestClaims(t *testing.T) {
	c, indexer := controllerOf(t)
	own := testService(annotated(settings.ID, "own-id"), annotated(settings.Label, "own-label"))
	other := testService(annotated(settings.ID, " other-id "), annotated(settings.Label, "other-label"), func(s *v1.Service) { s.Name, s.UID = "other", "2" })
	plain := testService(annotated(settings.ID, "plain-id"), func(s *v1.Service) { s.Name, s.UID, s.Spec.Type = "plain", "3", v1.ServiceTypeClusterIP })
	for _, s := range []*v1.Service{own, other, plain} {
		if err := indexer.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	for uid, id := range map[types.UID]string{own.UID: "held-by-own", other.UID: "held-by-other", "9": ""} {
		if err := c.ledger.Put(t.Context(), uid, ledger.Entry{Service: "x", ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.claims(t.Context(), &scene{service: own, nodes: []*v1.Node{testNode("a"), testNode("b", withoutMachine)}}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		got  map[string]bool
		want []string
	}{
		"held": {got.held, []string{"held-by-other"}}, "named": {got.named, []string{label(other), "other-id", "other-label"}},
		"instances": {got.instances, []string{"dddddddd-66fd-4dfb-b839-443f2e6c0b60"}}, "allowed": {got.allowed, []string{"aa", "bb", "cc"}},
	} {
		slices.Sort(tt.want)
		if keys := slices.Sorted(maps.Keys(tt.got)); !slices.Equal(keys, tt.want) {
			t.Errorf("%s: %v, want %v", name, keys, tt.want)
		}
	}
}

// For which Services another controller may have made a load balancer in its last moments.
func TestDoubt(t *testing.T) {
	c, _ := controllerOf(t)
	c.began = time.Now()
	ours := finalizers(servicehelper.LoadBalancerCleanupFinalizer)
	for name, tt := range map[string]struct {
		service   *v1.Service
		finalized bool
		want      time.Time
	}{
		"with a finalizer":                       {testService(ours), false, c.began.Add(visibleAfter)},
		"whose finalizer this process put there": {testService(ours), true, time.Time{}},
		"without a finalizer":                    {testService(), false, time.Time{}},
	} {
		c.memories = emptyMemories()
		c.memories.of(tt.service.UID).finalized = tt.finalized
		if got := c.doubtful(tt.service); !got.Equal(tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// Of two Services the older one has the right; of two of one age always the same one.
func TestOlder(t *testing.T) {
	at := func(uid string, seconds int64) *v1.Service {
		return testService(func(s *v1.Service) { s.UID, s.CreationTimestamp = types.UID(uid), metav1.Unix(seconds, 0) })
	}
	for _, tt := range []struct {
		a, b *v1.Service
		want bool
	}{
		{at("b", 1), at("a", 2), true}, {at("a", 2), at("b", 1), false}, {at("a", 1), at("b", 1), true}, {at("b", 1), at("a", 1), false}, {at("a", 1), at("a", 1), false},
	} {
		if got := older(tt.a, tt.b); got != tt.want {
			t.Errorf("%s at %s, %s at %s: %v", tt.a.UID, tt.a.CreationTimestamp, tt.b.UID, tt.b.CreationTimestamp, got)
		}
	}
}

// Waiting gives way to what people must see.
func TestBoth(t *testing.T) {
	wait, failure, faults := waitFor(time.Second, "busy"), errors.New("failure"), errors.New("faults")
	for name, tt := range map[string]struct {
		err, faults error
		want        []error
	}{
		"nothing": {nil, nil, nil}, "waiting": {wait, nil, []error{wait}}, "a failure": {failure, nil, []error{failure}}, "faults": {nil, faults, []error{faults}},
		"waiting and faults": {wait, faults, []error{faults}}, "a failure and faults": {failure, faults, []error{failure, faults}},
	} {
		got := both(tt.err, tt.faults)
		for _, want := range tt.want {
			if !errors.Is(got, want) {
				t.Errorf("%s: %v", name, got)
			}
		}
		if got == nil != (tt.want == nil) || isWait(got) != (name == "waiting") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The load balancer that a Service's annotations name.
func TestHint(t *testing.T) {
	const id, other = "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60", "bbbbbbbb-66fd-4dfb-b839-443f2e6c0b60"
	lb := func(id, label string) vultr.LoadBalancer { return vultr.LoadBalancer{ID: id, Label: label} }
	list := []vultr.LoadBalancer{lb(id, "www"), lb(other, "twice"), lb("3", "twice")}
	direct := lb("4", "direct")
	for name, tt := range map[string]struct {
		hint hint
		want string
		err  string
	}{
		"nothing":                  {hint{}, "", ""},
		"an ID in the list":        {hint{id: id}, id, ""},
		"an ID that is looked for": {hint{id: "4"}, "4", ""},
		"an ID before a label":     {hint{id: other, label: "www"}, other, ""},
		"a label":                  {hint{label: "www"}, id, ""},
		"a label that nobody has":  {hint{label: "none"}, "", ""},
		"a label that two have":    {hint{label: "twice"}, "", "2 load balancers have the label"},
	} {
		got, err := tt.hint.choose(list, &direct)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", name, err)
		}
		if gotID := ""; got != nil && got.ID != tt.want || got == nil && tt.want != gotID {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A Service that is gone meanwhile needs no status and no finalizer: that is no failure.
func TestWritesToAServiceThatIsGone(t *testing.T) {
	c, _ := controllerOf(t)
	s, m := testService(finalizers(servicehelper.LoadBalancerCleanupFinalizer)), c.memories.of(testService().UID)
	if err := c.publish(t.Context(), s, m, &testService(address("192.0.2.1")).Status.LoadBalancer); err != nil {
		t.Errorf("status: %v", err)
	}
	if !c.wrote(testService(address("192.0.2.1"))) || c.wrote(testService(address("192.0.2.2"))) {
		t.Error("what was written is not remembered")
	}
	if err := c.removeFinalizer(t.Context(), s); err != nil {
		t.Errorf("finalizer: %v", err)
	}
	if err := c.addFinalizer(t.Context(), testService()); !isWait(err) {
		t.Errorf("adding the finalizer: %v", err)
	}
}
