package blockstore

import (
	"context"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// list reads all volumes, and looks through them for the twins that a predecessor left.
func (s *Store) list(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Volume], error) {
	list, err := s.api.Volumes(ctx, maxAge)
	if err == nil {
		s.leftovers(ctx, list)
	}
	return list, err
}

// leftovers looks for volumes that share a name and that no create of this process saw to: a controller that was killed right after a
// create never looked for its twin. It costs no call, the lists are those that are read anyway.
//
// They are reported. What they lack is the proof of which of them Kubernetes was told: this process did not see the
// create, and what is free now may have been attached, filled and detached. The proof comes when one of them is seen at
// an instance, or is moved by this process: a volume is published only by the ID in its PersistentVolume, and a claim's
// name has one of those. From then on the others are twins by the rules for those of an own create.
func (s *Store) leftovers(ctx context.Context, list vultr.List[vultr.Volume]) {
	for name := range s.twins.unread(list, s.opts.Cluster) {
		all := s.named(list.Items, name)
		for i, d := range all {
			if i > 0 {
				s.report(ctx, all[0], d)
			}
			s.twins.doubt(d.ID)
			if d.IsAttachedTo("") || s.ledger.moved(d.ID) {
				s.proven(ctx, d)
			}
		}
	}
}

// proven is called when Kubernetes is known to have been told of the volume. If others have its name they are looked at
// once.
func (s *Store) proven(ctx context.Context, d disk) {
	if s.twins.isDoubted(d.ID) {
		s.checkLater(ctx, d)
	}
}

// unread returns the labels, of claims' names and without notes, that several volumes of the list have, once for each list: of the first one all,
// then only those of which one is young. Older ones were in the list before.
func (t *twins) unread(list vultr.List[vultr.Volume], cluster ownership.Cluster) map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !list.Began.After(t.read) {
		return nil
	}
	var since time.Time
	if !t.read.IsZero() {
		since = time.Now().Add(-twinAge)
	}
	t.read = list.Began
	names := map[string]int{}
	for _, v := range list.Items {
		if v.Created.After(since) && params.Claim(cluster.Name(v.Label), nil).UID != "" {
			names[ownership.Bare(v.Label)] = 0
		}
	}
	for _, v := range list.Items {
		label := ownership.Bare(v.Label)
		if _, young := names[label]; young {
			names[label]++
		}
	}
	for name, volumes := range names {
		if volumes < 2 {
			delete(names, name)
		}
	}
	return names
}

// doubt notes that another volume has the name of this one, unless that was settled already.
func (t *twins) doubt(id string) {
	if _, known := t.doubted.Get(id); !known {
		t.doubted.Add(id, true)
	}
}

// isDoubted reports whether another volume has the name, and is false from then on.
func (t *twins) isDoubted(id string) bool {
	doubted, _ := t.doubted.Get(id)
	is, _ := doubted.(bool)
	if is {
		t.doubted.Add(id, false)
	}
	return is
}
