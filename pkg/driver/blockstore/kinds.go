package blockstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// sentKnown bounds the memory for names that were created.
	sentKnown = 10000
	// otherFor bounds a look at another kind of storage that nothing calls for but care: a kind whose API is down keeps no volume
	// of this one from being made, and is asked again after otherPause.
	otherFor   = 5 * time.Second
	otherPause = time.Minute
	// leadFor is how long a process has to stand still for another one to lead meanwhile: the lease of its sidecar (20 s) had been
	// renewed 3 s before at most.
	leadFor = 15 * time.Second
)

// kinds are the stores of one process, one for each kind of storage. A name is that of one volume, whatever its kind, and the
// platform lists each kind by itself. That a name comes with two kinds takes a StorageClass that was replaced while a claim waited,
// so a create does not read a list of every other kind: what this process created it remembers, and what others created before it
// led shows in one list for as long as it leads.
type kinds struct {
	mu     sync.Mutex
	stores []*Store
	// led is when this process was called for a create first since a sidecar began: no other one has led since. began is set
	// when one has begun after that.
	led   time.Time
	began bool
	// paused is until when no other kind is looked at, because one could not be read.
	paused time.Time
}

// add makes the store one of the kinds.
func (k *kinds) add(s *Store) *kinds {
	if k == nil {
		k = &kinds{began: true}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stores = append(k.stores, s)
	return k
}

// others returns the stores of all kinds but one.
func (k *kinds) others(s *Store) []*Store {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(k.stores), func(other *Store) bool { return other == s })
}

// leads returns since when nobody but this process creates volumes. It is for those who are about to.
func (k *kinds) leads() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.began {
		k.led, k.began = time.Now(), false
	}
	return k.led
}

// pause keeps other kinds from being looked at for a while.
func (k *kinds) pause() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.paused = time.Now().Add(otherPause)
}

func (k *kinds) isPaused() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Before(k.paused)
}

// CallerBegan notes that a sidecar has begun to call this process: another one may have led before it does. A sidecar that leads
// and loses the lead ends, and is started again. It counts for the stores beside this one.
func (s *Store) CallerBegan() {
	s.kinds.mu.Lock()
	defer s.kinds.mu.Unlock()
	s.kinds.began = true
}

// elsewhere is nil if no volume of another kind has the name: one that this process created, or one that lists show which began
// then or later. A kind that cannot be read hinders nobody unless this process sent it a create of the name.
func (s *Store) elsewhere(ctx context.Context, name string, since time.Time) error {
	for _, other := range s.kinds.others(s) {
		id, err := other.holder(ctx, name, since)
		if err != nil {
			return err
		}
		if id != "" {
			return volume.Errorf(volume.Exists, "volume %s has the name %q and is of storage type %q, asked for is one of storage type %q: the StorageClass was "+
				"replaced while the claim waited. Give it its former storage_type, and the claim gets that volume; or delete the claim, make it again under the "+
				"new class, and delete volume %s, which then nobody has", id, name, other.Kind(), s.Kind(), id)
		}
	}
	return nil
}

// holder returns the volume of this kind that has the name, "" if there is none as far as is known: see elsewhere.
func (s *Store) holder(ctx context.Context, name string, since time.Time) (string, error) {
	if _, sent := s.sent.Get(name); !sent {
		if shown, err := s.shows(ctx, name, since); !shown || err != nil {
			return "", err
		}
	}
	d, err := s.find(ctx, name)
	if err != nil || d == nil {
		return "", err
	}
	return d.ID, nil
}

// shows reports whether a list that began then or later shows the name. An error is that of the caller's ended context.
func (s *Store) shows(ctx context.Context, name string, since time.Time) (bool, error) {
	if s.kinds.isPaused() {
		return false, nil
	}
	looking, cancel := context.WithTimeout(ctx, otherFor)
	defer cancel()
	// A list that was read with an earlier key may be another account's.
	list, err := s.list(looking, min(time.Since(since), time.Since(s.api.KeySince())))
	switch {
	case err != nil && ctx.Err() != nil:
		return false, fmt.Errorf("looking for a %s of the name %q: %w", s.opts.Medium.words(), name, ctx.Err())
	case err != nil:
		s.kinds.pause()
		klog.FromContext(ctx).Info("Another kind of storage cannot be read; that one of its volumes has the name of a new one is not ruled out for now",
			"name", name, "kind", s.Kind(), "err", err)
		return false, nil //nolint:nilerr // an outage of one kind is none of the other
	}
	return slices.ContainsFunc(list.Items, func(v vultr.Volume) bool { return s.opts.Cluster.Has(v.Label, name) && !s.ledger.isGone(v.ID) }), nil
}
