package blockstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The platform copies no volumes, it makes them from snapshots. So the content of a clone comes by a temporary snapshot,
// whose description says of which volume it is and for which name: by that it is found again after any interruption, by
// any process, and recognised when nobody needs it any more.

// copyForm is the form of the descriptions of temporary snapshots. It must not change: those that are left are found by it.
var copyForm = regexp.MustCompile(`^block\.csi\.vultr\.com: temporary copy of ([0-9a-f-]{36}) for (.+)$`)

func copyName(volumeID, target string) string {
	return fmt.Sprintf("block.csi.vultr.com: temporary copy of %s for %s", volumeID, target)
}

// copyFor returns of which volume and for the volume of which name a snapshot is a temporary copy; ok is false if it is none.
func copyFor(snap vultr.Snapshot) (volumeID, target string, ok bool) {
	form := copyForm.FindStringSubmatch(snap.Description)
	if len(form) != 3 || form[1] != snap.VolumeID {
		return "", "", false
	}
	return form[1], form[2], true
}

// clones is what this process knows of clones: when each was asked for last, and by which snapshot its content comes.
// Without it a snapshot is read once more.
type clones struct {
	asked, copies *lru.Cache
	// left are the temporary snapshots that the last sweep left.
	left prometheus.Gauge

	mu      sync.Mutex
	working map[string]int // by name
}

// clonesKnown bounds each of the memories.
const clonesKnown = 1000

func newClones() *clones {
	return &clones{
		asked: lru.New(clonesKnown), copies: lru.New(clonesKnown), working: map[string]int{},
		left: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "csi_temporary_snapshots",
			Help: "Temporary snapshots of clones that were in the account, and not deleted, at the last sweep.",
		}),
	}
}

// begin notes that a clone is asked for.
func (c *clones) begin(name string) (end func()) {
	c.mark(name, 1)
	return func() { c.mark(name, -1) }
}

func (c *clones) mark(name string, by int) {
	c.asked.Add(name, time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working[name] += by
	if c.working[name] == 0 {
		delete(c.working, name)
	}
}

// idle returns for how long nobody has asked for the clone in this process, 0 while somebody waits for it.
func (c *clones) idle(name string) time.Duration {
	c.mu.Lock()
	working := c.working[name]
	c.mu.Unlock()
	if working > 0 {
		return 0
	}
	asked, _ := c.asked.Get(name)
	if at, ok := asked.(time.Time); ok {
		return time.Since(at)
	}
	return time.Duration(1<<63 - 1)
}

// copyOf returns the name of a temporary snapshot, "" if this process did not use it.
func (c *clones) copyOf(snapshot string) string {
	name, _ := c.copies.Get(snapshot)
	known, _ := name.(string)
	return known
}

// CheckClone judges whether the volume can be the source of another one. NotFound is proof.
func (s *Store) CheckClone(ctx context.Context, id string) error {
	_, err := s.cloneable(ctx, id)
	return err
}

// cloneable returns the source of a clone. A list does that somebody has just read, to find out that nobody had the name:
// what it may lack, a growth or that the source was deleted, comes out when the snapshot is made.
func (s *Store) cloneable(ctx context.Context, id string) (disk, error) {
	if list, err := s.list(ctx, absentFor); err == nil && !s.ledger.isGone(id) {
		if i := slices.IndexFunc(list.Items, func(v vultr.Volume) bool { return v.ID == id }); i >= 0 {
			return fromAPI(list.Items[i]), nil
		}
	}
	asked := time.Now()
	d, err := s.look(ctx, id)
	if volume.ReasonOf(err) == volume.NotFound {
		d, err = s.lookAgain(ctx, id, asked)
	}
	return d, err
}

// clone makes the volume that is a copy of another one, or finds it. The snapshot by which its content comes is deleted
// before the answer, or by a sweep when that fails.
func (s *Store) clone(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	end := s.clones.begin(spec.Name)
	defer end()
	v, err := s.create(ctx, spec)
	if err != nil {
		return volume.Volume{}, err
	}
	if err := s.endCopy(ctx, v, spec); err != nil {
		return volume.Volume{}, err
	}
	v.Source = spec.Source
	return v, nil
}

// withCopy returns the spec of the volume that is to be made from a temporary snapshot, which it has made and complete.
func (s *Store) withCopy(ctx context.Context, spec volume.Spec) (volume.Spec, error) {
	source, err := s.cloneable(ctx, spec.Source.Volume)
	if err != nil {
		return volume.Spec{}, err
	}
	if _, err := fit(spec, source.SizeGiB, source.Region); err != nil {
		return volume.Spec{}, err // before anything is made
	}
	snap, err := s.snapshots.Create(ctx, copyName(source.ID, spec.Name), source.ID)
	if err != nil {
		return volume.Spec{}, err
	}
	s.clones.copies.Add(snap.ID, copyName(source.ID, spec.Name))
	if !snap.Complete() && !snap.Failed() {
		if snap, err = s.snapshots.AwaitComplete(ctx, snap.ID); err != nil {
			return volume.Spec{}, err
		}
	}
	if snap.Failed() {
		err := s.snapshots.Delete(ctx, snap.ID)
		if err == nil {
			err = fmt.Errorf("the platform says that it has the state %q; it was deleted, and another one is made", snap.State)
		}
		return volume.Spec{}, volume.Errorf(volume.Busy, "temporary snapshot %s of volume %s: %w", snap.ID, source.ID, err)
	}
	exact, err := fit(spec, fromSnapshot(snap).SizeGiB, source.Region) // the source may have grown
	exact.Source = volume.Source{Snapshot: snap.ID}
	return exact, err
}

// endCopy deletes the temporary snapshot by which the content of a volume came. A volume that was found, and not made by
// this process, is proven to be the clone by that snapshot, if it is there still. When it is not the name has to do as
// proof: it is that of one claim, which has one source for all time.
func (s *Store) endCopy(ctx context.Context, v volume.Volume, spec volume.Spec) error {
	id := v.Source.Snapshot
	if s.clones.copyOf(id) != copyName(spec.Source.Volume, spec.Name) {
		snap, err := s.snapshots.Read(ctx, id)
		if volume.ReasonOf(err) == volume.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if of, target, ok := copyFor(snap); !ok || of != spec.Source.Volume || target != spec.Name {
			return volume.Errorf(volume.Exists, "volume %s has the name %q but its content is from snapshot %s (%q), asked for is a copy of volume %s",
				v.ID, spec.Name, id, snap.Description, spec.Source.Volume)
		}
	}
	if err := s.snapshots.Delete(ctx, id); err != nil {
		klog.FromContext(ctx).Info("A temporary snapshot stays in the account until the next sweep", "snapshotID", id, "volumeID", v.ID, "err", err)
	}
	return nil
}

const (
	// sweepAfter is when the first sweep is after the start: by then creates that were under way have been asked for again.
	sweepAfter = time.Minute
	// sweepPeriod is the time between sweeps, each of which costs one list of snapshots.
	sweepPeriod = time.Hour
	// copyDone is how old a snapshot must be that is not the one by which the content of its target came.
	copyDone = 10 * time.Minute
	// copyIdle is for how long nobody has asked for a clone whose snapshot is deleted. The provisioner asks every half a
	// minute, until the clone is there or its claim and the process that remembers it are gone.
	copyIdle = 2 * time.Hour
	// copyLate is the same of a snapshot that is not complete, those of large volumes take their time, of one from which a
	// volume is being made, and of another cluster's, whose provisioner asks another process.
	copyLate = 24 * time.Hour
)

// Run deletes, from time to time, temporary snapshots that were left: by a process that was killed, or of a claim that was
// deleted. It returns when the context ends.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(sweepAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("Temporary snapshots that nobody needs may be left in the account until the next sweep", "err", err)
		}
		timer.Reset(sweepPeriod)
	}
}

// Sweep deletes the temporary snapshots that nobody needs any more, and reports those of one name.
func (s *Store) Sweep(ctx context.Context) error {
	list, err := s.snapshots.List(ctx, 0)
	if err != nil {
		return err
	}
	s.snapshots.Leftovers(ctx, list.Items)
	left := 0
	var failures []error
	for _, snap := range list.Items {
		if _, _, ok := copyFor(snap); !ok {
			continue
		}
		switch err := s.unneeded(snap)(ctx); {
		case err == nil:
			err = s.snapshots.Delete(ctx, snap.ID, s.unneeded(snap))
			if err == nil {
				continue
			}
			failures = append(failures, err)
		case !errors.Is(err, errNeeded):
			failures = append(failures, err)
		}
		left++
	}
	s.clones.left.Set(float64(left))
	return errors.Join(failures...)
}

// errNeeded says that a temporary snapshot is still needed.
var errNeeded = errors.New("it may still be needed")

// unneeded is the precondition of the delete of a temporary snapshot: its clone is there, or nobody has asked for that for
// long.
func (s *Store) unneeded(snap vultr.Snapshot) vultr.Precondition {
	return func(ctx context.Context) error {
		_, target, _ := copyFor(snap)
		idle := s.clones.idle(target)
		if idle == 0 {
			return errNeeded
		}
		list, err := s.list(ctx, looksFor)
		if err != nil {
			return refusal.OfRead(err, "finding out whether volume %q is there", target)
		}
		for _, d := range s.named(list.Items, target) {
			if d.Ready && (d.Source.Snapshot == snap.ID || time.Since(snap.Created) > copyDone) {
				return nil
			}
		}
		patience, since := copyIdle, snap.Created
		if snap.Updated.After(since) {
			since = snap.Updated
		}
		if !snap.Complete() && !snap.Failed() || s.usedByOthers(list.Items, snap) {
			patience = copyLate
		}
		if idle < patience || time.Since(since) < patience {
			return errNeeded
		}
		return nil
	}
}

// usedByOthers reports whether somebody may be using a temporary snapshot whom this process knows nothing of: a volume is being
// made from it, or its source is another cluster's.
func (s *Store) usedByOthers(volumes []vultr.Volume, snap vultr.Snapshot) bool {
	return slices.ContainsFunc(volumes, func(v vultr.Volume) bool {
		return v.SnapshotID == snap.ID && !v.Active() || v.ID == snap.VolumeID && s.opts.Cluster.Others(v.Label)
	})
}
