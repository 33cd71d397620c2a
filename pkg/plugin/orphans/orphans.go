// Package orphans finds what is the cluster's by proof, is paid for and is used by nothing in the cluster: load balancers,
// block storage, shared file systems and snapshots. What it cannot prove to be the cluster's is not among them, since an
// account can have several clusters and things that people made by hand.
package orphans

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Kind is what an orphan is.
type Kind string

// The kinds.
const (
	LoadBalancer Kind = "load balancer"
	Block        Kind = "block storage"
	FileSystem   Kind = "file system"
	Snapshot     Kind = "snapshot"
)

// Orphan is something that is the cluster's and that nothing in the cluster uses.
type Orphan struct {
	Kind    Kind      `json:"kind"`
	ID      string    `json:"id"`
	Label   string    `json:"label"`
	Region  string    `json:"region,omitempty"`
	SizeGiB int64     `json:"sizeGiB,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// MonthlyCost is in dollars; nil where the platform does not tell it.
	MonthlyCost *float64 `json:"monthlyCost,omitempty"`
	// Proof says why it is the cluster's, For what it was made for.
	Proof string `json:"proof"`
	For   string `json:"for,omitempty"`
	// AttachedTo are the instances that have it.
	AttachedTo []string `json:"attachedTo,omitempty"`
	// Kept says why it cannot be deleted, "" if it can.
	Kept string `json:"kept,omitempty"`
}

// Age is how old it is, 0 where the platform does not tell.
func (o Orphan) Age(now time.Time) time.Duration {
	if o.Created.IsZero() {
		return 0
	}
	return now.Sub(o.Created)
}

// Input is what is known of a cluster and its account. What was listed of the account must be older than what was listed of
// the cluster: what gets its object in Kubernetes between the two is in use.
type Input struct {
	LoadBalancers []vultr.LoadBalancer
	Blocks        []vultr.Volume
	FileSystems   []vultr.FileSystem
	// Shared are the attachments of file systems, by the ID of the file system.
	Shared    map[string][]vultr.FileSystemAttachment
	Snapshots []vultr.Snapshot

	Services []*v1.Service
	Nodes    []*v1.Node
	Entries  map[types.UID]ledger.Entry
	PVs      []*v1.PersistentVolume
	Claims   []*v1.PersistentVolumeClaim
	// Use is what VolumeSnapshotContents name.
	Use kube.SnapshotUse
	// Cluster is the ID in the labels of volumes. Of a cluster without one no volume is known to be its own.
	Cluster ownership.Cluster

	// MinAge is how old something must be: what is younger may be about to be used.
	MinAge time.Duration
	Now    time.Time
}

// Find returns the orphans, ordered by kind, age and ID.
func Find(in Input) []Orphan {
	all := slices.Concat(in.balancers(), in.blocks(), in.fileSystems(), in.snapshots())
	all = slices.DeleteFunc(all, func(o Orphan) bool { return !o.Created.IsZero() && o.Age(in.Now) < in.MinAge })
	for i := range all {
		o := &all[i]
		switch {
		case len(o.AttachedTo) > 0:
			o.Kept = "it is attached to instance " + strings.Join(o.AttachedTo, ", ")
		case o.Created.IsZero():
			o.Kept = "the platform does not tell how old it is"
		}
	}
	order := []Kind{LoadBalancer, Block, FileSystem, Snapshot}
	slices.SortFunc(all, func(a, b Orphan) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Get returns an orphan by its ID, nil if there is none.
func Get(all []Orphan, id string) *Orphan {
	if i := slices.IndexFunc(all, func(o Orphan) bool { return strings.EqualFold(o.ID, id) }); i >= 0 {
		return &all[i]
	}
	return nil
}

// Cost is what all of them cost a month, in dollars, as far as it is known.
func Cost(all []Orphan) float64 {
	total := 0.0
	for _, o := range all {
		if o.MonthlyCost != nil {
			total += *o.MonthlyCost
		}
	}
	return total
}

// balancers are those of Services that do not exist. One whose address or ID a Service has, whatever its label says, is in
// use.
func (in Input) balancers() []Orphan {
	there, used := map[types.UID]bool{}, map[string]bool{}
	for _, service := range in.Services {
		there[service.UID] = true
		used[strings.ToLower(strings.TrimSpace(service.Annotations[string(settings.ID)]))] = true
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			used[ingress.IP] = true
		}
	}
	for uid, entry := range in.Entries {
		shared := slices.ContainsFunc(entry.Guests.List(), func(guest types.UID) bool { return there[guest] })
		if there[uid] || entry.Adopted || shared {
			used[strings.ToLower(entry.ID)] = true
		}
	}
	delete(used, "")
	shown := map[string]vultr.LoadBalancer{}
	for _, lb := range in.LoadBalancers {
		shown[lb.ID] = lb
	}
	instances := map[string]bool{}
	for id := range kube.Instances(in.Nodes) {
		instances[id] = true
	}
	var all []Orphan
	add := func(lb vultr.LoadBalancer, proof, made string) {
		if used[strings.ToLower(lb.ID)] || used[lb.IPv4] || used[lb.IPv6] || Get(all, lb.ID) != nil {
			return
		}
		cost := balancers.MonthlyCost(lb)
		all = append(all, Orphan{Kind: LoadBalancer, ID: lb.ID, Label: lb.Label, Region: lb.Region, Created: lb.Created, MonthlyCost: &cost, Proof: proof, For: made})
	}
	for _, o := range lost.Find(there, in.Entries, in.LoadBalancers) {
		add(shown[o.ID], "the controller's record", "Service "+o.Service)
	}
	for _, lb := range lost.Unrecorded(there, in.Entries, instances, in.LoadBalancers) {
		add(lb, "its label is made from a Service's UID, and all its backends are nodes of this cluster", "")
	}
	return all
}

// inUse are the volumes that PersistentVolumes name, in lower case, and the UIDs of claims, whose volumes may just be made.
func (in Input) inUse() (handles map[string]string, claims map[string]string) {
	handles, claims = map[string]string{}, map[string]string{}
	for _, pv := range in.PVs {
		handles[strings.ToLower(pv.Spec.CSI.VolumeHandle)] = pv.Name
	}
	for _, claim := range in.Claims {
		claims[string(claim.UID)] = claim.Namespace + "/" + claim.Name
	}
	return handles, claims
}

// unused returns what reports whether a volume is this cluster's by its label, and neither a PersistentVolume nor a claim has it.
func (in Input) unused() func(id, label string) bool {
	handles, claims := in.inUse()
	return func(id, label string) bool {
		uid := strings.TrimPrefix(in.Cluster.Name(label), "pvc-")
		return in.Cluster.Owns(label) && handles[strings.ToLower(id)] == "" && claims[uid] == ""
	}
}

func (in Input) byLabel() string {
	return fmt.Sprintf("its label begins with the cluster's ID, %q", in.Cluster)
}

func (in Input) blocks() []Orphan {
	unused := in.unused()
	var all []Orphan
	for _, b := range in.Blocks {
		if !unused(b.ID, b.Label) {
			continue
		}
		o := Orphan{
			Kind: Block, ID: b.ID, Label: b.Label, Region: b.Region, SizeGiB: int64(b.SizeGB), Created: b.Created, MonthlyCost: &b.MonthlyCost,
			Proof: in.byLabel(), For: in.Cluster.Name(b.Label),
		}
		if b.AttachedTo != "" {
			o.AttachedTo = []string{b.AttachedTo}
		}
		all = append(all, o)
	}
	return all
}

func (in Input) fileSystems() []Orphan {
	unused := in.unused()
	var all []Orphan
	for _, f := range in.FileSystems {
		if !unused(f.ID, f.Label) {
			continue
		}
		o := Orphan{
			Kind: FileSystem, ID: f.ID, Label: f.Label, Region: f.Region, SizeGiB: int64(f.SizeGB), Created: f.Created, MonthlyCost: &f.MonthlyCost,
			Proof: in.byLabel(), For: in.Cluster.Name(f.Label),
		}
		for _, a := range in.Shared[f.ID] {
			o.AttachedTo = append(o.AttachedTo, a.InstanceID)
		}
		all = append(all, o)
	}
	return all
}

// sidecars is the form of the descriptions of snapshots that were made for VolumeSnapshots.
var sidecars = regexp.MustCompile(`^snapshot-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// snapshots are those of VolumeSnapshots that do not exist. Of which cluster one is says its description, or, if that was written
// before the cluster had an ID, the volume of which it was taken.
func (in Input) snapshots() []Orphan {
	handles, _ := in.inUse()
	labels := map[string]string{}
	for _, b := range in.Blocks {
		labels[strings.ToLower(b.ID)] = b.Label
	}
	var all []Orphan
	for _, s := range in.Snapshots {
		form := sidecars.FindStringSubmatch(in.Cluster.Name(s.Description))
		if form == nil || in.Use.Handles[strings.ToLower(s.ID)] || in.Use.Snapshots[types.UID(form[1])] {
			continue
		}
		source := strings.ToLower(s.VolumeID)
		var proof string
		switch {
		case in.Cluster.Owns(s.Description):
			proof = fmt.Sprintf("its description begins with the cluster's ID, %q", in.Cluster)
		case handles[source] != "":
			proof = fmt.Sprintf("it was taken of volume %s, which is PersistentVolume %s", s.VolumeID, handles[source])
		case in.Cluster.Owns(labels[source]):
			proof = fmt.Sprintf("it was taken of volume %s, whose label begins with the cluster's ID, %q", s.VolumeID, in.Cluster)
		default:
			continue
		}
		const gib = 1 << 30
		all = append(all, Orphan{
			Kind: Snapshot, ID: s.ID, Label: s.Description, SizeGiB: (s.SizeBytes + gib - 1) / gib, Created: s.Created, Proof: proof,
			For: "VolumeSnapshot " + form[1],
		})
	}
	return all
}
