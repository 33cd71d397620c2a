package lb

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/steps"
)

// The flags are those of test/soak, so that both run by one command.
var (
	seedFlag   = flag.Uint64("soak.seed", 0, "run this plan alone; 0 runs plans from 1 on")
	keepFlag   = flag.String("soak.keep", "", "with -soak.seed: take only these steps of the plan, such as 0-3,7")
	stepsFlag  = flag.Int("soak.steps", 10000, "how many steps to take in all")
	forFlag    = flag.Duration("soak.for", 0, "take steps for so long instead, of plans that nobody has run")
	shrinkFlag = flag.Duration("soak.shrink", time.Minute, "how long to look for a shorter plan that fails")
)

// perPlan is how many steps a plan has, and restEvery after how many of them all has to be well.
const (
	perPlan   = 100
	restEvery = 50
)

// violation is a rule that did not hold; the zero value is none.
type violation struct {
	rule, text string
	log        []string
}

// TestSoak: Services, nodes, Secrets and ConfigMaps change at random while much goes wrong.
func TestSoak(t *testing.T) {
	t.Parallel()
	began, first, most := time.Now(), uint64(1), *stepsFlag
	if *forFlag > 0 {
		first = uint64(began.UnixNano()) / 1000 * 1000
	}
	if *seedFlag != 0 {
		one(t, *seedFlag)
		return
	}
	if testing.Short() {
		most /= 10
	}
	t.Logf("plans with the seeds from %d on", first)
	total, all := 0, map[string]int{}
	for seed := first; ; seed++ {
		if *forFlag > 0 && time.Since(began) > *forFlag || *forFlag == 0 && total >= most {
			break
		}
		for name, n := range one(t, seed) {
			all[name] += n
		}
		total += perPlan
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		texts = append(texts, fmt.Sprintf("%s %d", name, all[name]))
	}
	t.Logf("%d steps: %s", total, strings.Join(texts, ", "))
}

// one runs the plan of a seed, and a shorter one that fails as well when it does.
func one(t *testing.T, seed uint64) map[string]int {
	t.Helper()
	c := courseOf(seed, perPlan)
	var kept []int
	for i := range c {
		kept = append(kept, i)
	}
	if *keepFlag != "" {
		var err error
		if kept, err = steps.Parse(*keepFlag); err != nil {
			t.Fatal(err)
		}
	}
	broken, count := run(t, c.keep(kept), nil)
	if broken.rule == "" {
		return count
	}
	began := time.Now()
	kept = steps.Shrink(kept, func(rest []int) bool {
		for range 2 { // what runs side by side is not scheduled the same way twice
			if again, _ := run(t, c.keep(rest), nil); again.rule == broken.rule {
				broken = again
				return true
			}
		}
		return false
	}, func() bool { return time.Since(began) > *shrinkFlag })
	t.Fatalf("seed %d: %s: %s\n%s\nagain: go test -race ./test/lb -run '^TestSoak$' -soak.seed=%d -soak.keep=%s", seed, broken.rule, broken.text,
		strings.Join(broken.log, "\n"), seed, steps.Format(kept))
	return nil
}

// run carries out a plan and returns the rule that did not hold, and how many steps there were of each kind. Something is
// done behind its back after each step until that is done.
func run(t *testing.T, c course, harm func(l *life) (done bool)) (broken violation, count map[string]int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLife(newWorld(t))
		rule, text := l.carryOut(c, harm)
		if rule != "" {
			broken = violation{rule: rule, text: text, log: l.lastMoments()}
		}
		count = l.count
	})
	return broken, count
}

// carryOut takes all steps, and judges in between and in the end.
func (l *life) carryOut(c course, harm func(l *life) (done bool)) (rule, text string) {
	for i, s := range c {
		l.take(s)
		if harm != nil && harm(l) {
			harm = nil
		}
		if rule, text := l.check(); rule != "" {
			return rule, text
		}
		if (i+1)%restEvery != 0 {
			continue
		}
		if rule, text := l.rest(); rule != "" {
			return rule, text
		}
	}
	if rule, text := l.rest(); rule != "" {
		return rule, text
	}
	if left := l.empty(); len(left) > 0 {
		return "left behind", fmt.Sprintf("%q", left)
	}
	return "", ""
}

// calm ends what goes wrong with the API.
func (l *life) calm() {
	l.Helper()
	l.cloud.Sim.ClearFaults()
	if err := l.cloud.Sim.SetReadLags(simulator.NoReadLag()); err != nil {
		l.Fatal(err)
	}
}

// served returns a Service whose load balancer is written down and exists, nil if there is none.
func (l *life) served() *v1.Service {
	l.Helper()
	there := map[string]bool{}
	for _, lb := range l.cloud.Sim.View().LoadBalancers {
		there[lb.ID] = true
	}
	entries := l.entries()
	for _, s := range l.living() {
		if there[entries[s.UID].ID] {
			return s
		}
	}
	return nil
}

// forge makes a load balancer that no process has asked for.
func (l *life) forge(label string) {
	l.Helper()
	l.calm()
	rules := []vultr.ForwardingRule{{FrontendProtocol: "tcp", FrontendPort: 8080, BackendProtocol: "tcp", BackendPort: 31999}}
	if _, err := l.api.CreateLoadBalancer(l.Context(), region, vultr.LoadBalancerSettings{Label: &label, Rules: &rules}); err != nil {
		l.Fatal(err)
	}
}

// TestSoakSees: what a broken controller would do is done behind its back, and is found.
func TestSoakSees(t *testing.T) {
	t.Parallel()
	for rule, harm := range map[string]func(l *life) bool{
		"two of one Service": func(l *life) bool {
			s := l.served()
			if s == nil || l.twins {
				return false
			}
			l.forge(cloudprovider.DefaultLoadBalancerName(s))
			return true
		},
		"unrecorded": func(l *life) bool {
			s := l.served()
			if s == nil {
				return false
			}
			if err := l.user.CoreV1().ConfigMaps(ledger.Namespace).Delete(l.Context(), ledger.Name(s.UID), metav1.DeleteOptions{}); err != nil {
				l.Error(err)
			}
			return true
		},
		"unrecorded, as it is nobody's": func(l *life) bool {
			l.forge("nobody's")
			return true
		},
		"somebody else's": func(l *life) bool {
			l.calm()
			for id := range l.foreign {
				req, err := http.NewRequestWithContext(l.Context(), http.MethodPatch, l.cloud.URL+"/v2/load-balancers/"+id, strings.NewReader(`{"label":"mine"}`))
				if err != nil {
					l.Fatal(err)
				}
				_, err = l.lead.RoundTrip(req)
				return !errors.Is(err, errKilled)
			}
			return false
		},
		"not well": func(l *life) bool {
			l.calm()
			for id := range l.foreign {
				l.operate(http.MethodPatch, "/v2/load-balancers/"+id, `{"label":"changed"}`)
			}
			return true
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); ; seed++ {
				done := false
				broken, _ := run(t, courseOf(seed, 40), func(l *life) bool {
					done = done || harm(l)
					return done
				})
				if done && !strings.HasPrefix(rule, broken.rule+",") && broken.rule != rule {
					t.Errorf("seed %d: found is %q: %s", seed, broken.rule, broken.text)
				}
				if done || seed == 20 {
					if !done {
						t.Error("no plan has anything to harm")
					}
					return
				}
			}
		})
	}
}
