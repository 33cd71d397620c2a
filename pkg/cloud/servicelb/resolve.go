package servicelb

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// visibleAfter is how long any read of the platform may lag behind a create. Until then "not found" says nothing
// about a load balancer that may just have been made.
const visibleAfter = 150 * time.Second

// twinWindow is how far apart two load balancers can be made that come of one request that was delivered twice.
const twinWindow = 2 * time.Minute

// evidence is everything from which the load balancer of one Service is told. Its reads may lag.
type evidence struct {
	uid   types.UID
	label string // the label of what is made for the Service: "a" and its UID
	entry ledger.Entry
	list  vultr.List[vultr.LoadBalancer]
	// direct is the answer to a look by the entry's ID, made when the list lacks it, or may show it though it was
	// deleted; nil if there was no need, or it was not found.
	direct *vultr.LoadBalancer
	// absentBefore is since when the entry's load balancer was not found without a break; zero at the first time.
	absentBefore time.Time
	// doubtful is set until a list that began later can prove that nobody made one before this process began to lead.
	doubtful time.Time
	// published is the address in the Service's status.
	published string
	// others are the load balancers that the ledger gives to other Services.
	others map[string]bool
	now    time.Time
}

// finding is what the evidence says.
type finding struct {
	// current is the Service's load balancer, nil if there is none.
	current *vultr.LoadBalancer
	// twins are others that bear the Service's label and were made together with current: the same request, delivered
	// twice. Strays bear it too, and nothing proves that they are superfluous.
	twins, strays []vultr.LoadBalancer
	// lost is the ID of the one that does not exist any more.
	lost string
	// wait is how long to wait for reads that can prove more; zero when the rest holds. With current, that is on its way
	// out: it can only be deleted.
	wait time.Duration
	why  string
}

// confirmAfter is the pause between the two looks that prove that a load balancer does not exist any more.
const confirmAfter = 10 * time.Second

// resolve tells the load balancer of a Service from the evidence. It never takes a failed or an early look for absence.
func resolve(e evidence) finding {
	f := e.recorded()
	if f.current == nil && f.wait > 0 {
		return f
	}
	labelled := labelled(e.list.Items, e.label, e.others)
	if f.lost != "" && byID(labelled, f.lost) != nil {
		return finding{lost: f.lost, wait: confirmAfter, why: "load balancer " + f.lost + " is still in lists"}
	}
	if f.current == nil {
		f.current = e.oldest(labelled)
	}
	if f.current == nil {
		f.wait, f.why = e.unproven()
		return f
	}
	made := !e.entry.Adopted && (f.current.Label == e.label || !e.entry.Made.IsZero()) // for this Service, by this controller
	for _, lb := range labelled {
		switch {
		case lb.ID == f.current.ID, isPart(lb, *f.current):
		case made && lb.Region == f.current.Region && lb.Created.Sub(f.current.Created).Abs() <= twinWindow:
			f.twins = append(f.twins, lb)
		default:
			f.strays = append(f.strays, lb)
		}
	}
	return f
}

// isPart reports whether a load balancer may be the part that another one has in a further region. It is neither superfluous nor
// another one of the Service: it goes with the whole.
func isPart(lb, whole vultr.LoadBalancer) bool {
	return lb.Region != whole.Region && slices.ContainsFunc(whole.GlobalRegions, func(region vultr.GlobalRegion) bool { return region.Region == lb.Region })
}

// recorded tells what became of the load balancer that the ledger names.
func (e *evidence) recorded() finding {
	if e.entry.ID == "" {
		return finding{}
	}
	current := e.direct
	if current == nil && e.entry.Deleted.IsZero() {
		current = byID(e.list.Items, e.entry.ID)
	}
	if current == nil {
		f := e.absent()
		if f.wait == 0 {
			f.lost = e.entry.ID
		}
		return f
	}
	f := finding{current: current}
	if left := visibleAfter - e.now.Sub(e.entry.Deleted); !e.entry.Deleted.IsZero() && left > 0 {
		f.wait, f.why = min(left, confirmAfter), "load balancer "+e.entry.ID+" is being deleted"
	}
	return f
}

// absent judges a load balancer that the ledger names and that no read shows.
func (e *evidence) absent() finding {
	if !e.entry.Deleted.IsZero() {
		return finding{} // its deletion was accepted
	}
	if age := e.now.Sub(e.entry.Made); age < visibleAfter {
		// Reads seldom lag by that much, and whatever changes at the Service brings a look as early as this one.
		return finding{wait: min(visibleAfter-age, confirmAfter), why: "load balancer " + e.entry.ID + " was just made and is not shown yet"}
	}
	if e.absentBefore.IsZero() {
		return finding{wait: confirmAfter, why: "load balancer " + e.entry.ID + " is not found; it is looked for once more"}
	}
	if since := e.now.Sub(e.absentBefore); since < confirmAfter {
		return finding{wait: confirmAfter - since, why: "load balancer " + e.entry.ID + " is not found; it is looked for once more"}
	}
	return finding{}
}

// unproven returns how long it takes until a list can prove that no load balancer was made for the Service.
func (e *evidence) unproven() (time.Duration, string) {
	var proves time.Time
	why := ""
	if !e.entry.Tried.IsZero() {
		proves, why = e.entry.Tried.Add(visibleAfter), "whether a load balancer was made is not known yet"
	}
	if e.doubtful.After(proves) {
		proves, why = e.doubtful, "whether another controller made a load balancer just before is not known yet"
	}
	if !e.list.Began.Before(proves) {
		return 0, ""
	}
	return max(proves.Sub(e.now), time.Second), why
}

// oldest returns the one that serves already, else the one that was made first.
func (e *evidence) oldest(candidates []vultr.LoadBalancer) *vultr.LoadBalancer {
	if len(candidates) == 0 {
		return nil
	}
	serves := func(lb vultr.LoadBalancer) bool {
		return e.published != "" && (lb.IPv4 == e.published || lb.IPv6 == e.published)
	}
	first := slices.MinFunc(candidates, func(a, b vultr.LoadBalancer) int {
		if serves(a) != serves(b) {
			if serves(a) {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return &first
}

func byID(all []vultr.LoadBalancer, id string) *vultr.LoadBalancer {
	for i := range all {
		if all[i].ID == id {
			return &all[i]
		}
	}
	return nil
}

// labelled returns those with the label, but for the ones that are proven to be somebody else's.
func labelled(all []vultr.LoadBalancer, label string, others map[string]bool) []vultr.LoadBalancer {
	var found []vultr.LoadBalancer
	for i := range all {
		if all[i].Label == label && !others[all[i].ID] {
			found = append(found, all[i])
		}
	}
	return found
}

// claims says who else may have a right to a load balancer. It is built from the ledger, the cluster's Services and
// Nodes: what a tenant writes about a load balancer gives no right to it, but keeps others from taking it over.
type claims struct {
	// proof is the label of what is made for the Service, and address the one in its status.
	proof, address string
	// held are the load balancers that the ledger gives to other Services, by ID.
	held map[string]bool
	// left are those that other Services have left as they are.
	left map[string]bool
	// named are the IDs and labels that older Services name, the host names in the status of others, and the labels of what is
	// made for them.
	named map[string]bool
	// serves are the addresses in the status of other Services.
	serves map[string]bool
	// ports are the node ports of the Service and those that it shares with, which the API server gives to one Service only.
	ports map[int]bool
	// instances are the instances behind the cluster's Nodes.
	instances map[string]bool
	// proofs are the labels of what is made for the Service and those that it shares with.
	proofs map[string]bool
	// allowed are the IDs that the cluster's administrator lets the Service's namespace adopt.
	allowed map[string]bool
}

// add counts what is made for a Service, and what leads to its node ports, among what may be given to the one that asks.
func (c *claims) add(service *v1.Service) {
	c.proofs[label(service)] = true
	for _, port := range service.Spec.Ports {
		c.ports[int(port.NodePort)] = true
	}
}

// The refusals of an adoption. Their texts hold nothing that the Service's owner did not write.
var (
	errHeld     = errors.New("it belongs to another Service, with which this one does not share a load balancer by a common label")
	errAnothers = errors.New("it was made for another Service, as its label says, and the administrator has not allowed this namespace to adopt it")
	errLeft     = errors.New("it was left as it is by another Service, and the administrator has not allowed this namespace to adopt it")
	errForeign  = errors.New("it is not proven to serve this Service alone (its backends must be nodes of this cluster, and every rule must lead to " +
		"a node port of this Service), and the administrator has not allowed this namespace to adopt it")
)

// mayAdopt returns nil if the load balancer that a Service names can be given to it: the administrator's word allows
// it, or it serves nodes of this cluster alone and either has the address in the Service's status, which tenants cannot
// write, or leads to node ports of this Service alone, as one does that another controller made for it. What leads to other
// ports, such as those of the API servers, was made for something else.
func (c *claims) mayAdopt(lb vultr.LoadBalancer) error {
	switch {
	case c.held[lb.ID]:
		return errHeld
	case c.allowed[lb.ID]:
		return nil
	case c.proof != "" && lb.Label == c.proof:
		return nil
	case c.left[lb.ID]:
		return errLeft // whatever it leads to: a node port that is free again can be had by anybody
	case c.serves[lb.IPv4] || c.serves[lb.IPv6]:
		return errHeld
	case !c.published(lb):
		return c.mayAdoptNamed(lb)
	case !c.servesHere(lb):
		return errForeign
	}
	return nil
}

// mayAdoptNamed is mayAdopt for one that the Service has by nothing but what its annotations say.
func (c *claims) mayAdoptNamed(lb vultr.LoadBalancer) error {
	switch {
	case c.named[lb.ID] || lb.Label != "" && c.named[lb.Label]:
		return errHeld
	case proof.MatchString(lb.Label) && !c.proofs[lb.Label]:
		return errAnothers // a node port that is free again can be had by anybody
	case !c.servesHere(lb) || !c.leadsHere(lb):
		return errForeign
	}
	return nil
}

// servesHere reports whether there are backends, and all are nodes of this cluster.
func (c *claims) servesHere(lb vultr.LoadBalancer) bool {
	foreign := func(id string) bool { return !c.instances[id] }
	return len(lb.Instances) > 0 && !slices.ContainsFunc(lb.Instances, foreign)
}

// leadsHere reports whether there are rules, and all lead to node ports of the Service.
func (c *claims) leadsHere(lb vultr.LoadBalancer) bool {
	foreign := func(rule vultr.ForwardingRule) bool { return !c.ports[rule.BackendPort] }
	return len(lb.Rules) > 0 && !slices.ContainsFunc(lb.Rules, foreign)
}

// published reports whether the address in the Service's status is the load balancer's, which counts more than what anybody
// writes into annotations.
func (c *claims) published(lb vultr.LoadBalancer) bool {
	return c.address != "" && (lb.IPv4 == c.address || lb.IPv6 == c.address)
}

// hint is the load balancer that a Service's annotations name.
type hint struct {
	id    string
	label string
}

// choose finds the one that the hint names, nil if there is none.
func (h hint) choose(list []vultr.LoadBalancer, direct *vultr.LoadBalancer) (*vultr.LoadBalancer, error) {
	if h.id != "" {
		if lb := byID(list, h.id); lb != nil {
			return lb, nil
		}
		return direct, nil
	}
	if h.label == "" {
		return nil, nil
	}
	found := labelled(list, h.label, nil)
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("annotation %s: %d load balancers have the label %q; name the right one by %s", settings.Label, len(found), h.label, settings.ID)
}
