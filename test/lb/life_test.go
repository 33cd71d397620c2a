package lb

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	mostServices = 6
	mostNodes    = 5
	fewestNodes  = 2
	// operatorPatience bounds what the operator of the cloud tries while things go wrong.
	operatorPatience = 10 * time.Second
)

// life is a world in which a course takes place.
type life struct {
	*world
	count map[string]int

	labels map[string]types.UID // of what is made for each Service that there was
	ghosts []string             // Nodes whose instances are destroyed
	// badSecret and badRules are set while what Services name cannot be used.
	badSecret, badRules bool
	// twins is set when a request may have been delivered twice, wiped when a load balancer was deleted on the platform, since all
	// was well the last time.
	twins, wiped bool
}

func newLife(w *world) *life {
	l := &life{world: w, count: map[string]int{}, labels: map[string]types.UID{}}
	w.putCertificate(100 * 24 * time.Hour)
	w.putRules(officeRules[0])
	w.start()
	return l
}

// officeRules are what the ConfigMap has.
var officeRules = []string{"192.0.2.0/24,80\n192.0.2.0/24,81", "192.0.2.0/24,80\n198.51.100.0/24,8080", "203.0.113.0/24,82\n203.0.113.0/24,443"}

// sharedLabels are those that Services take beside labels of their own: who has the same one shares a load balancer, unless it has one
// already.
var sharedLabels = []string{"www", "api"}

// take takes a step.
func (l *life) take(s step) {
	l.tell("%s", s)
	l.count[s.do.String()]++
	l.tend()
	switch s.do {
	case create, edit, remove, retype:
		l.change(s)
	case node, flap, drain, destroy:
		l.changeNodes(s)
	case renew, rules:
		l.changeObjects(s)
	case drift, wipe:
		l.operatorChanges(s)
	case fault:
		l.addFault(s)
	case lag:
		lags := simulator.ReadLags{
			"load_balancers.list": time.Duration(s.a%31) * time.Second, "load_balancers.get": time.Duration(s.b%31) * time.Second,
		}
		if err := l.cloud.Sim.SetReadLags(lags); err != nil {
			l.Fatal(err)
		}
	case kill:
		l.killed = true
		l.lead.dead.Store(true)
		l.alone()
		l.restart = time.Now().Add(time.Duration(s.a%45) * time.Second)
	case overlap:
		if !l.lead.dead.Load() {
			l.killed = true // the one of before ends like that
			l.start()
		}
	case pass:
		l.pass(time.Duration(s.a%300) * time.Second)
	}
	l.pass(s.pause)
}

// alone ends all processes but the one that leads.
func (l *life) alone() {
	for _, p := range l.processes {
		if p != l.lead {
			p.dead.Store(true)
			p.stop()
		}
	}
	l.processes = []*process{l.lead}
}

// living returns the Services that are not deleted.
func (l *life) living() []*v1.Service {
	return slices.DeleteFunc(l.services(), func(s *v1.Service) bool { return s.DeletionTimestamp != nil })
}

// change changes Services.
func (l *life) change(s step) {
	all := l.living()
	if s.do == create || len(all) == 0 {
		l.create(s)
		return
	}
	name := all[s.a%len(all)].Name
	switch s.do {
	case remove:
		l.remove(name)
	case retype:
		l.edit(name, func(s *v1.Service) {
			if s.Spec.Type == v1.ServiceTypeLoadBalancer {
				s.Spec.Type = v1.ServiceTypeClusterIP
			} else {
				s.Spec.Type = v1.ServiceTypeLoadBalancer
			}
		})
	default:
		l.edit(name, l.wish(name, s.b, s.c))
	}
}

// create adds a Service under the first name that is free, if there is one.
func (l *life) create(s step) {
	taken := map[string]bool{}
	for _, service := range l.services() {
		taken[service.Name] = true
	}
	for i := range mostServices {
		name := fmt.Sprintf("s%d", i)
		if taken[name] {
			continue
		}
		wishes := []func(*v1.Service){l.on(int32(80 + i))} // each has one that no other one asks for
		if s.a%2 == 0 {
			wishes = append(wishes, with(settings.Label, sharedLabels[s.a/2%len(sharedLabels)]))
		}
		for range s.b % 3 {
			s.c++
			wishes = append(wishes, l.wish(name, s.c, s.a))
		}
		made := l.service(name, wishes...)
		l.labels[cloudprovider.DefaultLoadBalancerName(made)] = made.UID
		return
	}
}

// wish is one thing that somebody may want of a load balancer, or not any more.
func (l *life) wish(name string, which, value int) func(*v1.Service) {
	listens, terminates := l.listens(8080), l.terminates()
	has := func(s *v1.Service, key settings.Key) bool { return s.Annotations[string(key)] != "" }
	toggle := func(key settings.Key, text string) func(*v1.Service) {
		return func(s *v1.Service) {
			if has(s, key) {
				without(key)(s)
			} else {
				with(key, text)(s)
			}
		}
	}
	switch which % 9 {
	case 0:
		return with(settings.Timeout, fmt.Sprint(30+value%500))
	case 1:
		return func(s *v1.Service) {
			rest := slices.DeleteFunc(slices.Clone(s.Spec.Ports), func(p v1.ServicePort) bool { return p.Port == 8080 })
			if len(rest) < len(s.Spec.Ports) {
				s.Spec.Ports = rest
			} else {
				listens(s)
			}
		}
	case 2:
		return func(s *v1.Service) {
			if len(s.Spec.LoadBalancerSourceRanges) > 0 {
				admits()(s)
			} else {
				admits("10.0.0.0/8")(s)
			}
		}
	case 3:
		if value%3 == 0 {
			return toggle(settings.Label, fmt.Sprintf("%s-%d", name, value%2))
		}
		return toggle(settings.Label, sharedLabels[value%len(sharedLabels)])
	case 4:
		return toggle(settings.FirewallRulesCM, office)
	case 5:
		return func(s *v1.Service) {
			if has(s, settings.SSL) {
				plainly(s)
			} else {
				terminates(s)
				with(settings.SSL, secret)(s)
			}
		}
	case 6:
		return toggle(settings.Algorithm, "least_connections")
	case 7:
		if value%3 == 0 {
			return toggle(settings.NodeCount, badNodeCount)
		}
		return without(settings.NodeCount)
	default:
		return without(settings.Timeout)
	}
}

// nodes returns the Nodes whose instances exist, and how many of them are to get traffic.
func (l *life) nodes() (nodes []*v1.Node, included int) {
	l.Helper()
	list, err := l.user.CoreV1().Nodes().List(l.Context(), metav1.ListOptions{})
	if err != nil {
		l.Fatal(err)
	}
	for i := range list.Items {
		if n := &list.Items[i]; !slices.Contains(l.ghosts, n.Name) {
			nodes = append(nodes, n)
			if !isExcluded(n) {
				included++
			}
		}
	}
	return nodes, included
}

func isExcluded(n *v1.Node) bool {
	_, excluded := n.Labels[v1.LabelNodeExcludeBalancers]
	return excluded
}

// changeNodes changes Nodes and instances. One of those that get traffic is always left.
func (l *life) changeNodes(s step) {
	l.bury()
	nodes, included := l.nodes()
	chosen := nodes[s.a%len(nodes)]
	excluded := isExcluded(chosen)
	switch {
	case s.do == node && len(nodes) < mostNodes:
		l.addNode()
	case s.do == flap:
		l.editNode(chosen.Name, ready(chosen.Status.Conditions[0].Status != v1.ConditionTrue))
	case s.do == drain && excluded:
		l.editNode(chosen.Name, func(n *v1.Node) { delete(n.Labels, v1.LabelNodeExcludeBalancers) })
	case s.do == drain && included > 1:
		l.editNode(chosen.Name, func(n *v1.Node) { n.Labels[v1.LabelNodeExcludeBalancers] = "true" })
	case s.do == destroy && len(nodes) > fewestNodes && (excluded || included > 1):
		l.operate(http.MethodDelete, "/v2/instances/"+strings.TrimPrefix(chosen.Spec.ProviderID, "vultr://"), "")
		l.ghosts = append(l.ghosts, chosen.Name)
	}
}

// bury removes the Nodes whose instances are destroyed.
func (l *life) bury() {
	l.Helper()
	for _, name := range l.ghosts {
		if err := l.user.CoreV1().Nodes().Delete(l.Context(), name, metav1.DeleteOptions{}); err != nil {
			l.Fatal(err)
		}
	}
	l.ghosts = nil
}

// changeObjects changes what Services name.
func (l *life) changeObjects(s step) {
	bad := s.c%4 == 0
	switch {
	case s.do == renew && bad:
		l.putCertificate(-time.Hour)
		l.badSecret = true
	case s.do == renew:
		l.putCertificate(time.Duration(100+s.b%100) * 24 * time.Hour)
		l.badSecret = false
	case bad:
		l.putRules("everybody,80")
		l.badRules = true
	default:
		l.putRules(officeRules[s.b%len(officeRules)])
		l.badRules = false
	}
}

// operatorChanges changes a load balancer of a Service behind the controller's back. What is not written down yet is left
// alone: nobody could find it again.
func (l *life) operatorChanges(s step) {
	entries := l.entries()
	var known []string
	for _, uid := range slices.Sorted(maps.Keys(entries)) {
		if entry := entries[uid]; entry.ID != "" && entry.Shown && entry.Deleted.IsZero() {
			known = append(known, entry.ID)
		}
	}
	if len(known) == 0 {
		return
	}
	id := known[s.a%len(known)]
	ctx, cancel := context.WithTimeout(l.Context(), operatorPatience)
	defer cancel()
	label, timeout := "somebody's", 77
	change := []vultr.LoadBalancerSettings{
		{Rules: &[]vultr.ForwardingRule{}}, {Timeout: &timeout}, {Label: &label}, {Instances: &[]string{}},
	}[s.c%4]
	switch {
	case s.do == drift:
		_ = l.api.UpdateLoadBalancer(ctx, id, change) // it may be busy, or meet what goes wrong
	case !l.wiped:
		l.wiped = true
		_ = l.api.DeleteLoadBalancer(ctx, id)
	}
}

// operations are the calls that the controller makes.
var operations = []string{
	"create_load_balancer", "update_load_balancer", "delete_load_balancer", "list_load_balancers", "get_load_balancer", "list_instances",
}

// kinds are what can go wrong with one.
var kinds = []simulator.Fault{
	{Action: simulator.FaultStatus, Status: http.StatusInternalServerError},
	{Action: simulator.FaultStatus, Status: http.StatusServiceUnavailable, RetryAfter: 5},
	{Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: 3},
	{Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Load balancer is not ready.","status":400}`},
	{Action: simulator.FaultStatusAfter, Status: http.StatusBadGateway},
	{Action: simulator.FaultResetBefore},
	{Action: simulator.FaultResetAfter},
	{Action: simulator.FaultTruncate},
	{Action: simulator.FaultNotJSON},
	{Action: simulator.FaultHang},
	{Action: simulator.FaultHangAfter},
	{Action: simulator.FaultLatency, LatencyMS: 20000},
	{Action: simulator.FaultLatency, LatencyMS: 45000},
	{Action: simulator.FaultStale, LagMS: 20000},
	{Action: simulator.FaultDuplicate, Answer: simulator.FaultAnswerFirst},
	{Action: simulator.FaultDuplicate, Answer: simulator.FaultAnswerSecond},
}

// addFault has the next calls of a kind go wrong.
func (l *life) addFault(s step) {
	f := kinds[s.a%len(kinds)]
	f.Operation, f.Times = operations[s.b%len(operations)], 1+s.c%2
	l.twins = l.twins || f.Action == simulator.FaultDuplicate && f.Operation == "create_load_balancer"
	l.cloud.Fault(f)
	l.tell("%s: %s %d, %d times", f.Operation, f.Action, f.Status, f.Times)
}

// check judges what has to be so at every moment: what serves a Service is written down, there is one of it, and nothing of
// somebody else is touched.
func (l *life) check() (rule, text string) {
	l.Helper()
	synctest.Wait()
	l.mu.Lock()
	harm := slices.Clone(l.harm)
	l.mu.Unlock()
	if len(harm) > 0 {
		return "somebody else's", strings.Join(harm, "; ")
	}
	entries := l.entries()
	owners := map[string]types.UID{}
	for uid, entry := range entries {
		if entry.ID != "" {
			owners[entry.ID] = uid
		}
	}
	balancers := map[types.UID][]string{}
	for _, lb := range l.cloud.Sim.View().LoadBalancers {
		if _, foreign := l.foreign[lb.ID]; foreign || l.strays[lb.ID] {
			continue
		}
		owner, known := owners[lb.ID]
		if !known {
			owner, known = l.labels[lb.Label]
		}
		if !known || entries[owner] == (ledger.Entry{}) {
			return "unrecorded", fmt.Sprintf("nothing is written down about load balancer %s (%s)", lb.ID, lb.Label)
		}
		balancers[owner] = append(balancers[owner], lb.ID)
	}
	for owner, all := range balancers {
		if len(all) > 1 && !l.twins {
			return "two of one Service", fmt.Sprintf("Service %s has %v", owner, all)
		}
	}
	return "", ""
}

// lacksSome reports whether a load balancer that was deleted on the platform has no successor, because its Service has a fault.
// Of a few that are missing the controller does not believe that they were deleted, so no other one may go as long.
func (l *life) lacksSome() bool {
	l.Helper()
	there := map[string]bool{"": true}
	for _, lb := range l.cloud.Sim.View().LoadBalancers {
		there[lb.ID] = true
	}
	for _, entry := range l.entries() {
		if !there[entry.ID] {
			return true
		}
	}
	return false
}

// rest ends what goes wrong, mends what people have to mend, and judges all when nothing is to be done any more.
func (l *life) rest() (rule, text string) {
	l.Helper()
	l.restart = time.Time{}
	l.tend()
	l.alone()
	l.calm()
	l.bury()
	if l.badSecret {
		l.putCertificate(300 * 24 * time.Hour)
	}
	if l.badRules {
		l.putRules(officeRules[0])
	}
	l.badSecret, l.badRules = false, false
	if !l.until(45*time.Minute, func() bool { return len(l.wrong()) == 0 }) {
		return "not well", fmt.Sprintf("%q", l.wrong())
	}
	l.pass(restAfter)
	if wrong := l.wrong(); len(wrong) > 0 {
		return "not well any more", fmt.Sprintf("%q", wrong)
	}
	l.twins, l.wiped = false, l.lacksSome()
	if text := l.busy(2*driftPeriod + time.Minute); text != "" {
		return "written at rest", text
	}
	return "", ""
}
