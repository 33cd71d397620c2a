package lb

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var (
	keyFileFlag = flag.String("account.key-file", "", "file with the API key of a real account, which TestAccount is to use instead of the simulator; it costs money")
	regionFlag  = flag.String("account.region", region, "where in the real account")
	costFlag    = flag.Float64("account.max-cost", 1, "how many dollars TestAccount may cost at most, or it does not begin")
	cleanFlag   = flag.Bool("account.clean", false, "only delete what earlier runs of TestAccount left in the real account")
)

// simulated returns a simulated account.
func simulated(t *testing.T) (*simtest.Cloud, *account) {
	t.Helper()
	cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{ReadLags: simulator.NoReadLag()}})
	return cloud, newAccount(t, cloud.Direct(nil), cloud.URL, cloud.Key, region)
}

// TestAccount makes, changes, shares and deletes load balancers in front of a machine, each time with a look at what the platform
// has made of it: in the simulated cloud, or in a real account, for which it says how long all takes there.
func TestAccount(t *testing.T) {
	if *keyFileFlag == "" {
		synctest.Test(t, func(t *testing.T) {
			cloud, a := simulated(t)
			if err := a.run(t.Context(), *costFlag); err != nil {
				t.Error(err)
			}
			if view := cloud.Sim.View(); len(view.LoadBalancers)+len(view.Instances) > 0 {
				t.Errorf("left behind: %+v, %+v", view.LoadBalancers, view.Instances)
			}
		})
		return
	}
	key, err := os.ReadFile(*keyFileFlag)
	if err != nil {
		t.Fatal(err)
	}
	a := newAccount(t, http.DefaultTransport, "https://api.vultr.com", strings.TrimSpace(string(key)), *regionFlag)
	a.live = true
	if *cleanFlag {
		err = a.clean(t.Context())
	} else {
		err = a.run(t.Context(), *costFlag)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// others puts a machine and a load balancer into an account that are nobody's business, and what an earlier run left.
func others(t *testing.T, cloud *simtest.Cloud, a *account) (keeps []string) {
	t.Helper()
	machine := cloud.AddInstance(simulator.NewServer{Label: accountMark, Tags: []string{"theirs"}})
	cloud.AddInstance(simulator.NewServer{Label: "left", Tags: []string{accountMark}})
	keeps = append(keeps, machine)
	for label, stays := range map[string]bool{
		"theirs": true, "a0123456789abcdef0123456789abcdef": true, accountMark: false, ("a" + strings.ReplaceAll(string(a.uid(7)), "-", ""))[:32]: false,
	} {
		lb, err := a.api.CreateLoadBalancer(t.Context(), region, vultr.LoadBalancerSettings{Label: &label, Rules: &[]vultr.ForwardingRule{
			{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 31080},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if stays {
			keeps = append(keeps, lb.ID)
		}
	}
	slices.Sort(keeps)
	return keeps
}

// all returns the IDs of what is in an account.
func all(cloud *simtest.Cloud) []string {
	var ids []string
	view := cloud.Sim.View()
	for _, lb := range view.LoadBalancers {
		ids = append(ids, lb.ID)
	}
	for _, machine := range view.Instances {
		ids = append(ids, machine.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestAccountIsLeftAsItWas(t *testing.T) {
	for name, tc := range map[string]struct {
		fault *simulator.Fault
		run   func(*account, context.Context) error
		want  string // of the error
	}{
		"it works": {run: func(a *account, ctx context.Context) error { return a.run(ctx, 1) }},
		"it fails": {
			fault: &simulator.Fault{Operation: "update_load_balancer", Action: simulator.FaultStatus, Status: 500},
			run:   func(a *account, ctx context.Context) error { return a.run(ctx, 1) },
			want:  "not within",
		},
		"no machine comes": {
			fault: &simulator.Fault{Operation: "create_instance", Action: simulator.FaultStatusAfter, Status: 504},
			run:   func(a *account, ctx context.Context) error { return a.run(ctx, 1) },
			want:  "504",
		},
		"it is only to be cleaned": {run: (*account).clean},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, a := simulated(t)
				keeps := others(t, cloud, a)
				if tc.fault != nil {
					cloud.Fault(*tc.fault)
				}
				err := tc.run(a, t.Context())
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("the end is %v, want %q", err, tc.want)
				}
				time.Sleep(5 * time.Minute) // of fake time, in which what was deleted goes
				if left := all(cloud); !slices.Equal(left, keeps) {
					t.Errorf("the account has %q, want %q", left, keeps)
				}
			})
		})
	}
}

func TestAccountRefusesToBeExpensive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, a := simulated(t)
		err := a.run(t.Context(), 0.001)
		if dear := (*dearError)(nil); !errors.As(err, &dear) {
			t.Errorf("run() = %v with a tenth of a cent to spend", err)
		}
		for _, operation := range []string{"create_instance", "create_load_balancer"} {
			if n := cloud.Count(operation); n > 0 {
				t.Errorf("%s was called %d times", operation, n)
			}
		}
	})
}
