package balancers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Services that share a load balancer are shown with it, each as served as long as it is what all of them ask for.
func TestShared(t *testing.T) {
	in := world(annotate(settings.Label, "www"))
	guest := in.Services[0].DeepCopy()
	guest.Name, guest.UID, guest.CreationTimestamp = "guest", other, metav1.NewTime(time.Unix(1, 0))
	guest.Spec.Ports = []v1.ServicePort{{Port: 8080, NodePort: 32080}}
	in.Services = append(in.Services, guest)
	in.Entries[uid] = ledger.Entry{ID: lbID, Guests: ledger.MembersOf(other), Group: "www"}
	in.LoadBalancers[0].Label = "www"
	states := func() (states []balancers.State) {
		for _, b := range balancers.Show(in) {
			if b.ID != lbID || b.Proof != "ledger" || len(b.SharedWith) != 1 {
				t.Errorf("%+v", b)
			}
			states = append(states, b.State)
		}
		return states
	}
	if got := states(); !slices.Equal(got, []balancers.State{balancers.Differs, balancers.Differs}) {
		t.Errorf("without the guest's port: %v", got)
	}
	in.LoadBalancers[0].Rules = append(in.LoadBalancers[0].Rules, vultr.ForwardingRule{FrontendProtocol: "tcp", FrontendPort: 8080, BackendProtocol: "tcp", BackendPort: 32080})
	if got := states(); !slices.Equal(got, []balancers.State{balancers.Serving, balancers.Serving}) {
		t.Errorf("with it: %v", got)
	}
}

// What those who share a load balancer ask of it together is what it is compared with, and what one of them does not get is said of
// that one.
func TestSharedSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(in *balancers.Input, host, guest *v1.Service)
		states []balancers.State // of the guest and of the host, by their names
		says   string            // of the guest
	}{
		"as asked for": {func(*balancers.Input, *v1.Service, *v1.Service) {}, []balancers.State{balancers.Serving, balancers.Serving}, ""},
		"a node that both choose": {func(in *balancers.Input, host, guest *v1.Service) {
			in.Nodes[0].Labels["pool"], in.Nodes[1].Labels["pool"], in.Nodes[1].Labels["disk"] = "web", "web", "ssd"
			host.Annotations[string(settings.NodeSelector)], guest.Annotations[string(settings.NodeSelector)] = "pool=web", "disk=ssd"
			in.LoadBalancers[0].Instances = []string{second}
		}, []balancers.State{balancers.Serving, balancers.Serving}, ""},
		"a node that one chooses": {func(in *balancers.Input, _, guest *v1.Service) {
			in.Nodes[1].Labels["disk"], guest.Annotations[string(settings.NodeSelector)] = "ssd", "disk=ssd"
		}, []balancers.State{balancers.Differs, balancers.Differs}, ""},
		"nodes with pods of one": {func(in *balancers.Input, _, guest *v1.Service) {
			guest.Spec.ExternalTrafficPolicy, guest.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
			in.LoadBalancers[0].Instances = []string{first}
		}, []balancers.State{balancers.Serving, balancers.Serving}, ""},
		"a port of the other one": {func(_ *balancers.Input, _, guest *v1.Service) {
			guest.Spec.Ports = append(guest.Spec.Ports, v1.ServicePort{Port: 80, NodePort: 32081})
		}, []balancers.State{balancers.Faulty, balancers.Serving}, "80/TCP (Service shop/web has it)"},
		"another network": {func(_ *balancers.Input, _, guest *v1.Service) {
			guest.Annotations[string(settings.VPC)] = "true"
		}, []balancers.State{balancers.Serving, balancers.Serving}, "once for all that share it: vpc"},
		"rules of a ConfigMap that nobody may read": {func(_ *balancers.Input, _, guest *v1.Service) {
			guest.Annotations[string(settings.FirewallRulesCM)] = "office"
		}, []balancers.State{balancers.Serving, balancers.Serving}, ""},
		"one has given it up": {func(_ *balancers.Input, _, guest *v1.Service) {
			guest.Annotations[string(settings.Disown)] = "true"
		}, []balancers.State{balancers.Unmanaged, balancers.Serving}, ""},
		"one leaves": {func(_ *balancers.Input, _, guest *v1.Service) {
			guest.DeletionTimestamp = &metav1.Time{Time: time.Unix(2, 0)}
		}, []balancers.State{balancers.Differs, balancers.Differs}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := world(annotate(settings.Label, "www"))
			host, guest := in.Services[0], in.Services[0].DeepCopy()
			guest.Name, guest.UID, guest.CreationTimestamp = "guest", other, metav1.NewTime(time.Unix(1, 0))
			guest.Spec.Ports = []v1.ServicePort{{Port: 8080, NodePort: 32080}}
			in.Services = append(in.Services, guest)
			in.Entries[uid] = ledger.Entry{ID: lbID, Guests: ledger.MembersOf(other), Group: "www"}
			in.LoadBalancers[0].Label = "www"
			in.LoadBalancers[0].Rules = append(in.LoadBalancers[0].Rules, vultr.ForwardingRule{FrontendProtocol: "tcp", FrontendPort: 8080, BackendProtocol: "tcp", BackendPort: 32080})
			tt.change(&in, host, guest)
			shown := balancers.Show(in)
			if len(shown) != 2 || shown[0].Service != "shop/guest" {
				t.Fatalf("got %+v", shown)
			}
			if got := []balancers.State{shown[0].State, shown[1].State}; !slices.Equal(got, tt.states) {
				t.Errorf("states %v, want %v; %v, %v", got, tt.states, shown[0].Differs, shown[1].Differs)
			}
			said := strings.Join(slices.Concat(shown[0].Faults, shown[0].Warnings), "\n")
			if !strings.Contains(said, tt.says) || tt.says == "" && len(shown[0].Faults) > 0 {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
			if rest := slices.Concat(shown[1].Faults, shown[1].Warnings); len(rest) > 0 {
				t.Errorf("of the other one it says %q", rest)
			}
		})
	}
}
