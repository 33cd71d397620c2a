package lb

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// group is the Services that one load balancer serves, the oldest first. Here each is one Service: for those that share one,
// groupsOf has to put them together, and the rest follows: the union of their ports, settings of the oldest, one entry, one
// load balancer.
type group []*v1.Service

func (g group) String() string {
	names := make([]string, 0, len(g))
	for _, s := range g {
		names = append(names, s.Name)
	}
	return strings.Join(names, "+")
}

// groupsOf returns the groups of Services that are to have load balancers.
func groupsOf(services []*v1.Service) []group {
	var groups []group
	for _, s := range services {
		if wanting(s) {
			groups = append(groups, group{s})
		}
	}
	return groups
}

func wanting(s *v1.Service) bool {
	return s.DeletionTimestamp == nil && s.Spec.Type == v1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil
}

// badNodeCount is a value of the node count that the Service's owner is told about, and with which nothing but backends is changed.
const badNodeCount = "2"

// faulty reports whether nobody can say what the load balancer of a group is to be like.
func (g group) faulty() bool {
	return slices.ContainsFunc(g, func(s *v1.Service) bool { return s.Annotations[string(settings.NodeCount)] == badNodeCount })
}

// looks is what a load balancer looks like, as far as these tests vary it.
type looks struct {
	Label, Algorithm, Domain string
	Timeout                  int
	Rules, Sources           []string
	Encrypted                bool
}

func looksOf(lb *vultr.LoadBalancer) looks {
	is := looks{Label: lb.Label, Algorithm: lb.Algorithm, Domain: lb.AutoSSL.Domain, Timeout: lb.Timeout, Encrypted: lb.HasSSL}
	for _, rule := range lb.Rules {
		is.Rules = append(is.Rules, fmt.Sprintf("%s %d to %d", rule.FrontendProtocol, rule.FrontendPort, rule.BackendPort))
	}
	for _, rule := range lb.Firewall {
		is.Sources = append(is.Sources, fmt.Sprintf("%s,%d", rule.Source, rule.Port))
	}
	return is.sorted()
}

func (l looks) sorted() looks {
	slices.Sort(l.Rules)
	slices.Sort(l.Sources)
	return l
}

// wanted is what the load balancer of a group is to look like. It is told from the fields and the few annotations that
// these tests use, not by the code that is under test.
func (w *world) wanted(g group, lb *vultr.LoadBalancer, adopted bool) looks {
	first := g[0]
	asks := func(key settings.Key) string { return first.Annotations[string(key)] }
	want := looks{Label: asks(settings.Label), Algorithm: "roundrobin", Timeout: 600}
	switch {
	case want.Label != "":
	case adopted:
		want.Label = lb.Label
	default:
		want.Label = cloudprovider.DefaultLoadBalancerName(first)
	}
	if asks(settings.Algorithm) == "least_connections" {
		want.Algorithm = "leastconn"
	}
	if text := asks(settings.Timeout); text != "" {
		want.Timeout = 0
		_, _ = fmt.Sscan(text, &want.Timeout) // an invalid number leaves 0, which no load balancer has
	}
	if want.Domain = asks(settings.AutoSSLDomain); want.Domain != "" {
		want.Encrypted = true
	}
	want.Encrypted = want.Encrypted || asks(settings.SSL) != ""
	for _, s := range g {
		for _, port := range s.Spec.Ports {
			protocol := strings.ToLower(string(port.Protocol))
			if want.Encrypted && fmt.Sprint(port.Port) == asks(settings.HTTPSPorts) {
				protocol = "https"
			}
			want.Rules = append(want.Rules, fmt.Sprintf("%s %d to %d", protocol, port.Port, port.NodePort))
			for _, source := range s.Spec.LoadBalancerSourceRanges {
				want.Sources = append(want.Sources, fmt.Sprintf("%s,%d", source, port.Port))
			}
		}
		if name := s.Annotations[string(settings.FirewallRulesCM)]; name != "" {
			want.Sources = append(want.Sources, w.rulesIn(name)...)
		}
	}
	return want.sorted()
}

// rulesIn returns the firewall rules of a ConfigMap.
func (w *world) rulesIn(name string) []string {
	found, err := w.user.CoreV1().ConfigMaps(namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		return []string{"ConfigMap " + name + ": " + err.Error()}
	}
	return strings.Fields(found.Data[plan.FirewallMapKey])
}

// backends returns the instances behind the Nodes that are to get traffic.
func (w *world) backends() []string {
	w.Helper()
	there := map[string]bool{}
	for _, i := range w.cloud.Sim.View().Instances {
		there[i.ID] = !i.Deleting
	}
	nodes, err := w.user.CoreV1().Nodes().List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	var eligible, ready []string
	for i := range nodes.Items {
		node := &nodes.Items[i]
		id := strings.TrimPrefix(node.Spec.ProviderID, "vultr://")
		if _, excluded := node.Labels[v1.LabelNodeExcludeBalancers]; excluded || !there[id] {
			continue
		}
		eligible = append(eligible, id)
		if node.Status.Conditions[0].Status == v1.ConditionTrue {
			ready = append(ready, id)
		}
	}
	if len(ready) == 0 {
		ready = eligible
	}
	slices.Sort(ready)
	return ready
}

// situation is all that is judged.
type situation struct {
	services  []*v1.Service
	balancers map[string]*vultr.LoadBalancer
	entries   map[types.UID]ledger.Entry
	backends  []string
	claimed   map[string]bool // the load balancers of Services
}

// look reads all of it, with reads that neither lag nor fail.
func (w *world) look() *situation {
	w.Helper()
	list, err := w.api.LoadBalancers(w.Context(), 0)
	if err != nil {
		w.Fatal(err)
	}
	s := &situation{
		services: w.services(), entries: w.entries(), backends: w.backends(),
		balancers: map[string]*vultr.LoadBalancer{}, claimed: map[string]bool{},
	}
	for i := range list.Items {
		s.balancers[list.Items[i].ID] = &list.Items[i]
	}
	return s
}

// wrong lists what is not as it is to be when nothing is under way, none if all is well.
func (w *world) wrong() []string {
	w.Helper()
	s := w.look()
	var wrong []string
	for _, g := range groupsOf(s.services) {
		wrong = append(wrong, w.judge(g, s)...)
	}
	for _, service := range s.services {
		if !wanting(service) {
			wrong = append(wrong, w.judgeOther(service)...)
		}
	}
	return append(wrong, w.judgeRest(s)...)
}

// judge judges the load balancer of a group.
func (w *world) judge(g group, s *situation) (wrong []string) {
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s: ", g)+fmt.Sprintf(format, args...))
	}
	var entry ledger.Entry
	var owner types.UID
	for _, member := range g {
		if e := s.entries[member.UID]; e.ID != "" {
			if entry.ID != "" {
				say("the ledger has %s and %s", entry.ID, e.ID)
			}
			entry, owner = e, member.UID
		}
	}
	lb := s.balancers[entry.ID]
	switch {
	case entry.ID == "" && g.faulty():
		return wrong
	case entry.ID == "":
		say("the ledger has no load balancer, but %+v", s.entries[g[0].UID])
		return wrong
	case s.claimed[entry.ID]:
		say("the ledger gives %s to another one, too", entry.ID)
	case lb == nil && g.faulty():
		return wrong // none is made in its place until the fault is mended
	case lb == nil:
		say("load balancer %s does not exist", entry.ID)
		return wrong
	}
	s.claimed[entry.ID] = true
	for _, member := range g {
		if asked := w.asked(member); asked != "" && asked != lb.ID {
			say("it has load balancer %s and names %s", lb.ID, asked)
		}
		ingress := member.Status.LoadBalancer.Ingress
		if len(ingress) != 1 || ingress[0].IP != lb.IPv4 || lb.IPv4 == "" {
			say("the status of %s is %+v, the load balancer's address %q", member.Name, ingress, lb.IPv4)
		}
		if !servicehelper.HasLBFinalizer(member) {
			say("%s has no finalizer", member.Name)
		}
	}
	if !slices.Equal(lb.Instances, s.backends) {
		say("its backends are %v, the nodes %v", lb.Instances, s.backends)
	}
	if g.faulty() {
		return wrong
	}
	is, want := looksOf(lb), w.wanted(g, lb, entry.Adopted)
	if w.killed {
		is = w.forgive(is, want, g, entry)
	}
	if !reflect.DeepEqual(is, want) {
		say("it is %+v, asked for is %+v", is, want)
	}
	if text := w.certificate(g[0], lb.ID, s.entries[owner]); text != "" {
		say("%s", text)
	}
	return wrong
}

// forgive returns a load balancer without what a controller cannot know to be the Service's own: it was killed between the
// request that put it there and its note of that, and the Service dropped it before another one had looked. To write it down
// before each request would cost a write to the API server for each change. A firewall that stays is told by an Event.
func (w *world) forgive(is, want looks, g group, entry ledger.Entry) looks {
	if len(want.Sources) == 0 && strings.Contains(w.eventsOf(g[0]), "FirewallKept") {
		is.Sources = want.Sources
	}
	if !want.Encrypted && entry.Certificate == "" {
		is.Encrypted, is.Domain = false, want.Domain
	}
	return is
}

// eventsOf returns the Events about a Service.
func (w *world) eventsOf(s *v1.Service) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var about []string
	for _, event := range w.events {
		if strings.HasPrefix(event, nameOf(s)+": ") {
			about = append(about, event)
		}
	}
	return strings.Join(about, "\n")
}

// asked returns the load balancer that the owner of a Service wants it to have. What the controller notes there is none of
// the others.
func (w *world) asked(s *v1.Service) string { return s.Annotations[string(settings.ID)] }

// certificate compares what the ledger says about the certificate with the Secret.
func (w *world) certificate(s *v1.Service, id string, entry ledger.Entry) string {
	name := s.Annotations[string(settings.SSL)]
	if name == "" {
		if entry.Certificate != "" && s.Annotations[string(settings.AutoSSLDomain)] == "" {
			return "the ledger knows a certificate, " + entry.Certificate
		}
		return ""
	}
	secret, err := w.user.CoreV1().Secrets(namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	certificate, err := plan.ReadCertificate(secret, time.Now())
	if err != nil {
		return err.Error()
	}
	if want := certificate.Fingerprint(id); entry.Certificate != want {
		return fmt.Sprintf("its certificate is %s, that of the Secret %s", entry.Certificate, want)
	}
	return ""
}

// judgeOther judges a Service that is to have no load balancer.
func (*world) judgeOther(s *v1.Service) (wrong []string) {
	if s.DeletionTimestamp != nil {
		wrong = append(wrong, s.Name+" is still being deleted")
	}
	if servicehelper.HasLBFinalizer(s) {
		wrong = append(wrong, s.Name+" has the finalizer")
	}
	if len(s.Status.LoadBalancer.Ingress) > 0 {
		wrong = append(wrong, fmt.Sprintf("%s has the status %+v", s.Name, s.Status.LoadBalancer.Ingress))
	}
	return wrong
}

// judgeRest judges what no Service has: load balancers of others and of nobody, and entries.
func (w *world) judgeRest(s *situation) []string {
	w.mu.Lock()
	wrong := slices.Clone(w.harm)
	w.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(w.foreign)) {
		if is, was := s.balancers[id], w.foreign[id]; is == nil || !reflect.DeepEqual(*is, was) {
			wrong = append(wrong, fmt.Sprintf("somebody else's load balancer was %+v and is %+v", was, is))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.balancers)) {
		if _, foreign := w.foreign[id]; !foreign && !s.claimed[id] && !w.kept[id] && !w.leaving[id] && !w.told(s, id) {
			wrong = append(wrong, fmt.Sprintf("load balancer %s (%s) is nobody's", id, s.balancers[id].Label))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.kept)) {
		if s.balancers[id] == nil {
			wrong = append(wrong, "load balancer "+id+", which is to be kept, does not exist")
		}
	}
	there := map[types.UID]bool{}
	for _, service := range s.services {
		there[service.UID] = true
	}
	for _, uid := range slices.Sorted(maps.Keys(s.entries)) {
		if entry := s.entries[uid]; !there[uid] && !entry.Released() {
			wrong = append(wrong, fmt.Sprintf("the ledger has %+v of a Service that is gone", entry))
		}
	}
	return wrong
}

// told reports whether a load balancer that no Service has bears the label of one, and its owner was told of it: it goes with
// the Service. It was made by a request that was delivered twice, before its process was killed, so that nothing proves that
// it is superfluous.
func (w *world) told(s *situation, id string) bool {
	for _, service := range s.services {
		if !wanting(service) || s.balancers[id].Label != cloudprovider.DefaultLoadBalancerName(service) {
			continue
		}
		for event := range strings.Lines(w.eventsOf(service)) {
			if strings.Contains(event, "DuplicateLoadBalancer Load balancers") && strings.Contains(event, id) {
				w.strays[id] = true
				return true
			}
		}
	}
	return false
}

// busy returns what was written in a time in which there is nothing to write, "" for nothing.
func (w *world) busy(d time.Duration) string {
	sent, writes := w.sent.Load(), w.writes.Load()
	w.pass(d)
	if w.sent.Load() == sent && w.writes.Load() == writes {
		return ""
	}
	return fmt.Sprintf("nothing is to be done, but there were %d changes of the cloud and %d writes to the API server", w.sent.Load()-sent, w.writes.Load()-writes)
}

// empty deletes all Services and lists what is left of them.
func (w *world) empty() []string {
	w.Helper()
	for _, s := range w.services() {
		if s.DeletionTimestamp == nil {
			err := w.user.CoreV1().Services(s.Namespace).Delete(w.Context(), s.Name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				w.Fatal(err)
			}
		}
	}
	clear(w.leaving)
	gone := w.until(30*time.Minute, func() bool { return len(w.services()) == 0 })
	w.pass(restAfter)
	left := w.wrong()
	if !gone {
		left = append(left, "not all Services are gone after half an hour")
	}
	for uid, entry := range w.entries() {
		left = append(left, fmt.Sprintf("the ledger keeps %+v of %s", entry, uid))
	}
	return left
}
