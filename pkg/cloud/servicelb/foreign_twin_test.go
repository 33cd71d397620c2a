package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What has the label of a Service, was made at the same time and serves machines that run and are no nodes here comes of no request of
// this cluster: it is not deleted as one that was made twice. docs/load-balancers.md: "What has the Service's label but [...] serves other
// machines, is reported".
func TestTwinServesOthersMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		machine := w.cloud.AddInstance(simulator.NewServer{Label: "of another cluster"})
		s := w.service("web")
		w.eventually("it is made", func() bool { return w.entry(s).ID != "" })
		label := cloudprovider.DefaultLoadBalancerName(s)
		theirs, err := w.api.CreateLoadBalancer(t.Context(), "ewr", vultr.LoadBalancerSettings{Label: &label, Instances: &[]string{machine}})
		if err != nil {
			t.Fatal(err)
		}
		w.ignored[theirs.ID] = true
		w.settled(s)
		w.later(30 * time.Minute)
		if _, err := w.truthOf(theirs.ID); err != nil {
			t.Errorf("the load balancer in front of another cluster's machine: %v; events %q", err, w.events())
		}
	})
}

// A cluster and one that was restored from its backup have one Service, with one UID. In both it comes to want a load balancer at the
// same moment, as by one repository that both follow, and reads lag. Neither deletes the other one's.
func TestTwoClustersMakeOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, lateLists)
		s := w.service("web")
		clone := w.restored(s)
		clone.blind = true
		w.start()
		clone.start()
		w.eventually("both have made one", func() bool { return w.entry(s).ID != "" && clone.entry(s).ID != "" })
		own, other := w.entry(s).ID, clone.entry(s).ID
		if own == other {
			t.Fatal("they have one load balancer")
		}
		w.later(20 * time.Minute)
		if n := w.cloud.Count("delete_load_balancer"); n != 0 {
			t.Errorf("%d deletions; there are %+v; the one had made %s, the other %s; events %q and %q", n, w.all(), own, other, w.events(), clone.events())
		}
	})
}
