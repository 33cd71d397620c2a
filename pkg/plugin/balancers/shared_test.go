package balancers_test

import (
	"slices"
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
