package instances_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/cloud-provider/node/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A node whose kubelet does not wait for this controller never gets a provider ID. What is told of it is not what was listed
// when it was new.
func TestNodeThatStaysWithoutID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.1"}}})
		n := bare("a", "")
		for range 3 { // as when it is initialised
			if got, err := r.addresses(n); err != nil || !slices.Equal(got, []string{"Internal 192.0.2.1", "External 192.0.2.1"}) {
				t.Fatalf("got %v, %v", got, err)
			}
			time.Sleep(time.Second) // of the fake clock
		}
		if r.lists != 1 {
			t.Errorf("%d lists", r.lists)
		}
		time.Sleep(time.Hour) // of the fake clock
		r.list = []vultr.Instance{{ID: idOne, Label: "a", MainIP: "192.0.2.9", PowerStatus: "stopped"}}
		if got, err := r.addresses(n); err != nil || !slices.Equal(got, []string{"Internal 192.0.2.9", "External 192.0.2.9"}) {
			t.Errorf("got %v, %v", got, err)
		}
		if stopped, err := r.InstanceShutdown(t.Context(), n); err != nil || !stopped {
			t.Errorf("stopped %v, %v", stopped, err)
		}
		time.Sleep(time.Hour) // of the fake clock
		r.list = nil
		if exists, err := r.InstanceExists(t.Context(), n); err == nil {
			t.Errorf("exists %v though nothing has its name", exists)
		}
	})
}

// What the library does not take as --node-ip is told as well: somebody else may have written it.
func TestNodeIPThatCannotBeRead(t *testing.T) {
	in := vultr.Instance{ID: idOne, Label: "a", InternalIP: "10.1.0.5", VPCs: []string{vpcOne}, MainIP: "192.0.2.1", MainIPv6: "2001:db8::1"}
	for text, want := range map[string]int{
		"10.1.0.5": 0, "10.1.0.5,2001:db8::1": 0,
		"": 1, "0.0.0.0": 1, "::": 1, "nonsense": 1, "10.1.0.5, 2001:db8::1": 1, "10.1.0.5,192.0.2.1": 1,
	} {
		r, n := newRig(t, &fakeCloud{list: []vultr.Instance{in}}), bare("a", idOne, nodeIP(text))
		for range 3 {
			md, err := r.InstanceMetadata(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := helpers.GetNodeAddressesFromNodeIP(text, md.NodeAddresses); (err != nil) != (want > 0) {
				t.Fatalf("%q: the library says %v", text, err)
			}
		}
		if got := r.told(); len(got) != want || want > 0 && got[0] != "NodeIPNotFound" {
			t.Errorf("%q: events %v", text, got)
		}
	}
}

// A --node-ip that the instance has is not told as one that it lacks, if it is of a family that nodes are not to have.
func TestNodeIPOfAnotherFamily(t *testing.T) {
	in := vultr.Instance{ID: idOne, Label: "a", InternalIP: "10.1.0.5", VPCs: []string{vpcOne, vpcTwo}, MainIP: "192.0.2.1", MainIPv6: "2001:db8::1"}
	cloud := &fakeCloud{list: []vultr.Instance{in}, vpcs: map[string][]vultr.Network{idOne: {{VPC: vpcOne, IP: "10.1.0.5"}, {VPC: vpcTwo, IP: "10.2.0.5"}}}}
	for address, want := range map[string]string{
		"2001:db8::1": "", "10.1.0.5": "leaves out", "10.2.0.5": "leaves out", "192.0.2.1": "leaves out", "10.9.0.5": "is not an address of instance",
	} {
		r := newRigWith(t, cloud, instances.Options{Choice: addresses.Choice{Families: []v1.IPFamily{v1.IPv6Protocol}}})
		if got, err := r.addresses(bare("a", idOne, nodeIP(address))); err != nil || !slices.Equal(got, []string{"Internal 2001:db8::1", "External 2001:db8::1"}) {
			t.Fatalf("%s: %v, %v", address, got, err)
		}
		var events []string
		for len(r.events.Events) > 0 {
			events = append(events, <-r.events.Events)
		}
		if all := strings.Join(events, "; "); (want == "") != (all == "") || !strings.Contains(all, want) || len(events) > 1 {
			t.Errorf("%s: events %q", address, events)
		}
	}
}

// A machine that was made again under its name, with its own provider ID, may be missing from all reads while its predecessor is still
// listed. That is not told as a provider ID which names nothing.
func TestYoungNodeIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bare("a", idOne, func(n *v1.Node) { n.CreationTimestamp = metav1.Now() }), bare("b", idTwo)
		r := newRig(t, &fakeCloud{list: []vultr.Instance{{ID: idTwo, MainIP: "192.0.2.2"}, {ID: "33333333-66fd-4dfb-b839-443f2e6c0b60", Label: "a"}}}, a, b)
		ask := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) { // of the fake clock
				if _, err := r.InstanceMetadata(t.Context(), a); !vultr.IsNotFound(err) {
					t.Fatalf("got %v", err)
				}
			}
		}
		ask(85 * time.Second)
		if got := r.told(); len(got) > 0 {
			t.Errorf("events %v", got)
		}
		ask(40 * time.Second)
		if got := r.told(); !slices.Equal(got, []string{match.StaleProviderID}) {
			t.Errorf("events %v when it is old enough", got)
		}
	})
}

// failing lists instances and answers nothing else.
type failing struct{ *fakeCloud }

var errBroken = &vultr.Error{Op: "read instance", Status: 500, Message: "Something broke."}

func (failing) Instance(context.Context, string) (vultr.Instance, error) {
	return vultr.Instance{}, errBroken
}

func (failing) Networks(context.Context, vultr.Instance) ([]vultr.Network, error) {
	return nil, errBroken
}

// An API that fails while a node is looked for is told as what it is, and not at once: its instance is not missing.
func TestFailuresAreNoMismatch(t *testing.T) {
	for name, tt := range map[string]struct {
		listed vultr.Instance
		node   *v1.Node
	}{
		"asked for by its ID":         {vultr.Instance{ID: idOne, Label: "a", MainIP: "192.0.2.1"}, bare("a", "", uninitialised, hasIP("192.0.2.9"))},
		"asked for its networks":      {vultr.Instance{ID: idOne, Label: "a", MainIP: "192.0.2.1", VPCs: []string{vpcOne}}, bare("a", "", uninitialised)},
		"another asked, by addresses": {vultr.Instance{ID: idOne, Label: "b", MainIP: "192.0.2.1", VPCs: []string{vpcOne}}, bare("a", "", uninitialised, nodeIP("10.1.0.5"))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, events := failing{&fakeCloud{list: []vultr.Instance{tt.listed}}}, record.NewFakeRecorder(1000)
				in := instances.New(cloud, roster.New(cloud), nodesOf(), nil, events, instances.Options{})
				began := time.Now()
				for time.Since(began) < 5*time.Minute {
					if _, err := in.InstanceMetadata(t.Context(), tt.node); err == nil {
						t.Fatal("it was found")
					}
					if time.Since(began) < 25*time.Second && len(events.Events) > 0 {
						t.Fatalf("told too soon: %s", <-events.Events)
					}
					time.Sleep(time.Second) // of the fake clock
				}
				if n := len(events.Events); n != 1 {
					t.Fatalf("%d events", n)
				}
				if event := <-events.Events; !strings.HasPrefix(event, "Warning NodeNotInitialised ") || !strings.Contains(event, "Something broke.") {
					t.Errorf("event %q", event)
				}
			})
		})
	}
}
