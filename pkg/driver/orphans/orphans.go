// Package orphans looks for volumes that are the cluster's and that no PersistentVolume names any more, and for snapshots that
// no VolumeSnapshotContent names: they cost money, and nobody sees them in Kubernetes. It reports them and never deletes one:
// that nothing names it proves nothing about the worth of its content, which the reclaim policy Retain keeps on purpose.
//
// What is named costs money, too: the same look says how much, by claim.
package orphans

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	// DefaultPeriod is how often is looked.
	DefaultPeriod = 15 * time.Minute
	// listAge is how old the list of volumes may be: usually it is one that was read anyway.
	listAge = 5 * time.Minute
	// leadAgain is how often a replica that does not lead finds out whether it does by now.
	leadAgain = 20 * time.Second
	// reported is how many orphans are reported one by one; the metrics count all.
	reported = 20
)

// Volumes lists what the account has.
type Volumes interface {
	List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error)
}

// Snapshots lists the snapshots that the account has.
type Snapshots interface {
	Snapshots(ctx context.Context, maxAge time.Duration) ([]volume.Snapshot, error)
}

// Handles lists the handles of the driver's VolumeSnapshotContents, as they are now.
type Handles func(ctx context.Context) ([]string, error)

// Config is what a Watch needs.
type Config struct {
	Volumes Volumes
	// PersistentVolumes lists those of the driver, as they are now.
	PersistentVolumes func(ctx context.Context) ([]events.PersistentVolume, error)
	// Snapshots and SnapshotHandles are the same for snapshots; without them none are looked for. Nor are they while the
	// error of SnapshotHandles is events.ErrNoSnapshots.
	Snapshots       Snapshots
	SnapshotHandles Handles
	// Cluster is whose volumes are looked for. Of a cluster without an ID only those are known that this process has seen in
	// a PersistentVolume.
	Cluster ownership.Cluster
	// Age is how long a volume must have been in no PersistentVolume.
	Age time.Duration
	// Period is how often is looked; 0 is DefaultPeriod.
	Period time.Duration
	// Leads reports whether this is the replica that works at present; nil is always. Another one makes no call to the platform:
	// it remembers what is named, to know it should it lead some day.
	Leads func() bool
	// Warner tells people of each orphan.
	Warner events.Warner
	// CostByClaim has the cost of volumes shown for each claim, not for each namespace alone.
	CostByClaim bool
	// Registerer gets the metrics; nil is none.
	Registerer prometheus.Registerer
}

// Watch looks for orphans. It is safe for concurrent use.
type Watch struct {
	cfg Config

	mu sync.Mutex
	// ofVolumes and ofSnapshots are what is known from look to look.
	ofVolumes, ofSnapshots book
	// orphans are those of the last look, by ID.
	orphans map[string]Orphan
	looked  time.Time
	// costs are those of the volumes that PersistentVolumes named at the last look.
	costs costs
	// stoodBy is when what is named was last remembered without leading.
	stoodBy time.Time
	// snapshots are the orphaned snapshots of the last look; snapshotsLooked is when that was, zero if none are looked for.
	snapshots       map[string]OrphanedSnapshot
	snapshotsLooked time.Time
	// proven are the snapshots that were once proven to be the cluster's: a snapshot outlives its volume, by which that may
	// have been.
	proven map[string]bool
}

// Orphan is a volume that nobody uses.
type Orphan struct {
	volume.Volume

	// Since is when it was last seen in a PersistentVolume or, if this process never saw it in one, when it was made.
	Since time.Time
}

// New makes a Watch that has not looked yet.
func New(cfg Config) *Watch {
	if cfg.Period == 0 {
		cfg.Period = DefaultPeriod
	}
	w := &Watch{cfg: cfg}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(collector{w})
	}
	return w
}

// Run looks until the context ends.
func (w *Watch) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(w.turn(ctx))
	}
}

// turn looks, if this replica leads, and returns when the next turn is.
func (w *Watch) turn(ctx context.Context) time.Duration {
	if w.cfg.Leads != nil && !w.cfg.Leads() {
		if err := w.standBy(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("What is named by PersistentVolumes and VolumeSnapshotContents could not be read", "err", err)
		}
		return min(leadAgain, w.cfg.Period)
	}
	if err := w.Look(ctx); err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Info("Orphans could not be looked for, the last result stands", "err", err)
	}
	return w.cfg.Period
}

// standBy shows no result, which would become old, and remembers what is named, once a period.
func (w *Watch) standBy(ctx context.Context) error {
	w.mu.Lock()
	w.orphans, w.costs, w.looked = nil, nil, time.Time{}
	w.snapshots, w.snapshotsLooked = nil, time.Time{}
	w.ofVolumes.unnamed, w.ofSnapshots.unnamed = nil, nil // the next look has none right before it
	due := time.Since(w.stoodBy) >= w.cfg.Period
	w.mu.Unlock()
	if !due {
		return nil
	}
	named, err := w.cfg.PersistentVolumes(ctx)
	var snapshots []string
	var errSnapshots error
	if w.cfg.Snapshots != nil {
		if snapshots, errSnapshots = w.cfg.SnapshotHandles(ctx); errors.Is(errSnapshots, events.ErrNoSnapshots) {
			errSnapshots = nil
		}
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stoodBy = now
	if err == nil {
		w.ofVolumes.remember(handlesOf(named), now)
	}
	if errSnapshots == nil {
		w.ofSnapshots.remember(snapshots, now)
	}
	return errors.Join(err, errSnapshots)
}

// Look looks once. When either list can't be had, the result of the last look stands: nothing is an orphan because it could
// not be seen.
func (w *Watch) Look(ctx context.Context) error {
	// The volumes first: one that gets its PersistentVolume between the two lists is in it.
	all, err := w.cfg.Volumes.List(ctx, listAge)
	if err != nil {
		return fmt.Errorf("listing the volumes: %w", err)
	}
	named, err := w.cfg.PersistentVolumes(ctx)
	if err != nil {
		return fmt.Errorf("listing the PersistentVolumes: %w", err)
	}
	w.judge(all, named, time.Now())
	found, _ := w.Orphans()
	for _, o := range found[:min(reported, len(found))] {
		w.report(ctx, o)
	}
	return w.lookAtSnapshots(ctx)
}

// handlesOf returns the handles of the volumes that PersistentVolumes name.
func handlesOf(named []events.PersistentVolume) []string {
	handles := make([]string, 0, len(named))
	for _, pv := range named {
		handles = append(handles, pv.Handle)
	}
	return handles
}

// judge notes what the lists of volumes show.
func (w *Watch) judge(all []volume.Volume, named []events.PersistentVolume, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	things := make([]thing, 0, len(all))
	for _, v := range all {
		things = append(things, thing{id: v.ID, ours: w.cfg.Cluster.Owns(v.Name), made: v.Created})
	}
	since := w.ofVolumes.judge(things, handlesOf(named), w.cfg.Age, now)
	w.orphans = map[string]Orphan{}
	for _, v := range all {
		if at, is := since[strings.ToLower(v.ID)]; is {
			w.orphans[strings.ToLower(v.ID)] = Orphan{v, at}
		}
	}
	w.costs = costsOf(all, named, w.cfg.CostByClaim)
	w.looked = now
}

// report tells people of an orphan, in words that do not change from look to look: so it is a line in the log and an Event
// once an hour, and one Event for all replicas.
func (w *Watch) report(ctx context.Context, o Orphan) {
	at := ""
	if o.IsAttachedTo("") {
		at = ", attached to instance " + strings.Join(o.AttachedTo, ", ")
	}
	w.cfg.Warner.Warn(ctx, events.Driver, events.OrphanedVolume, fmt.Sprintf("%s storage %s (%q, %d GiB in %s, $%.2f a month, created %s%s) is this "+
		"cluster's and in no PersistentVolume. It is left as it is: import it by a PersistentVolume, or delete it in the Vultr console if its content is not needed",
		o.Kind, o.ID, o.Name, o.SizeGiB, o.Region, o.MonthlyCost, o.Created.UTC().Format(time.RFC3339), at))
}

// Orphans returns those of the last look, ordered by ID, and when that was; the zero time stands for never.
func (w *Watch) Orphans() ([]Orphan, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Orphan
	for _, id := range slices.Sorted(maps.Keys(w.orphans)) {
		all = append(all, w.orphans[id])
	}
	return all, w.looked
}
