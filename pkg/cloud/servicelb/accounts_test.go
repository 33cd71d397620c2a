package servicelb_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// accounts is a key file whose key is replaced by one of another account, in front of a client that keeps lists for a while.
type accounts struct {
	servicelb.API
	before servicelb.API
	until  time.Time
}

func (a *accounts) Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	if time.Now().Add(-maxAge).Before(a.until) {
		return a.before.Instances(ctx, 24*time.Hour)
	}
	return a.API.Instances(ctx, maxAge)
}

// A list of instances from before the key was replaced is no witness for the account of the new one.
func TestKeyIsReplacedByOneOfAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.later(time.Minute)
		other := newWorldOf(t, "another account")
		if _, err := w.api.Instances(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		w.startWith(&accounts{API: other.api, before: w.api, until: time.Now()})
		w.later(20 * time.Second)
		w.service("web")
		w.later(time.Minute)
		if n := other.posts(); n != 0 {
			t.Errorf("%d made in the other account", n)
		}
	})
}

// A Service of which nothing is written down is not released on the word of another account.
func TestKeyOfAnotherAccountWithoutEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		s := w.service("web", old, func(s *v1.Service) { s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer} })
		lb := w.existing(cloudprovider.DefaultLoadBalancerName(s), behind(w.ids...))
		delete(w.ignored, lb.ID)
		w.startWith(newWorldOf(t, "another account").api)
		w.later(time.Minute)
		w.deleting(s)
		w.later(time.Hour)
		if !servicehelper.HasLBFinalizer(w.fresh(s)) {
			t.Fatal("the finalizer is gone, the load balancer is not")
		}
		w.start()
		w.eventually("the load balancer goes", func() bool { return len(w.all()) == 0 && !servicehelper.HasLBFinalizer(w.fresh(s)) })
	})
}

// The official controller was back for a while and made a load balancer in its last moments.
func TestBackFromTheOfficialController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"all": 100 * time.Second}))
		w.settled(w.service("first"))
		w.later(time.Hour)
		w.stop()
		now := func(s *v1.Service) { s.CreationTimestamp = metav1.Now() }
		s := w.service("web", now, func(s *v1.Service) { s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer} })
		name := cloudprovider.DefaultLoadBalancerName(s)
		w.later(time.Second)
		if _, err := w.api.CreateLoadBalancer(t.Context(), "ewr", vultr.LoadBalancerSettings{
			Label: &name, Instances: &w.ids,
			Rules: &[]vultr.ForwardingRule{{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 30080}},
		}); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.settled(s)
		if n := w.posts(); n != 2 {
			t.Errorf("%d requests to make one for two Services, %d load balancers", n, len(w.all()))
		}
	})
}
