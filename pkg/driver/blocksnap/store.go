// Package blocksnap keeps snapshots of block storage: it makes and finds them by name, reads, lists and deletes them. It
// does not know what they are for.
//
// As with volumes, every call can be cut off at any point and be repeated, also by another process, and any read may be
// old. The name of a snapshot is its description on the platform, which is not unique there.
package blocksnap

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/absence"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/account"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/refusal"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what the store needs of the platform. SnapshotsDescribed and Snapshots are lists, the first by the platform's
// own filter; Snapshot is a single read.
type API interface {
	Snapshot(ctx context.Context, id string) (vultr.Snapshot, error)
	Snapshots(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Snapshot], error)
	SnapshotsDescribed(ctx context.Context, description string) (vultr.List[vultr.Snapshot], error)
	WaitSnapshotListed(ctx context.Context, op, id string, missing time.Duration, done func(vultr.Snapshot) (bool, error)) (vultr.Snapshot, vultr.List[vultr.Snapshot], error)
	CreateSnapshot(ctx context.Context, volumeID, description string) (vultr.Snapshot, error)
	DeleteSnapshot(ctx context.Context, id string, preconditions ...vultr.Precondition) error
	SettleTime() time.Duration
	KeySince() time.Time
}

// Options are what the store works with; all but the Registerer and the Cluster are needed.
type Options struct {
	// Cluster is the ID that the descriptions of the cluster's snapshots begin with, "" for none.
	Cluster ownership.Cluster
	// Account knows whether the key's account is the cluster's.
	Account *account.Account
	// Unused is the precondition of a delete: nothing is being made from the snapshot. Its error is an InUse if it is.
	Unused func(ctx context.Context, id string) error
	// Unseen is how long reads may lack what was created.
	Unseen time.Duration
	// TwinCheck is how long after the time for which reads may lack it the name of a new snapshot is looked at again.
	TwinCheck time.Duration
	// LookAgain is how long after it was not found a snapshot is looked for again.
	LookAgain time.Duration
	// Registerer gets the metrics; nil is none.
	Registerer prometheus.Registerer
}

// Store keeps snapshots. It is safe for concurrent use, and any number of processes may use the same account.
type Store struct {
	api   API
	opts  Options
	names *names
	twins *twins
	// made has when this process made a snapshot, deleting when it first ordered that one be deleted, and gone has those that it
	// deleted: the platform gives an ID once only.
	made, deleting, gone *lru.Cache
}

// remembered bounds each of the memories; an entry takes about 200 bytes.
const remembered = 10000

// New makes a store.
func New(api API, opts Options) *Store {
	s := &Store{
		api: api, opts: opts, names: newNames(api.SettleTime()), twins: newTwins(),
		made: lru.New(remembered), deleting: lru.New(remembered), gone: lru.New(remembered),
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(s.twins.found, s.twins.deleted)
	}
	return s
}

// pollAge is how old an answer may be to one of the many who ask whether their snapshots are complete.
const pollAge = time.Second

// Read returns one snapshot as it is now. NotFound is proof: neither a single read nor a list shows it, in the cluster's
// account.
func (s *Store) Read(ctx context.Context, id string) (vultr.Snapshot, error) {
	if s.IsGone(id) {
		return vultr.Snapshot{}, volume.Errorf(volume.NotFound, "snapshot %s does not exist, it was deleted", id)
	}
	asked := time.Now()
	snap, err := s.look(ctx, id)
	if volume.ReasonOf(err) != volume.NotFound {
		return snap, err
	}
	if doubt := s.opts.Account.Check(ctx, asked); doubt != nil {
		return vultr.Snapshot{}, volume.Errorf(volume.Busy, "snapshot %s is not found, which proves nothing: %w", id, doubt)
	}
	return vultr.Snapshot{}, err
}

// Restorable returns the snapshot as Read does. Those who restore at about the same time share a list, if that shows it.
func (s *Store) Restorable(ctx context.Context, id string) (vultr.Snapshot, error) {
	if list, err := s.List(ctx, pollAge); err == nil && !s.IsGone(id) {
		if snap, shown := among(list.Items, id); shown {
			return snap, nil
		}
	}
	return s.Read(ctx, id)
}

// look reads a snapshot by a single read, and by a list if that lacks it. NotFound is for what neither shows, unless it is
// so new that reads may lack it.
func (s *Store) look(ctx context.Context, id string) (vultr.Snapshot, error) {
	snap, err := s.api.Snapshot(ctx, id)
	if !vultr.IsNotFound(err) {
		return snap, refusal.OfRead(err, "reading snapshot %s", id)
	}
	list, err := s.List(ctx, 0)
	if err != nil {
		return vultr.Snapshot{}, err
	}
	if snap, shown := among(list.Items, id); shown {
		return snap, nil
	}
	if made, ours := s.made.Get(id); ours {
		if at, ok := made.(time.Time); ok && time.Since(at) < s.opts.Unseen {
			return vultr.Snapshot{}, volume.Errorf(volume.Busy, "snapshot %s was made a moment ago and the platform does not show it, which proves nothing yet", id)
		}
	}
	return vultr.Snapshot{}, volume.Errorf(volume.NotFound, "snapshot %s does not exist", id)
}

func among(all []vultr.Snapshot, id string) (vultr.Snapshot, bool) {
	i := slices.IndexFunc(all, func(snap vultr.Snapshot) bool { return snap.ID == id })
	if i < 0 {
		return vultr.Snapshot{}, false
	}
	return all[i], true
}

// List reads all snapshots. maxAge says how old the answer may be.
func (s *Store) List(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Snapshot], error) {
	list, err := s.api.Snapshots(ctx, maxAge)
	return list, refusal.OfRead(err, "listing snapshots of block storage")
}

// Delete removes the snapshot while nothing is being made from it and the preconditions hold. One that is proven not to
// exist is success.
func (s *Store) Delete(ctx context.Context, id string, preconditions ...vultr.Precondition) error {
	if s.IsGone(id) {
		return nil
	}
	if _, before := s.deleting.Get(id); !before {
		s.deleting.Add(id, time.Now())
	}
	preconditions = append(preconditions, func(ctx context.Context) error { return s.opts.Unused(ctx, id) })
	wasGone, err := s.thing(id).Remove(ctx, func(ctx context.Context) error {
		return s.api.DeleteSnapshot(ctx, id, preconditions...)
	})
	if e, ok := errors.AsType[*volume.Error](err); ok { // a precondition's
		return e
	}
	if err != nil {
		return refusal.OfChange(err, "deleting snapshot %s", id)
	}
	klog.FromContext(ctx).Info("Deleted snapshot", "snapshotID", id, "wasGone", wasGone)
	s.gone.Add(id, nil)
	s.names.forgetID(id)
	return nil
}

// thing is a snapshot as something that may be absent.
func (s *Store) thing(id string) absence.Thing {
	return absence.Thing{
		Name: "snapshot " + id, Pause: s.opts.LookAgain, Account: s.opts.Account,
		Look: func(ctx context.Context) error {
			_, err := s.look(ctx, id)
			return err
		},
	}
}

// IsGone reports whether this process deleted the snapshot: lists may show it for a while.
func (s *Store) IsGone(id string) bool {
	_, gone := s.gone.Get(id)
	return gone
}

// named returns the snapshots of a name, the oldest first. Among those of one second the ID decides, so that every
// process picks the same.
func (s *Store) named(all []vultr.Snapshot, name string) []vultr.Snapshot {
	var found []vultr.Snapshot
	for _, snap := range all {
		if snap.Description == name && !s.IsGone(snap.ID) {
			found = append(found, snap)
		}
	}
	slices.SortFunc(found, func(a, b vultr.Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return found
}

// meant returns the snapshots that a name may mean in a list, in an order that is the same for every process: those from
// before the cluster had an ID first, since Kubernetes may have been told of them by a process that did not have it yet, and
// the oldest first. Where the description differs from the name by the ID, only the same volume makes them one.
func (s *Store) meant(all []vultr.Snapshot, name, volumeID string) []vultr.Snapshot {
	plain := name
	if s.opts.Cluster.Owns(name) {
		plain = s.opts.Cluster.Name(name)
	}
	found := s.named(all, plain)
	if own := s.opts.Cluster.Label(plain); own != plain {
		found = append(found, s.named(all, own)...)
	}
	return slices.DeleteFunc(found, func(snap vultr.Snapshot) bool { return snap.Description != name && snap.VolumeID != volumeID })
}
