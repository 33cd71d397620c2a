package instances_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/witness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// fakeCloud is an account. Real HTTP has no place under a fake clock.
type fakeCloud struct {
	mu                   sync.Mutex
	list                 []vultr.Instance           // what lists show
	gets                 map[string]vultr.Instance  // what else is there
	vpcs                 map[string][]vultr.Network // by instance
	fails                error
	lists, looks, joined int
	last                 vultr.List[vultr.Instance]
}

func (f *fakeCloud) Instances(_ context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if maxAge > 0 && !f.last.Began.IsZero() && time.Since(f.last.Began) <= maxAge {
		return f.last, nil
	}
	f.lists++
	if f.fails != nil {
		return vultr.List[vultr.Instance]{}, f.fails
	}
	f.last = vultr.List[vultr.Instance]{Items: slices.Clone(f.list), Began: time.Now()}
	return f.last, nil
}

func (f *fakeCloud) Instance(_ context.Context, id string) (vultr.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if in, ok := f.gets[id]; ok {
		return in, nil
	}
	for _, in := range f.list {
		if in.ID == id {
			return in, nil
		}
	}
	return vultr.Instance{}, &vultr.Error{Op: "get instance", Resource: id, Status: 404, Message: "Invalid instance-id."}
}

func (f *fakeCloud) Networks(_ context.Context, in vultr.Instance) ([]vultr.Network, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joined++
	return f.vpcs[in.ID], nil
}

// rig is a cluster in front of it.
type rig struct {
	*testing.T
	*fakeCloud
	*instances.Instances
	events *record.FakeRecorder
}

func newRig(t *testing.T, cloud *fakeCloud, nodes ...*v1.Node) *rig {
	t.Helper()
	return newRigWith(t, cloud, instances.Options{}, nodes...)
}

func newRigWith(t *testing.T, cloud *fakeCloud, options instances.Options, nodes ...*v1.Node) *rig {
	t.Helper()
	events := record.NewFakeRecorder(1000)
	return &rig{t, cloud, instances.New(cloud, roster.New(cloud), nodesOf(nodes...), nil, events, options), events}
}

func (r *rig) told() []string {
	var list []string
	for len(r.events.Events) > 0 {
		list = append(list, strings.Fields(<-r.events.Events)[1])
	}
	return list
}

const (
	idOne = "11111111-66fd-4dfb-b839-443f2e6c0b60"
	idTwo = "22222222-66fd-4dfb-b839-443f2e6c0b60"
)

func bare(name, id string, change ...func(*v1.Node)) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Annotations: map[string]string{}}}
	if id != "" {
		n.Spec.ProviderID = "vultr://" + id
	}
	for _, c := range change {
		c(n)
	}
	return n
}

func nodeIP(address string) func(*v1.Node) {
	return func(n *v1.Node) { n.Annotations[cloudproviderapi.AnnotationAlphaProvidedIPAddr] = address }
}

func hasIP(address string) func(*v1.Node) {
	return func(n *v1.Node) { n.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: address}} }
}

func (r *rig) addresses(n *v1.Node) ([]string, error) {
	md, err := r.InstanceMetadata(r.Context(), n)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, a := range md.NodeAddresses {
		list = append(list, strings.TrimSuffix(string(a.Type), "IP")+" "+a.Address)
	}
	return list, nil
}

// A thousand nodes that register together are initialised from one list.
func TestOneListInitialisesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []vultr.Instance
		var nodes []*v1.Node
		for i := range 1000 {
			name := fmt.Sprintf("n%d", i)
			list = append(list, vultr.Instance{ID: fmt.Sprintf("%08d-66fd-4dfb-b839-443f2e6c0b60", i), Label: name, MainIP: "192.0.2.1"})
			nodes = append(nodes, bare(name, ""))
		}
		r := newRig(t, &fakeCloud{list: list}, nodes...)
		for _, n := range nodes {
			r.Seen(n)
		}
		for _, n := range nodes {
			time.Sleep(time.Millisecond) // of the fake clock
			if md, err := r.InstanceMetadata(t.Context(), n); err != nil || md.ProviderID == "" {
				t.Fatal(err)
			}
		}
		if r.lists != 1 || r.looks != 0 || r.joined != 0 {
			t.Errorf("%d lists, %d GETs, %d reads of networks", r.lists, r.looks, r.joined)
		}
	})
}

// A list of before the node was there may show another machine of its name.
func TestLookUpNeedsAListThatIsNewEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1"}}})
		if _, err := r.InstanceMetadata(t.Context(), bare("a", idOne)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // of the fake clock
		r.list = []vultr.Instance{{ID: idTwo, Label: "a", MainIP: "192.0.2.2"}}
		n := bare("a", "")
		r.Seen(n)
		time.Sleep(time.Second) // of the fake clock
		if md, err := r.InstanceMetadata(t.Context(), n); err != nil || md.ProviderID != "vultr://"+idTwo {
			t.Errorf("got %+v, %v", md, err)
		}
	})
}

// A node that is not found is looked for again with growing pauses, however often it is asked about, and in new lists.
func TestLooksForAnUnknownNodeBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCloud{})
		n := bare("a", "")
		for range 600 {
			if _, err := r.InstanceMetadata(t.Context(), n); !errors.Is(err, match.ErrUnknown) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(time.Second / 10) // fake time: how often the library asks
		}
		if r.lists < 5 || r.lists > 7 { // after 1, 3, 7, 15, 31 s
			t.Errorf("%d lists in a minute", r.lists)
		}
		r.list = []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1"}}
		time.Sleep(30 * time.Second) // of the fake clock
		if _, err := r.InstanceMetadata(t.Context(), n); err != nil {
			t.Error(err)
		}
		if got := r.told(); len(got) != 1 {
			t.Errorf("events %v", got)
		}
		r.Forget(n.UID)
		r.list = nil
		if _, err := r.InstanceMetadata(t.Context(), n); err == nil || len(r.told()) != 1 {
			t.Errorf("a new complaint is made again: %v", err)
		}
	})
}

// A private address is no identity: bare metal may have it too, where no list shows it.
func TestPrivateAddressOfBareMetal(t *testing.T) {
	vm := vultr.Instance{ID: idOne, Label: "v", InternalIP: "10.1.0.5", VPCs: []string{"vpc-v"}, MainIP: "192.0.2.1"}
	metal := vultr.Instance{ID: idTwo, Kind: vultr.KindBareMetal, Label: "m", VPCs: []string{"vpc-m"}, MainIP: "192.0.2.2"}
	tests := map[string]struct {
		metalIP string
		want    string
		events  int
	}{
		"the same":  {"10.1.0.5", "", 1},
		"another":   {"10.1.0.9", idOne, 0},
		"not known": {"", "", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &fakeCloud{
				list: []vultr.Instance{vm, metal}, vpcs: map[string][]vultr.Network{idTwo: {{VPC: "vpc-m", IP: tt.metalIP}}},
			})
			md, err := r.InstanceMetadata(t.Context(), bare("a", "", nodeIP("10.1.0.5")))
			if tt.want == "" && err == nil || tt.want != "" && (err != nil || md.ProviderID != "vultr://"+tt.want) {
				t.Errorf("got %+v, %v", md, err)
			}
			if got := r.told(); len(got) != tt.events {
				t.Errorf("events %v", got)
			}
		})
	}
}

// The addresses in further VPCs are read when the kubelet uses one of them, and remembered.
func TestNodeIPInTheSecondVPC(t *testing.T) {
	in := vultr.Instance{ID: idOne, Label: "a", InternalIP: "10.1.0.5", VPCs: []string{"one", "two"}, MainIP: "192.0.2.1"}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCloud{
			list: []vultr.Instance{in}, vpcs: map[string][]vultr.Network{idOne: {{VPC: "two", IP: "10.2.0.5"}, {VPC: "one", IP: "10.1.0.5"}}},
		})
		n := bare("a", "", nodeIP("10.2.0.5"))
		want := []string{"Internal 10.1.0.5", "Internal 10.2.0.5", "External 192.0.2.1"}
		for range 3 {
			if got, err := r.addresses(n); err != nil || !slices.Equal(got, want) {
				t.Fatalf("got %v, %v", got, err)
			}
		}
		if got, err := r.addresses(bare("b", idOne)); err != nil || !slices.Equal(got, []string{"Internal 10.1.0.5", "External 192.0.2.1"}) {
			t.Errorf("a node that does not need it: %v, %v", got, err)
		}
		if r.joined != 1 {
			t.Errorf("%d reads of networks", r.joined)
		}
		time.Sleep(time.Hour) // of the fake clock
		if _, err := r.addresses(n); err != nil || r.joined != 2 {
			t.Errorf("%d reads of networks after an hour, %v", r.joined, err)
		}
		if got := r.told(); len(got) > 0 {
			t.Errorf("events %v", got)
		}
	})
}

// The library leaves a node with an unknown --node-ip uninitialised and says so in its log alone.
func TestNodeIPOfNobody(t *testing.T) {
	in := vultr.Instance{ID: idOne, Label: "a", MainIP: "192.0.2.1"}
	r := newRig(t, &fakeCloud{list: []vultr.Instance{in}})
	for range 3 {
		if _, err := r.addresses(bare("a", "", nodeIP("10.2.0.5"))); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.told(); !slices.Equal(got, []string{"NodeIPNotFound"}) {
		t.Errorf("events %v", got)
	}
	if _, err := r.addresses(bare("a", "", nodeIP("192.0.2.1"))); err != nil || len(r.told()) > 0 {
		t.Errorf("an address that it has: %v", err)
	}
	if _, err := r.addresses(bare("a", "", nodeIP("10.2.0.5"))); err != nil || len(r.told()) != 1 {
		t.Errorf("a new complaint is made again: %v", err)
	}
}

// An answer without the address in the VPC must not turn a node's InternalIP into the public one.
func TestAnswerWithoutTheInternalAddress(t *testing.T) {
	tests := map[string]struct {
		vpcs []string // of the answer
		real []vultr.Network
		node *v1.Node
		want []string
	}{
		"in a VPC, address known":     {[]string{"one"}, []vultr.Network{{VPC: "one", IP: "10.1.0.5"}}, bare("a", idOne), []string{"Internal 10.1.0.5", "External 192.0.2.1"}},
		"in a VPC, none yet":          {[]string{"one"}, []vultr.Network{{VPC: "one"}}, bare("a", idOne), nil},
		"in a VPC, part missing":      {[]string{"one"}, nil, bare("a", idOne), nil},
		"VPC left out too":            {nil, []vultr.Network{{VPC: "one", IP: "10.1.0.5"}}, bare("a", idOne, hasIP("10.1.0.5")), []string{"Internal 10.1.0.5", "External 192.0.2.1"}},
		"VPC left out, none yet":      {nil, []vultr.Network{{VPC: "one"}}, bare("a", idOne, hasIP("10.1.0.5")), nil},
		"really taken out of the VPC": {nil, nil, bare("a", idOne, hasIP("10.1.0.5")), []string{"Internal 192.0.2.1", "External 192.0.2.1"}},
		"never in one":                {nil, nil, bare("a", idOne, hasIP("192.0.2.1")), []string{"Internal 192.0.2.1", "External 192.0.2.1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &fakeCloud{
				list: []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1", VPCs: tt.vpcs}}, vpcs: map[string][]vultr.Network{idOne: tt.real},
			})
			got, err := r.addresses(tt.node)
			if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestInstanceWithoutAnyAddress(t *testing.T) {
	r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a"}}})
	if md, err := r.InstanceMetadata(t.Context(), bare("a", idOne)); err == nil {
		t.Errorf("got %+v", md)
	}
}

// A machine that was found by its name but has none of the node's addresses has to answer to its ID: a list that lags
// shows one that was destroyed and made again.
func TestFoundByNameWithOtherAddresses(t *testing.T) {
	for name, tt := range map[string]struct {
		node  *v1.Node
		there bool
		want  bool
		looks int
	}{
		"same address":             {bare("a", "", hasIP("192.0.2.1")), false, true, 0},
		"reports none":             {bare("a", ""), false, true, 0},
		"other address, there":     {bare("a", "", hasIP("192.0.2.9")), true, true, 1},
		"other address, not there": {bare("a", "", hasIP("192.0.2.9")), false, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := &lagging{fakeCloud: &fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1"}}}, there: tt.there}
			in := instances.New(cloud, roster.New(cloud), nodesOf(), nil, record.NewFakeRecorder(10), instances.Options{})
			if _, err := in.InstanceMetadata(t.Context(), tt.node); (err == nil) != tt.want || cloud.looks != tt.looks {
				t.Errorf("%v after %d GETs", err, cloud.looks)
			}
		})
	}
}

// lagging lists what may be gone.
type lagging struct {
	*fakeCloud
	there bool
}

func (l *lagging) Instance(ctx context.Context, id string) (vultr.Instance, error) {
	if l.there {
		return l.fakeCloud.Instance(ctx, id)
	}
	l.looks++
	return vultr.Instance{}, &vultr.Error{Status: 404, Message: "Invalid instance-id."}
}

// Not being in a list proves nothing.
func TestInstanceThatIsNotListed(t *testing.T) {
	r := newRig(t, &fakeCloud{
		list: []vultr.Instance{{ID: idTwo, MainIP: "192.0.2.2"}},
		gets: map[string]vultr.Instance{idOne: {ID: idOne, MainIP: "192.0.2.1"}},
	}, bare("a", idOne), bare("b", idTwo))
	if md, err := r.InstanceMetadata(t.Context(), bare("a", idOne)); err != nil || md.ProviderID != "vultr://"+idOne {
		t.Errorf("got %+v, %v", md, err)
	}
	if shutdown, err := r.InstanceShutdown(t.Context(), bare("a", idOne)); err != nil || shutdown {
		t.Errorf("shutdown %v, %v", shutdown, err)
	}
}

// With the key of another account nothing is found, and nothing is asked for one by one.
func TestAccountThatShowsNothingIsNotAskedForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bare("a", idOne), bare("b", idTwo)
		r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: "33333333-66fd-4dfb-b839-443f2e6c0b60", Label: "a"}}}, a, b)
		for _, n := range []*v1.Node{a, b} {
			_, err := r.InstanceMetadata(t.Context(), n)
			if _, ok := errors.AsType[*witness.DoubtError](err); !ok {
				t.Errorf("got %v", err)
			}
		}
		if r.looks > 0 || len(r.told()) > 0 {
			t.Errorf("%d GETs", r.looks)
		}
	})
}

// The only node of a cluster is asked for all the same: its instance may be new.
func TestOnlyNode(t *testing.T) {
	a := bare("a", idOne)
	r := newRig(t, &fakeCloud{gets: map[string]vultr.Instance{idOne: {ID: idOne, MainIP: "192.0.2.1"}}}, a)
	if _, err := r.InstanceMetadata(t.Context(), a); err != nil {
		t.Error(err)
	}
}

// A node that reports while its provider ID names nothing is told, once, and not asked for at every turn.
func TestStaleProviderIDIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bare("a", idOne), bare("b", idTwo)
		r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idTwo, MainIP: "192.0.2.2"}, {ID: "33333333-66fd-4dfb-b839-443f2e6c0b60", Label: "a"}}}, a, b)
		for range 60 {
			if _, err := r.InstanceMetadata(t.Context(), a); !vultr.IsNotFound(err) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(time.Second / 2) // fake time: how often the library asks
		}
		if got := r.told(); !slices.Equal(got, []string{match.StaleProviderID}) {
			t.Errorf("events %v", got)
		}
		if r.looks > 6 {
			t.Errorf("%d GETs in half a minute", r.looks)
		}
	})
}

// While the API refuses the key, fifty nodes cost one call in five seconds.
func TestRefusedKeyCostsOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCloud{fails: &vultr.Error{Op: "list instances", Status: 401}})
		for i := range 50 {
			if _, err := r.InstanceMetadata(t.Context(), bare(strconv.Itoa(i), idOne)); !vultr.IsKeyRefused(err) {
				t.Fatalf("got %v", err)
			}
			if _, err := r.InstanceMetadata(t.Context(), bare("new"+strconv.Itoa(i), "")); !vultr.IsKeyRefused(err) {
				t.Fatalf("got %v", err)
			}
		}
		if r.lists != 1 || r.looks > 0 {
			t.Errorf("%d lists, %d GETs", r.lists, r.looks)
		}
		r.fails, r.list = nil, []vultr.Instance{{ID: idOne, Label: "new0", MainIP: "192.0.2.1"}}
		time.Sleep(roster.FailureAge) // of the fake clock
		if _, err := r.InstanceMetadata(t.Context(), bare("new0", "")); err != nil {
			t.Errorf("after the key was put right: %v", err)
		}
	})
}

// Nodes that have not been ready for long share a list every half a minute; one that has just failed is looked at soon.
func TestShutdownSharesLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idOne, PowerStatus: "running"}, {ID: idTwo, PowerStatus: "stopped"}}})
		since := func(at time.Time) func(*v1.Node) {
			return func(n *v1.Node) {
				n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionUnknown, LastTransitionTime: metav1.NewTime(at)}}
			}
		}
		old := time.Now().Add(-time.Hour)
		for range 120 { // ten minutes of the library's rounds
			for id, want := range map[string]bool{idOne: false, idTwo: true} {
				if shutdown, err := r.InstanceShutdown(t.Context(), bare("n", id, since(old))); err != nil || shutdown != want {
					t.Fatalf("shutdown %v, %v", shutdown, err)
				}
			}
			time.Sleep(5 * time.Second) // of the fake clock
		}
		if r.lists > 21 {
			t.Errorf("%d lists", r.lists)
		}
		r.list = []vultr.Instance{{ID: idOne, PowerStatus: "stopped"}}
		fresh := bare("n", idOne, since(time.Now()))
		time.Sleep(6 * time.Second) // of the fake clock
		if shutdown, err := r.InstanceShutdown(t.Context(), fresh); err != nil || !shutdown {
			t.Errorf("shutdown %v, %v", shutdown, err)
		}
	})
}
