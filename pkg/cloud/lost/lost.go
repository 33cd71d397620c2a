// Package lost finds load balancers that were made for Services which do not exist any more: they are paid for, and nothing
// in Kubernetes shows them. It decides over plain values, for the controller, which reports them, and for the kubectl
// plugin, which can delete them.
package lost

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Orphan is a load balancer that was made for a Service which does not exist.
type Orphan struct {
	ledger.Entry

	// UID is the Service's.
	UID types.UID
}

// Label is what a load balancer is called that was made for the Service with the UID, by this controller or the official one.
func Label(uid types.UID) string {
	return cloudprovider.DefaultLoadBalancerName(&v1.Service{ObjectMeta: metav1.ObjectMeta{UID: uid}})
}

// Find returns what was made for Services that do not exist and is still there: what the ledger names, else, where the
// answer to an attempt was lost, what has the Service's label. there are the Services that exist. A load balancer that several share
// is lost when none of them exists.
func Find(there map[types.UID]bool, entries map[types.UID]ledger.Entry, all []vultr.LoadBalancer) []Orphan {
	var lost []Orphan
	others := map[string]bool{}
	for uid, entry := range entries {
		if there[uid] || entry.Guests != "" {
			others[entry.ID] = true // whatever its label says
		}
	}
	for uid, entry := range entries {
		shared := slices.ContainsFunc(entry.Guests.List(), func(guest types.UID) bool { return there[guest] })
		if there[uid] || entry.Adopted || shared {
			continue
		}
		if exists(all, entry.ID) {
			lost = append(lost, Orphan{entry, uid})
			continue
		}
		name := Label(uid)
		for i := range all {
			if all[i].Label == name && !others[all[i].ID] {
				entry.ID = all[i].ID
				lost = append(lost, Orphan{entry, uid})
			}
		}
	}
	return lost
}

func exists(all []vultr.LoadBalancer, id string) bool {
	return slices.ContainsFunc(all, func(lb vultr.LoadBalancer) bool { return lb.ID == id })
}

// made is the form of the labels of load balancers that were made for a Service: "a" and the first 31 digits of its UID.
var made = regexp.MustCompile(`^a[0-9a-f]{31}$`)

// Unrecorded returns the load balancers whose labels say that they were made for a Service, where neither that Service nor
// an entry of the ledger for it exists: those of the official controller, and those whose entry was lost. The label alone
// proves nothing, since other clusters in the account make such labels too. What proves it is that all backends, and there
// are some, are instances of this cluster.
func Unrecorded(there map[types.UID]bool, entries map[types.UID]ledger.Entry, instances map[string]bool, all []vultr.LoadBalancer) []vultr.LoadBalancer {
	known, held := map[string]bool{}, map[string]bool{}
	for uid := range there {
		known[Label(uid)] = true
	}
	for uid, entry := range entries {
		known[Label(uid)] = true
		held[entry.ID] = true
	}
	var found []vultr.LoadBalancer
	for _, lb := range all {
		foreign := func(id string) bool { return !instances[strings.ToLower(id)] }
		if made.MatchString(lb.Label) && !known[lb.Label] && !held[lb.ID] && len(lb.Instances) > 0 && !slices.ContainsFunc(lb.Instances, foreign) {
			found = append(found, lb)
		}
	}
	slices.SortFunc(found, func(a, b vultr.LoadBalancer) int { return cmp.Compare(a.ID, b.ID) })
	return found
}
