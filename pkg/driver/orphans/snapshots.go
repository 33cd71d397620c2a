package orphans

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// OrphanedSnapshot is a snapshot that nobody uses.
type OrphanedSnapshot struct {
	volume.Snapshot

	// Since is when it was last seen in a VolumeSnapshotContent or, if this process never saw it in one, when it was made.
	Since time.Time
}

// lookAtSnapshots looks once, after the volumes. In a cluster without VolumeSnapshots it makes no call to the platform.
func (w *Watch) lookAtSnapshots(ctx context.Context) error {
	if w.cfg.Snapshots == nil {
		return nil
	}
	handles, err := w.cfg.SnapshotHandles(ctx)
	if errors.Is(err, events.ErrNoSnapshots) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.snapshots, w.snapshotsLooked = nil, time.Time{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the VolumeSnapshotContents: %w", err)
	}
	all, err := w.cfg.Snapshots.Snapshots(ctx, listAge)
	if err != nil {
		return fmt.Errorf("listing the snapshots: %w", err)
	}
	w.judgeSnapshots(all, handles, time.Now())
	found, _ := w.OrphanedSnapshots()
	for _, o := range found[:min(reported, len(found))] {
		w.cfg.Warner.Warn(ctx, events.Driver, events.OrphanedSnapshot, fmt.Sprintf("Snapshot %s (%q, %d GiB of volume %s, made %s) is this cluster's and in no "+
			"VolumeSnapshotContent. It is left as it is: import it by a VolumeSnapshotContent, or delete it in the Vultr console if it is not needed",
			o.ID, o.Name, o.SizeGiB, o.Volume, o.Created.UTC().Format(time.RFC3339)))
	}
	return nil
}

// judgeSnapshots notes what the lists of snapshots show.
func (w *Watch) judgeSnapshots(all []volume.Snapshot, handles []string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	things, proven := make([]thing, 0, len(all)), map[string]bool{}
	for _, snap := range all {
		ours := w.proven[snap.ID] || w.owns(snap)
		if ours {
			proven[snap.ID] = true
		}
		things = append(things, thing{id: snap.ID, ours: ours, made: snap.Created})
	}
	w.proven = proven
	since := w.ofSnapshots.judge(things, handles, w.cfg.Age, now)
	w.snapshots = map[string]OrphanedSnapshot{}
	for _, snap := range all {
		if at, is := since[strings.ToLower(snap.ID)]; is {
			w.snapshots[strings.ToLower(snap.ID)] = OrphanedSnapshot{snap, at}
		}
	}
	w.snapshotsLooked = now
}

// owns reports whether a snapshot is proven to be the cluster's: by its description, or because it was made for a VolumeSnapshot
// and of a volume that a PersistentVolume of the cluster names, or named. The caller holds the lock.
func (w *Watch) owns(snap volume.Snapshot) bool {
	if w.cfg.Cluster.Owns(snap.Name) {
		return true
	}
	_, known := w.ofVolumes.named[strings.ToLower(snap.Volume)]
	return known && ownership.IsSnapshots(snap.Name)
}

// OrphanedSnapshots returns those of the last look, ordered by ID, and when that was; the zero time stands for never.
func (w *Watch) OrphanedSnapshots() ([]OrphanedSnapshot, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []OrphanedSnapshot
	for _, id := range slices.Sorted(maps.Keys(w.snapshots)) {
		all = append(all, w.snapshots[id])
	}
	return all, w.snapshotsLooked
}
