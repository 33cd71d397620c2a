package orphans

import (
	"cmp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// usedCost has the labels of the kubelet's own metrics of volumes (kubelet_volume_stats_...), so that queries can join them.
var usedCost = prometheus.NewDesc("csi_volumes_monthly_cost_dollars",
	"What the volumes that PersistentVolumes name cost a month, by claim and by the platform's own word, at the last look.",
	[]string{"namespace", "persistentvolumeclaim", "storage_type"}, nil)

// payer is for whom the cost of volumes is added up. The claim is "" for all of a namespace, and both are for volumes of
// PersistentVolumes that never were bound.
type payer struct {
	namespace, claim string
	kind             volume.Kind
}

// costs are dollars a month.
type costs map[payer]float64

// costsOf adds up what those of the volumes cost that PersistentVolumes name. A released one is still its last claim's, and added
// to what a later claim of the same name has. What the account's list lacks, because it is deleted or another account's, costs
// nothing here.
func costsOf(all []volume.Volume, named []events.PersistentVolume, byClaim bool) costs {
	owners := ownersOf(named)
	sums := costs{}
	for _, v := range all {
		owner, inUse := owners[strings.ToLower(v.ID)]
		if !inUse {
			continue
		}
		by := payer{namespace: owner.Namespace, kind: v.Kind}
		if byClaim {
			by.claim = owner.Name
		}
		sums[by] += v.MonthlyCost
	}
	return sums
}

// ownersOf returns the claim of each volume, by its ID in lower case. A volume that several PersistentVolumes name, as for a shared
// file system in two namespaces, is one claim's, so that it is counted once: that which comes first by namespace and name.
func ownersOf(named []events.PersistentVolume) map[string]events.Claim {
	owners := make(map[string]events.Claim, len(named))
	for _, pv := range named {
		id := strings.ToLower(pv.Handle)
		if owner, there := owners[id]; !there || before(pv.Claim, owner) {
			owners[id] = pv.Claim
		}
	}
	return owners
}

// before orders claims by namespace and name; that there is none comes last.
func before(a, b events.Claim) bool {
	if a.Known() != b.Known() {
		return a.Known()
	}
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name)) < 0
}

// spent returns the costs of the last look, which nobody changes.
func (w *Watch) spent() costs {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.costs
}

// collectCosts shows what the volumes in use cost.
func (c collector) collectCosts(ch chan<- prometheus.Metric) {
	for by, dollars := range c.spent() {
		ch <- prometheus.MustNewConstMetric(usedCost, prometheus.GaugeValue, dollars, by.namespace, by.claim, string(by.kind))
	}
}
