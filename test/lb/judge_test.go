package lb

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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

// backendsFor returns the instances that are right for all of a group: behind nodes with the labels that each of them chooses, and
// with pods of each that has policy Local. What would leave none does not count.
func (w *world) backendsFor(g group, s *situation) []string {
	backends := s.backends
	for _, member := range g {
		for _, nodes := range [][]string{w.chosenBy(member), w.withPodsOf(member)} {
			fewer := slices.DeleteFunc(slices.Clone(backends), func(id string) bool { return !slices.Contains(nodes, id) })
			if len(fewer) > 0 {
				backends = fewer
			}
		}
	}
	return backends
}

// chosenBy returns the instances whose nodes have the label that a Service chooses: these tests have no other selectors than
// "name=value".
func (w *world) chosenBy(s *v1.Service) []string {
	name, value, chooses := strings.Cut(s.Annotations[string(settings.NodeSelector)], "=")
	return w.instancesOf(func(n *v1.Node) bool { return !chooses || n.Labels[name] == value })
}

// withPodsOf returns the instances whose nodes have ready pods of a Service, all if it does not matter.
func (w *world) withPodsOf(s *v1.Service) []string {
	w.Helper()
	has := map[string]bool{}
	if s.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal {
		list, err := w.user.DiscoveryV1().EndpointSlices(s.Namespace).List(w.Context(), metav1.ListOptions{})
		if err != nil {
			w.Fatal(err)
		}
		for _, slice := range list.Items {
			for _, endpoint := range slice.Endpoints {
				if slice.Labels[discoveryv1.LabelServiceName] == s.Name && *endpoint.Conditions.Ready {
					has[*endpoint.NodeName] = true
				}
			}
		}
	}
	return w.instancesOf(func(n *v1.Node) bool { return len(has) == 0 || has[n.Name] })
}

// instancesOf returns the instances behind some of the Nodes.
func (w *world) instancesOf(is func(n *v1.Node) bool) []string {
	w.Helper()
	nodes, err := w.user.CoreV1().Nodes().List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	var instances []string
	for i := range nodes.Items {
		if is(&nodes.Items[i]) {
			instances = append(instances, strings.TrimPrefix(nodes.Items[i].Spec.ProviderID, "vultr://"))
		}
	}
	return instances
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
	for _, g := range groupsOf(s) {
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
	host, entry := g.host(s)
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
	for _, text := range g.discord(s, entry) {
		say("%s", text)
	}
	for _, member := range g {
		for _, text := range w.judgeMember(member, lb) {
			say("%s", text)
		}
	}
	if backends := w.backendsFor(g, s); !slices.Equal(lb.Instances, backends) {
		say("its backends are %v, they are to be %v", lb.Instances, backends)
	}
	if g.faulty() {
		return wrong
	}
	is, want := looksOf(lb), w.wanted(g, lb, entry.Adopted)
	if g.namedElsewhere(s, host) {
		want.Label = is.Label // an older Service has the label, and shares nothing with this one
	}
	if w.killed {
		is = w.forgive(is, want, g, entry)
	}
	if !reflect.DeepEqual(is, want) {
		say("it is %+v, asked for is %+v", is, want)
	}
	if text := w.certificate(g.certifier(lb), lb.ID, entry); text != "" {
		say("%s", text)
	}
	return wrong
}

// judgeMember judges what a Service says about the load balancer that it has.
func (w *world) judgeMember(s *v1.Service, lb *vultr.LoadBalancer) (wrong []string) {
	if asked := w.asked(s); asked != "" && asked != lb.ID {
		wrong = append(wrong, fmt.Sprintf("%s has load balancer %s and names %s", s.Name, lb.ID, asked))
	}
	if ingress := s.Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != lb.IPv4 || lb.IPv4 == "" {
		wrong = append(wrong, fmt.Sprintf("the status of %s is %+v, the load balancer's address %q", s.Name, ingress, lb.IPv4))
	}
	if !servicehelper.HasLBFinalizer(s) {
		wrong = append(wrong, s.Name+" has no finalizer")
	}
	return wrong
}

// forgive returns a load balancer without what a controller cannot know to be the Service's own: it was killed between the
// request that put it there and its note of that, and the Service dropped it before another one had looked. To write it down
// before each request would cost a write to the API server for each change. A firewall that stays is told by an Event.
func (w *world) forgive(is, want looks, g group, entry ledger.Entry) looks {
	kept := func(s *v1.Service) bool { return strings.Contains(w.eventsOf(s), "FirewallKept") }
	if len(want.Sources) == 0 && slices.ContainsFunc(g, kept) {
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
	if len(s.Status.LoadBalancer.Ingress) > 0 && !disowned(s) { // whose load balancer serves on
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
		if entry := s.entries[uid]; !there[uid] && !entry.Released() && !w.isLeft(uid, entry) {
			wrong = append(wrong, fmt.Sprintf("the ledger has %+v of a Service that is gone", entry))
		}
	}
	return wrong
}

// isLeft reports whether an entry keeps what is left as it is from those who never had it.
func (w *world) isLeft(uid types.UID, entry ledger.Entry) bool {
	return entry.Left != "" && string(uid) == entry.ID && w.kept[entry.ID]
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
		if w.isLeft(uid, entry) {
			continue
		}
		left = append(left, fmt.Sprintf("the ledger keeps %+v of %s", entry, uid))
	}
	return left
}
